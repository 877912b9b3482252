//! Dead code elimination: marks what outputs depend on, then drops the rest.

use crate::pass::{Pass, PassContext, PassError};
use ir::graph::{RegionData, Rewrite, Values};
use ir::{Graph, Op, Region, Value};
use std::collections::HashMap;

/// Drops ops whose results nobody uses, and unused results, operands and parameters of ops with regions. Fallible ops may
/// be dropped, as the language says; ops that are not pure stay.
#[derive(Clone, Copy, Debug)]
pub struct EliminateDeadCode;

impl Pass for EliminateDeadCode {
    fn name(&self) -> &'static str {
        "dce"
    }
    fn about(&self) -> &'static str {
        "needs nothing; leaves only ops that outputs depend on, and those with effects"
    }
    fn run(&self, graph: &mut Graph, _: &mut PassContext) -> Result<bool, PassError> {
        Ok(sweep_dead(graph))
    }
}

/// Drops dead ops; true if there were any.
pub fn sweep_dead(graph: &mut Graph) -> bool {
    let mut live = vec![false; graph.value_count()];
    let root = graph.root();
    graph.outputs().iter().for_each(|v| live[v.at()] = true);
    mark(graph, root, &mut live);
    prune(graph, root, &live)
}

/// True if the op may go when its results are unused.
pub(crate) fn is_droppable(graph: &Graph, op: Op) -> bool {
    let data = graph.op(op);
    data.primitive.traits().pure
        && data.regions.iter().all(|&r| graph.region(r).ops.iter().all(|&inner| is_droppable(graph, inner)))
}

fn stays(graph: &Graph, op: Op, live: &[bool]) -> bool {
    graph.op(op).results.iter().any(|v| live[v.at()]) || !is_droppable(graph, op)
}

/// Marks what the live values of a region depend on, nested regions included.
fn mark(graph: &Graph, region: Region, live: &mut Vec<bool>) {
    for &op in graph.region(region).ops.iter().rev() {
        if !stays(graph, op, live) {
            continue;
        }
        let data = graph.op(op);
        if data.regions.is_empty() {
            data.operands.iter().for_each(|v| live[v.at()] = true);
            continue;
        }
        // What a loop carries is needed if an iteration needs it, which the first sweep may find out late.
        while mark_regions(graph, op, live) {}
        for (i, v) in data.operands.iter().enumerate() {
            live[v.at()] |= is_needed(graph, op, i, live);
        }
    }
}

/// Marks what the live results of an op depend on inside its regions; true if another carried value turned out to be
/// needed.
fn mark_regions(graph: &Graph, op: Op, live: &mut Vec<bool>) -> bool {
    let data = graph.op(op);
    let control = data.primitive.control();
    let carried = |live: &[bool]| -> Vec<bool> {
        let carries = |r: usize| control.as_ref().and_then(|c| c.carries(r));
        (0..data.results.len()).map(|r| carries(r).is_some_and(|i| is_needed(graph, op, i, live))).collect()
    };
    let before = carried(live);
    for (number, &region) in data.regions.iter().enumerate() {
        let becomes_results = control.as_ref().is_none_or(|c| c.yields_results(number));
        for (r, &v) in graph.region(region).yields.iter().enumerate() {
            live[v.at()] |= !becomes_results || before[r] || live[data.results[r].at()];
        }
        mark(graph, region, live);
    }
    carried(live) != before
}

/// True if an op with regions needs an operand, by what is marked.
fn is_needed(graph: &Graph, op: Op, operand: usize, live: &[bool]) -> bool {
    let data = graph.op(op);
    let control = data.primitive.control();
    let parameter = match &control {
        Some(control) => control.parameter(operand),
        None => Some(operand),
    };
    let Some(parameter) = parameter else { return true };
    let carried = |r: usize| control.as_ref().and_then(|c| c.carries(r)) == Some(operand);
    data.regions.iter().any(|&r| live[graph.region(r).params[parameter].at()])
        || (0..data.results.len()).any(|r| carried(r) && live[data.results[r].at()])
}

/// Drops what is not marked; true if there was anything.
fn prune(graph: &mut Graph, region: Region, live: &[bool]) -> bool {
    let mut changed = false;
    let ops = std::mem::take(&mut graph.region_mut(region).ops);
    let before = ops.len();
    let kept: Vec<Op> = ops.into_iter().filter(|&op| stays(graph, op, live)).collect();
    changed |= kept.len() != before;
    let mut narrower = Vec::new();
    for &op in &kept {
        for nested in graph.op(op).regions.clone() {
            changed |= prune(graph, nested, live);
        }
        if let Some(interface) = Interface::of(graph, op, live) {
            narrower.push((op, interface));
        }
    }
    graph.region_mut(region).ops = kept;
    if narrower.is_empty() {
        return changed;
    }
    let mut narrower = narrower.into_iter().peekable();
    graph.rewrite(region, |graph, op| match narrower.next_if(|(next, _)| *next == op) {
        Some((_, interface)) => Rewrite::Replace(interface.narrow(graph, region, op)),
        None => Rewrite::Keep,
    });
    true
}

/// Which operands and results an op with regions keeps.
struct Interface {
    operands: Vec<bool>,
    results: Vec<bool>,
}

impl Interface {
    /// What is left of the interface, if it is less than all.
    fn of(graph: &Graph, op: Op, live: &[bool]) -> Option<Interface> {
        let data = graph.op(op);
        let control = data.primitive.control();
        if data.regions.is_empty() || control.as_ref().is_some_and(|c| c.is_custom()) {
            return None;
        }
        let operands: Vec<bool> = (0..data.operands.len()).map(|i| is_needed(graph, op, i, live)).collect();
        let carried = |r: usize| control.as_ref().and_then(|c| c.carries(r));
        let result = |(r, v): (usize, &Value)| carried(r).map_or(live[v.at()], |operand| operands[operand]);
        let results: Vec<bool> = data.results.iter().enumerate().map(result).collect();
        let whole = operands.iter().chain(&results).all(|&kept| kept);
        (!whole).then_some(Interface { operands, results })
    }

    /// Appends the op with this interface; yields what stands for its results. Those that nobody uses stand for
    /// themselves.
    fn narrow(&self, graph: &mut Graph, region: Region, op: Op) -> Values {
        let data = graph.op(op).clone();
        let control = data.primitive.control();
        let mut regions: Vec<Region> = Vec::new();
        for (number, &old) in data.regions.iter().enumerate() {
            let becomes_results = control.as_ref().is_none_or(|c| c.yields_results(number));
            let old = std::mem::take(graph.region_mut(old));
            let body = graph.add_region();
            let mut moved: HashMap<Value, Value> = HashMap::new();
            for (i, &p) in old.params.iter().enumerate() {
                let operand = control.as_ref().map_or(Some(i), |c| c.operand(i));
                if operand.is_none_or(|at| self.operands[at]) {
                    let ty = graph.ty(p).clone();
                    moved.insert(p, graph.add_param(body, ty));
                }
            }
            let redirect = |v: &Value| moved.get(v).copied().unwrap_or(*v);
            for &inner in &old.ops {
                let operands: Values = graph.op(inner).operands.iter().map(redirect).collect();
                graph.op_mut(inner).operands = operands;
            }
            let wanted = |r: usize| !becomes_results || self.results[r];
            let yields = old.yields.iter().enumerate().filter(|(r, _)| wanted(*r)).map(|(_, v)| redirect(v)).collect();
            let params = graph.region(body).params.clone();
            *graph.region_mut(body) = RegionData { params, ops: old.ops, yields };
            regions.push(body);
        }
        let operands: Values = data.operands.iter().zip(&self.operands).filter(|(_, k)| **k).map(|(&v, _)| v).collect();
        let primitive = match control {
            Some(_) => data.primitive.with_operands(&self.operands),
            None => data.primitive,
        };
        let new = graph
            .append(region, primitive, &operands, &regions, &data.origins)
            .unwrap_or_else(|e| panic!("a narrowed op is ill-typed: {e}"));
        let mut results = graph.op(new).results.clone().into_iter();
        let kept_or_old = |(&r, &kept): (&Value, &bool)| {
            if kept { results.next().expect("one for each kept result") } else { r }
        };
        data.results.iter().zip(&self.results).map(kept_or_old).collect()
    }
}
