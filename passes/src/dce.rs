//! Dead code elimination.

use crate::pass::{Pass, PassContext, PassError};
use ir::graph::{Rewrite, Values};
use ir::{Graph, Lowering, Op, Region, Value};
use std::collections::HashMap;

/// Drops ops whose results nobody uses, and unused results and parameters of fused groups. Fallible ops may be dropped,
/// as the language says; ops that are not pure stay.
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
    sweep(graph, graph.root(), &mut live)
}

/// True if the op may go when its results are unused.
fn is_droppable(graph: &Graph, op: Op) -> bool {
    let data = graph.op(op);
    data.primitive.traits().pure
        && data.regions.iter().all(|&r| graph.region(r).ops.iter().all(|&inner| is_droppable(graph, inner)))
}

/// Sweeps a region from its end; afterwards `live` is true for those of its parameters that are used.
fn sweep(graph: &mut Graph, region: Region, live: &mut Vec<bool>) -> bool {
    for &v in &graph.region(region).yields {
        live[v.at()] = true;
    }
    let ops = std::mem::take(&mut graph.region_mut(region).ops);
    let (before, mut changed) = (ops.len(), false);
    let mut kept: Vec<Op> = Vec::with_capacity(before);
    let mut trimmed: Vec<Op> = Vec::new();
    for &op in ops.iter().rev() {
        let used = graph.op(op).results.iter().any(|v| live[v.at()]);
        if !used && is_droppable(graph, op) {
            continue;
        }
        if graph.op(op).primitive.lowering() == Lowering::Fused {
            changed |= trim_yields(graph, op, live);
            if has_unused_interface(graph, op, live) {
                trimmed.push(op);
            }
        } else {
            for r in graph.op(op).regions.clone() {
                changed |= sweep(graph, r, live);
            }
        }
        let data = graph.op(op);
        let body = data.regions.first().copied();
        for (i, &v) in data.operands.iter().enumerate() {
            let needed = data.primitive.lowering() != Lowering::Fused
                || body.is_some_and(|r| live[graph.region(r).params[i].at()]);
            live[v.at()] |= needed;
        }
        kept.push(op);
    }
    kept.reverse();
    changed |= kept.len() != before || !trimmed.is_empty();
    graph.region_mut(region).ops = kept;
    if !trimmed.is_empty() {
        narrow(graph, region, &trimmed, live);
    }
    changed
}

/// Sweeps the body of a fused op as if only its live results were yielded. The yields keep their number here.
fn trim_yields(graph: &mut Graph, op: Op, live: &mut Vec<bool>) -> bool {
    let (body, results) = (graph.op(op).regions[0], graph.op(op).results.clone());
    let all = graph.region(body).yields.clone();
    let wanted = all.iter().zip(&results).filter(|(_, r)| live[r.at()]).map(|(&y, _)| y).collect();
    graph.region_mut(body).yields = wanted;
    let changed = sweep(graph, body, live);
    // A yield that is not wanted may be defined no more; `narrow` drops it before anybody looks.
    graph.region_mut(body).yields = all;
    changed
}

fn has_unused_interface(graph: &Graph, op: Op, live: &[bool]) -> bool {
    let data = graph.op(op);
    !data.results.iter().chain(&graph.region(data.regions[0]).params).all(|v| live[v.at()])
}

/// Replaces fused ops by ones that have only the live results and parameters.
fn narrow(graph: &mut Graph, region: Region, ops: &[Op], live: &[bool]) {
    let ops: std::collections::HashSet<Op> = ops.iter().copied().collect();
    graph.rewrite(region, |graph, op| {
        if !ops.contains(&op) {
            return Rewrite::Keep;
        }
        let data = graph.op(op).clone();
        let old = graph.region(data.regions[0]).clone();
        let body = graph.add_region();
        let mut operands = Values::new();
        let mut moved: HashMap<Value, Value> = HashMap::new();
        for (&p, &v) in old.params.iter().zip(&data.operands) {
            if live[p.at()] {
                let new = graph.add_param(body, graph.ty(p).clone());
                moved.insert(p, new);
                operands.push(v);
            }
        }
        let redirect = |v: &Value| moved.get(v).copied().unwrap_or(*v);
        for &inner in &old.ops {
            let operands: Values = graph.op(inner).operands.iter().map(redirect).collect();
            graph.op_mut(inner).operands = operands;
        }
        let wanted = || old.yields.iter().zip(&data.results).filter(|(_, r)| live[r.at()]);
        let yields = wanted().map(|(y, _)| redirect(y)).collect();
        *graph.region_mut(body) =
            ir::graph::RegionData { params: graph.region(body).params.clone(), ops: old.ops, yields };
        let new = graph
            .append(region, data.primitive, &operands, &[body], &data.origins)
            .unwrap_or_else(|e| panic!("a narrowed group is ill-typed: {e}"));
        // Results that nobody uses stand for themselves: their number must fit.
        let mut results = graph.op(new).results.clone().into_iter();
        let live_or_old = |r: &Value| if live[r.at()] { results.next().expect("one for each live result") } else { *r };
        Rewrite::Replace(data.results.iter().map(live_or_old).collect())
    });
}
