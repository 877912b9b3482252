//! What every iteration of a loop computes anew from the same values, computed once before it.

use crate::pass::{Pass, PassContext, PassError};
use ir::graph::OpData;
use ir::ops::Control;
use ir::{Graph, Lowering, Op, Region, Value};
use std::collections::{HashMap, HashSet};

/// Takes ops out of loops whose operands are the same in every iteration. Views, generators and constants stay, since they
/// cost nothing where they are, and fallible ops, since a loop may have no iteration.
#[derive(Clone, Copy, Debug)]
pub struct Hoist;

impl Pass for Hoist {
    fn name(&self) -> &'static str {
        "hoist"
    }
    fn about(&self) -> &'static str {
        "needs nothing; loops compute nothing that is the same in every iteration"
    }
    fn run(&self, graph: &mut Graph, _: &mut PassContext) -> Result<bool, PassError> {
        // Inner loops first: what leaves them may leave the loops around them too.
        let blocks = graph.blocks();
        Ok(blocks.into_iter().rev().fold(false, |changed, block| hoist(graph, block, Growth::Small) | changed))
    }
}

/// How large what leaves a loop may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Growth {
    /// No larger than all constants of the loop, or than a small number of bytes: in the loop it may fuse and never be in
    /// memory.
    Small,
    /// Any: otherwise it would be kept for each iteration.
    Any,
}

/// Bytes that may leave a loop, however small its constants are.
const ALWAYS: i64 = 1 << 16;

/// Takes what is invariant out of the loops of a region. Results of the loops stay the values they are.
pub fn hoist(graph: &mut Graph, region: Region, growth: Growth) -> bool {
    let is_loop = |op: &Op| matches!(graph.op(*op).primitive.control(), Some(Control::While { .. } | Control::Scan(_)));
    if !graph.region(region).ops.iter().any(is_loop) {
        return false;
    }
    let mut changed = false;
    for op in std::mem::take(&mut graph.region_mut(region).ops) {
        for number in 0..graph.op(op).regions.len() {
            changed |= invariants(graph, region, (op, number), growth);
        }
        graph.region_mut(region).ops.push(op);
    }
    changed
}

/// Moves the invariant ops of one region of a loop in front of it, to the end of the region around it.
fn invariants(graph: &mut Graph, around: Region, (op, number): (Op, usize), growth: Growth) -> bool {
    let data = graph.op(op).clone();
    let Some(control) = data.primitive.control() else { return false };
    let Some(constants) = control.constants() else { return false };
    let body = data.regions[number];
    let parameter = |operand: usize| control.parameter(operand).expect("every operand of a loop is a parameter");
    // What stands outside for an invariant value, once it is needed there.
    let params = &graph.region(body).params;
    let mut outside: HashMap<Value, Value> = (0..constants).map(|i| (params[parameter(i)], data.operands[i])).collect();
    let mut invariant: HashSet<Value> = outside.keys().copied().collect();
    let bytes = |v: &Value| graph.ty(*v).bytes().known().unwrap_or(0);
    let given: i64 = data.operands[..constants].iter().map(bytes).fold(0, i64::saturating_add);
    let grows = |op: &OpData| growth == Growth::Small && op.results.iter().any(|v| bytes(v) > given.max(ALWAYS));
    let mut heavy: Vec<Op> = Vec::new();
    for &inner in &graph.region(body).ops {
        let d = graph.op(inner);
        let traits = d.primitive.traits();
        if !traits.pure || traits.fallible || !d.regions.is_empty() || !d.operands.iter().all(|v| invariant.contains(v))
        {
            continue;
        }
        invariant.extend(&d.results);
        if !grows(d) && !matches!(d.primitive.lowering(), Lowering::View | Lowering::Generate | Lowering::Constant) {
            heavy.push(inner);
        }
    }
    let moved: HashSet<Op> = heavy.iter().copied().collect();
    let mut read: HashSet<Value> = graph.region(body).yields.iter().copied().collect();
    for &inner in graph.region(body).ops.iter().filter(|inner| !moved.contains(inner)) {
        read.extend(&graph.op(inner).operands);
    }
    let needed: Vec<Value> =
        heavy.iter().flat_map(|&op| graph.op(op).results.clone()).filter(|v| read.contains(v)).collect();
    if needed.is_empty() {
        return false;
    }
    let mut operands = data.operands.to_vec();
    for (more, &v) in needed.iter().enumerate() {
        let value = copied_outside(graph, around, v, &mut outside);
        operands.insert(constants + more, value);
        for (i, &region) in data.regions.iter().enumerate() {
            let ty = graph.ty(v).clone();
            let param = graph.insert_param(region, parameter(constants + more), ty);
            if i == number {
                // Ops that leave after this one may read it.
                graph.redirect(region, v, param);
                outside.insert(param, value);
            }
        }
    }
    graph.region_mut(body).ops.retain(|op| !moved.contains(op));
    let kept: Vec<(usize, Value)> = data.results.iter().copied().enumerate().collect();
    graph
        .replace_op(op, data.primitive.with_constants(constants + needed.len()), &operands, &data.regions, &kept)
        .unwrap_or_else(|e| panic!("a loop with more constants is ill-typed: {e}"));
    true
}

/// An invariant value, computed in the region around the loop.
fn copied_outside(graph: &mut Graph, around: Region, v: Value, outside: &mut HashMap<Value, Value>) -> Value {
    let mut stack = vec![v];
    while let Some(&v) = stack.last() {
        if outside.contains_key(&v) {
            stack.pop();
            continue;
        }
        let (op, _) = graph.defining_op(v).expect("invariant parameters are constants");
        let data = graph.op(op).clone();
        let before = stack.len();
        stack.extend(data.operands.iter().filter(|v| !outside.contains_key(v)));
        if stack.len() > before {
            continue;
        }
        let operands: Vec<Value> = data.operands.iter().map(|v| outside[v]).collect();
        let new = graph
            .append(around, data.primitive, &operands, &[], &data.origins)
            .unwrap_or_else(|e| panic!("an op outside of its loop is ill-typed: {e}"));
        let results = graph.op(new).results.clone();
        outside.extend(data.results.iter().copied().zip(results));
    }
    outside[&v]
}
