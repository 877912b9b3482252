//! Which values reach an output, and where the paths of the others end.

use super::{Cut, needed};
use ir::graph::OpData;
use ir::kernel::Combine;
use ir::ops::Barrier;
use ir::{Graph, Lowering, Op, Value};
use std::collections::HashMap;

/// How far a value gets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reached {
    /// Some op reads it.
    pub read: bool,
    /// The outputs depend on it, differentiably or not.
    pub arrives: bool,
    /// The ops that end paths from it to the outputs, as numbers of [`Reach::cuts`]: on each path the first.
    pub cuts: Vec<usize>,
}

/// What [`reach`] found.
#[derive(Clone, Debug, Default)]
pub struct Reach {
    /// Ops at which paths end, in order.
    pub cuts: Vec<Cut>,
    /// For each value that was asked for.
    pub values: Vec<Reached>,
}

/// Follows values from where they are made to the outputs, through everything that passes derivatives on. `ruleless` are
/// ops that are known to have no rule. Reads the graph only.
pub fn reach(graph: &Graph, outputs: &[Value], values: &[Value], ruleless: &[(Op, &'static str)]) -> Reach {
    let ops = &graph.region(graph.root()).ops;
    let needed = needed(graph, ops, outputs);
    let mut found = Reach::default();
    let mut numbers: HashMap<Op, usize> = HashMap::new();
    for &v in values {
        let mut reached = Reached { arrives: needed[v.at()], ..Reached::default() };
        let mut active = vec![false; graph.value_count()];
        active[v.at()] = true;
        for &op in ops {
            let data = graph.op(op);
            reached.read |= data.operands.contains(&v);
            let on_path = data.results.iter().any(|r| needed[r.at()]) && data.operands.iter().any(|o| active[o.at()]);
            if !on_path {
                continue;
            }
            let missing = ruleless.iter().find(|(o, _)| *o == op).map(|(_, why)| (Barrier::NoRule, *why));
            match missing.or_else(|| barrier(graph, data).map(|b| (b, b.reason()))) {
                Some((barrier, reason)) => {
                    let number = *numbers.entry(op).or_insert_with(|| {
                        found.cuts.push(Cut::at(graph, data, barrier, reason));
                        found.cuts.len() - 1
                    });
                    reached.cuts.push(number);
                }
                None => data.results.iter().for_each(|r| active[r.at()] |= graph.ty(*r).dtype.is_float()),
            }
        }
        found.values.push(reached);
    }
    found
}

/// Why an op passes no derivative on.
fn barrier(graph: &Graph, op: &OpData) -> Option<Barrier> {
    let integers = op.results.iter().all(|&r| !graph.ty(r).dtype.is_float());
    match op.primitive.lowering() {
        Lowering::Sort | Lowering::Reduce(Combine::ArgMax | Combine::ArgMin) => Some(Barrier::Position),
        _ => op.primitive.barrier().or(integers.then_some(Barrier::Integers)),
    }
}
