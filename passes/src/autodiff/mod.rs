//! Differentiation, as graph transforms.
//!
//! [`append_vjp`] walks the ops backwards and lets each one's rule emit the gradient into the same graph;
//! [`append_jvp`] walks them forwards and pushes tangents along. What comes out is ordinary IR: it fuses, and it can be
//! differentiated again. What the rules emit carries the origins of the op it differentiates, marked as gradient.
//! [`partition`] cuts a graph that holds a function and its gradients into one that runs first and one that runs later;
//! [`within`] chooses what a function keeps for its gradient, so that a budget of memory suffices.

mod budget;
mod control;
mod depends;
mod forward;
mod partition;
mod reach;
mod reverse;

pub use budget::{NoPlan, Plan, within};
pub use forward::{Tangents, append_jvp};
pub use partition::{Again, Partition, Residual, partition};
pub use reach::{Reach, Reached, reach};
pub use reverse::{Gradients, append_vjp};

use ir::graph::OpData;
use ir::ops::{Barrier, Control};
use ir::{Graph, NotDifferentiable, Op, Origin, Region, Value};
use std::fmt;

/// A place where a derivative ends because an op has none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Name of the op.
    pub op: &'static str,
    /// What kind of op it is.
    pub barrier: Barrier,
    /// Why it has no derivative.
    pub reason: &'static str,
    /// Where it was recorded.
    pub origins: Vec<Origin>,
}

impl Cut {
    fn at(graph: &Graph, op: &OpData, barrier: Barrier, reason: &'static str) -> Cut {
        let origins = op.origins.iter().map(|&o| graph.origins.get(o).clone()).collect();
        Cut { op: op.primitive.name(), barrier, reason, origins }
    }

    /// Where a rule said that there is none.
    fn refused(graph: &Graph, op: &OpData, reason: NotDifferentiable) -> Cut {
        let barrier = match op.primitive.control() {
            Some(Control::While { .. }) => Barrier::Unbounded,
            Some(Control::CustomVjp) => Barrier::ReverseOnly,
            Some(Control::CustomJvp) => Barrier::NotLinear,
            _ => op.primitive.barrier().unwrap_or(Barrier::NoRule),
        };
        Cut::at(graph, op, barrier, reason.0)
    }
}

/// The op with its line, and the reason.
impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.op)?;
        if let Some(origin) = self.origins.first() {
            write!(f, " at {origin}")?;
        }
        write!(f, ": {}", self.reason)
    }
}

/// Which values of a region depend on some of them through floats, and through nothing that stops derivatives: a table by
/// value.
pub fn active(graph: &Graph, region: Region, from: impl Iterator<Item = Value>) -> Vec<bool> {
    active_up_to(graph, region, from, |barrier| barrier == Barrier::Stop)
}

/// The same, up to ops with certain barriers.
fn active_up_to(
    graph: &Graph,
    region: Region,
    from: impl Iterator<Item = Value>,
    ends: impl Fn(Barrier) -> bool,
) -> Vec<bool> {
    let mut active = vec![false; graph.value_count()];
    let is_float = |v: Value| graph.ty(v).dtype.is_float();
    from.for_each(|v| active[v.at()] = is_float(v));
    for &op in &graph.region(region).ops {
        let data = graph.op(op);
        let goes_on = !data.primitive.barrier().is_some_and(&ends);
        if goes_on && data.operands.iter().any(|v| active[v.at()]) {
            data.results.iter().for_each(|r| active[r.at()] |= is_float(*r));
        }
    }
    active
}

/// Which values some of them depend on: a table by value.
fn needed(graph: &Graph, ops: &[Op], by: &[Value]) -> Vec<bool> {
    let mut needed = vec![false; graph.value_count()];
    by.iter().for_each(|v| needed[v.at()] = true);
    for &op in ops.iter().rev() {
        let data = graph.op(op);
        if data.results.iter().any(|r| needed[r.at()]) {
            data.operands.iter().for_each(|v| needed[v.at()] = true);
        }
    }
    needed
}
