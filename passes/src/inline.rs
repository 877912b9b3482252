//! Calls become the ops that they run.

use crate::pass::{Pass, PassContext, PassError};
use ir::{Graph, Op, Region, Value};
use std::collections::HashMap;

/// Replaces calls, and functions that have derivatives of the user's, by the ops of their regions. What transforms had to
/// know of them they know by then.
#[derive(Clone, Copy, Debug)]
pub struct Inline;

impl Pass for Inline {
    fn name(&self) -> &'static str {
        "inline"
    }
    fn about(&self) -> &'static str {
        "needs nothing; there are no calls"
    }
    fn required(&self) -> bool {
        true
    }
    fn run(&self, graph: &mut Graph, _: &mut PassContext) -> Result<bool, PassError> {
        let mut changed = false;
        let mut next = 0;
        // Branches and loops inside of a call are found once it is gone.
        while let Some(&block) = graph.blocks().get(next) {
            changed |= inline(graph, block);
            next += 1;
        }
        Ok(changed)
    }
    fn guarantee(&self, graph: &Graph) -> Result<(), String> {
        let mut ops = graph.blocks().into_iter().flat_map(|r| graph.region(r).ops.iter().copied());
        match ops.find(|&op| is_call(graph, op)) {
            Some(op) => Err(format!("`{}` is not inlined", graph.op(op).primitive.name())),
            None => Ok(()),
        }
    }
}

fn is_call(graph: &Graph, op: Op) -> bool {
    graph.op(op).primitive.control().is_some_and(|c| c.is_call())
}

/// Replaces the calls of a region, at any depth of calls in calls.
pub fn inline(graph: &mut Graph, region: Region) -> bool {
    if !graph.region(region).ops.iter().any(|&op| is_call(graph, op)) {
        return false;
    }
    let mut moved: HashMap<Value, Value> = HashMap::new();
    let mut kept: Vec<Op> = Vec::new();
    // Ops to come, the next one last; a call that has been entered comes again, to be left.
    let mut waiting: Vec<(Op, bool)> = Vec::new();
    waiting.extend(std::mem::take(&mut graph.region_mut(region).ops).into_iter().rev().map(|op| (op, false)));
    let stands = |moved: &HashMap<Value, Value>, v: Value| moved.get(&v).copied().unwrap_or(v);
    while let Some((op, entered)) = waiting.pop() {
        let data = graph.op(op).clone();
        if entered {
            let yields = graph.region(data.regions[0]).yields.clone();
            for (&r, y) in data.results.iter().zip(yields) {
                let value = stands(&moved, y);
                moved.insert(r, value);
            }
            continue;
        }
        graph.op_mut(op).operands.iter_mut().for_each(|v| *v = stands(&moved, *v));
        if !is_call(graph, op) {
            kept.push(op);
            continue;
        }
        let body = data.regions[0];
        let operands = graph.op(op).operands.clone();
        moved.extend(graph.region(body).params.iter().copied().zip(operands));
        waiting.push((op, true));
        waiting.extend(std::mem::take(&mut graph.region_mut(body).ops).into_iter().rev().map(|op| (op, false)));
    }
    let data = graph.region_mut(region);
    data.ops = kept;
    data.yields.iter_mut().for_each(|v| *v = stands(&moved, *v));
    true
}
