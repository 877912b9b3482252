//! Which values reach an output, and where the paths of the others end.

use super::{Cut, needed};
use ir::graph::OpData;
use ir::kernel::Combine;
use ir::ops::{Barrier, Control};
use ir::{Graph, Lowering, Op, Region, Value};
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

/// Follows values from where they are made to the outputs, through everything that passes derivatives on, into branches and
/// loops too. `ruleless` are where gradients ended for want of a rule. Reads the graph only.
pub fn reach(graph: &Graph, outputs: &[Value], values: &[Value], ruleless: &[Cut]) -> Reach {
    let root = graph.root();
    let needed = needed(graph, &graph.region(root).ops, outputs);
    let mut walk =
        Walk { graph, ruleless, active: Vec::new(), cuts: Vec::new(), numbers: HashMap::new(), met: Vec::new() };
    let mut found = Reach::default();
    for &v in values {
        walk.active = vec![false; graph.value_count()];
        walk.active[v.at()] = true;
        walk.region(root, outputs);
        let read = graph.region(root).ops.iter().any(|&op| graph.op(op).operands.contains(&v));
        let mut cuts = std::mem::take(&mut walk.met);
        cuts.sort_unstable();
        cuts.dedup();
        found.values.push(Reached { read, arrives: needed[v.at()], cuts });
    }
    found.cuts = walk.cuts;
    found
}

struct Walk<'a> {
    graph: &'a Graph,
    ruleless: &'a [Cut],
    /// By value: derivatives flow to it.
    active: Vec<bool>,
    cuts: Vec<Cut>,
    /// Numbers of ops among the cuts.
    numbers: HashMap<Op, usize>,
    /// The cuts that this walk met.
    met: Vec<usize>,
}

impl Walk<'_> {
    /// Follows what is active through the ops of a region that some of its values need.
    fn region(&mut self, region: Region, wanted: &[Value]) {
        let graph = self.graph;
        let ops = &graph.region(region).ops;
        let needed = needed(graph, ops, wanted);
        for &op in ops {
            let data = graph.op(op);
            let leads_on = data.results.iter().any(|r| needed[r.at()]);
            if !leads_on || !data.operands.iter().any(|o| self.active[o.at()]) {
                continue;
            }
            let ended = self.rule_missing(data).or_else(|| barrier(graph, data).map(|b| (b, b.reason())));
            match (ended, data.primitive.control()) {
                (Some((barrier, reason)), _) => {
                    let next = self.cuts.len();
                    let number = *self.numbers.entry(op).or_insert(next);
                    if number == next {
                        self.cuts.push(Cut::at(graph, data, barrier, reason));
                    }
                    self.met.push(number);
                }
                (None, Some(control)) if !control.is_custom() => self.control(data, &control, &needed),
                // The user says what derivative there is.
                (None, _) => data.results.iter().for_each(|r| self.active[r.at()] |= graph.ty(*r).dtype.is_float()),
            }
        }
    }

    /// What was missing where a gradient ended at this op. Regions are differentiated as graphs of their own, so its name
    /// and its lines are what it is known by.
    fn rule_missing(&self, op: &OpData) -> Option<(Barrier, &'static str)> {
        let origins = || op.origins.iter().map(|&o| self.graph.origins.get(o));
        let is_it = |cut: &&Cut| cut.op == op.primitive.name() && origins().eq(&cut.origins);
        self.ruleless.iter().find(is_it).map(|cut| (cut.barrier, cut.reason))
    }

    /// Follows it into the regions of an op, round and round where values are carried.
    fn control(&mut self, op: &OpData, control: &Control, needed: &[bool]) {
        let graph = self.graph;
        let condition = usize::from(matches!(control, Control::While { .. }));
        loop {
            let mut changed = false;
            for &region in &op.regions[condition..] {
                let data = graph.region(region);
                for (i, v) in op.operands.iter().enumerate() {
                    if let (true, Some(parameter)) = (self.active[v.at()], control.parameter(i)) {
                        self.active[data.params[parameter].at()] = true;
                    }
                }
                let carried = |k: usize| control.carries(k).and_then(|operand| control.parameter(operand));
                let wanted = (0..op.results.len()).filter(|&k| needed[op.results[k].at()] || carried(k).is_some());
                let wanted: Vec<usize> = wanted.collect();
                self.region(region, &wanted.iter().map(|&k| data.yields[k]).collect::<Vec<_>>());
                for k in wanted.into_iter().filter(|&k| graph.ty(op.results[k]).dtype.is_float()) {
                    if self.active[data.yields[k].at()] {
                        let reached = std::iter::once(op.results[k]).chain(carried(k).map(|p| data.params[p]));
                        for v in reached {
                            changed |= !std::mem::replace(&mut self.active[v.at()], true);
                        }
                    }
                }
            }
            if !changed {
                return;
            }
        }
    }
}

/// Why an op passes no derivative on.
fn barrier(graph: &Graph, op: &OpData) -> Option<Barrier> {
    let integers = op.results.iter().all(|&r| !graph.ty(r).dtype.is_float());
    match op.primitive.lowering() {
        Lowering::Sort | Lowering::Reduce(Combine::ArgMax | Combine::ArgMin) => Some(Barrier::Position),
        _ => op.primitive.barrier().or(integers.then_some(Barrier::Integers)),
    }
}
