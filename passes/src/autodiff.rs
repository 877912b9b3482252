//! Reverse-mode differentiation as a graph transform.
//!
//! [`append_vjp`] walks the ops backwards and lets each one's rule emit the gradient into the same graph, so what comes
//! out is ordinary IR: it fuses, and it can be differentiated again. What the rules emit carries the origins of the op
//! it differentiates, marked as gradient.

use ir::graph::Values;
use ir::ops::{GraphEmitter, VjpContext};
use ir::{EmitExt, Graph, Op, Origin, Value};
use smallvec::SmallVec;

/// A place where a gradient ends because an op has no derivative.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Name of the op.
    pub op: &'static str,
    /// Why it has no derivative.
    pub reason: &'static str,
    /// Where it was recorded.
    pub origins: Vec<Origin>,
}

/// What [`append_vjp`] found.
#[derive(Clone, Debug, Default)]
pub struct Gradients {
    /// The gradient by each wanted value, `None` where the outputs do not depend on it differentiably.
    pub values: Vec<Option<Value>>,
    /// Where gradients ended.
    pub cuts: Vec<Cut>,
}

/// Appends to the root region the ops that compute the gradients of outputs by the values `wrt`, given the cotangent
/// of each output in `seeds` as `(output, cotangent)`.
///
/// Works for any values of the root region; the graph's outputs stay as they are. Everything in reverse, as described
/// by Griewank and Walther, *Evaluating Derivatives*, 2nd ed., 2008, chapter 3.
pub fn append_vjp(graph: &mut Graph, seeds: &[(Value, Value)], wrt: &[Value]) -> Gradients {
    let root = graph.root();
    let ops: Vec<Op> = graph.region(root).ops.clone();
    let mut active = vec![false; graph.value_count()];
    for &v in wrt {
        active[v.at()] = graph.ty(v).dtype.is_float();
    }
    for &op in &ops {
        let data = graph.op(op);
        if data.operands.iter().any(|v| active[v.at()]) {
            for &r in &data.results {
                active[r.at()] |= graph.ty(r).dtype.is_float();
            }
        }
    }

    let mut cotangents: Vec<Option<Value>> = vec![None; graph.value_count()];
    let mut cuts = Vec::new();
    let origins = seeds.first().map(|&(out, _)| origins_of(graph, out)).unwrap_or_default();
    let mut b = GraphEmitter { graph, region: root, origins };
    for &(output, cotangent) in seeds {
        accumulate(&mut b, &mut cotangents, output, cotangent);
    }
    for &op in ops.iter().rev() {
        let data = b.graph.op(op);
        let incoming: Values = data.results.clone();
        let incoming: SmallVec<[Option<Value>; 2]> = incoming.iter().map(|r| cotangents[r.at()]).collect();
        if incoming.iter().all(Option::is_none) || !data.operands.iter().any(|v| active[v.at()]) {
            continue;
        }
        let data = data.clone();
        let wanted: SmallVec<[bool; 4]> = data.operands.iter().map(|v| active[v.at()]).collect();
        b.origins = data.origins.iter().map(|&o| b.graph.origins.gradient_of(o)).collect();
        let cx =
            VjpContext { operands: &data.operands, results: &data.results, cotangents: &incoming, wanted: &wanted };
        match data.primitive.vjp(&mut b, &cx) {
            Ok(gradients) => {
                for ((&operand, gradient), wanted) in data.operands.iter().zip(gradients).zip(&wanted) {
                    if let (Some(g), true) = (gradient, wanted) {
                        debug_assert_eq!(b.graph.ty(g), b.graph.ty(operand), "vjp of {}", data.primitive.name());
                        accumulate(&mut b, &mut cotangents, operand, g);
                    }
                }
            }
            Err(reason) => cuts.push(Cut {
                op: data.primitive.name(),
                reason: reason.0,
                origins: data.origins.iter().map(|&o| b.graph.origins.get(o).clone()).collect(),
            }),
        }
    }
    Gradients { values: wrt.iter().map(|v| cotangents[v.at()]).collect(), cuts }
}

fn origins_of(graph: &Graph, v: Value) -> SmallVec<[ir::origin::OriginId; 2]> {
    graph.defining_op(v).map(|(op, _)| graph.op(op).origins.clone()).unwrap_or_default()
}

/// Adds a cotangent to what a value already has. Values made by rules are never looked up, so the table covers only
/// the values that were there before.
fn accumulate(b: &mut GraphEmitter<'_>, cotangents: &mut [Option<Value>], v: Value, g: Value) {
    let slot = &mut cotangents[v.at()];
    *slot = Some(match *slot {
        Some(old) => b.add(old, g),
        None => g,
    });
}
