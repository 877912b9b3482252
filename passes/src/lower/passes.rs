//! The passes of a group around reductions: which values a pass computes, and what is kept for later ones.

use ir::graph::Definition;
use ir::kernel::{KernelBuilder, Var};
use ir::{Graph, Lowering, Op, Region, Scalar, Value};
use smallvec::SmallVec;
use std::collections::{HashMap, HashSet};

/// For arg reductions, the axis whose position is the result.
pub(super) fn position_axis(graph: &Graph, op: Op) -> Option<usize> {
    use ir::kernel::Combine::{ArgMax, ArgMin};
    match graph.op(op).primitive.lowering() {
        Lowering::Reduce(ArgMax | ArgMin) => Some(graph.op(op).primitive.reduced_axes()[0]),
        _ => None,
    }
}

/// For each value: for a reduction its own pass, else the first pass after all reductions it depends on.
pub(super) fn pass_numbers(graph: &Graph, region: Region, reduces: &[Op]) -> HashMap<Value, u32> {
    let mut passes: HashMap<Value, u32> = HashMap::new();
    for &op in &graph.region(region).ops {
        let data = graph.op(op);
        let needed = data.operands.iter().map(|&v| needed(graph, &passes, v)).max().unwrap_or(0);
        for &r in &data.results {
            passes.insert(r, needed);
        }
    }
    debug_assert!(reduces.iter().all(|op| passes.contains_key(&graph.op(*op).results[0])));
    passes
}

/// The first pass in which a value can be read.
pub(super) fn needed(graph: &Graph, passes: &HashMap<Value, u32>, v: Value) -> u32 {
    let Some(&pass) = passes.get(&v) else { return 0 };
    match graph.value(v).def {
        Definition::Result(op, _) if matches!(graph.op(op).primitive.lowering(), Lowering::Reduce(_)) => pass + 1,
        _ => pass,
    }
}

/// Values of `pass` that a later pass reads again: those of costly ops and then, if loads are dear, all others.
pub(super) fn worth_keeping(
    graph: &Graph,
    region: Region,
    passes: &HashMap<Value, u32>,
    pass: u32,
    loads: bool,
) -> Vec<(Value, bool)> {
    let ops = &graph.region(region).ops;
    let mut read_later: HashSet<Value> = HashSet::new();
    for &op in ops {
        let data = graph.op(op);
        if data.results.iter().any(|r| passes[r] > pass) {
            read_later.extend(data.operands.iter().copied());
        }
    }
    let results = |costly: bool| {
        let candidates = ops.iter().filter(move |&&op| !is_reduce(graph, op) && is_costly(graph, op) == costly);
        let values = candidates.flat_map(|&op| graph.op(op).results.iter().copied());
        values.filter(|r| read_later.contains(r) && passes[r] == pass).map(move |v| (v, costly))
    };
    let mut kept: Vec<(Value, bool)> = results(true).collect();
    if loads {
        let params = graph.region(region).params.iter().filter(|&v| read_later.contains(v));
        kept.extend(params.map(|&v| (v, false)));
        kept.extend(results(false));
    }
    kept
}

fn is_reduce(graph: &Graph, op: Op) -> bool {
    matches!(graph.op(op).primitive.lowering(), Lowering::Reduce(_))
}

/// True for pointwise ops that cost much more than a load.
fn is_costly(graph: &Graph, op: Op) -> bool {
    let data = graph.op(op);
    if data.primitive.lowering() != Lowering::Pointwise {
        return false;
    }
    let mut probe = KernelBuilder::new("");
    let operands: SmallVec<[Var; 3]> =
        data.operands.iter().map(|&v| probe.constant(Scalar::zero(graph.ty(v).dtype))).collect();
    data.primitive.scalar(&mut probe, &operands);
    probe.cost() > 4
}
