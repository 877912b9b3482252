//! Reverse mode.

use super::{Cut, active_up_to, control};
use crate::hoist::{Growth, hoist};
use ir::graph::Values;
use ir::ops::{Barrier, GraphEmitter, PerOperand, VjpContext};
use ir::origin::OriginId;
use ir::{EmitExt, Graph, Lowering, NotDifferentiable, Op, Value};
use smallvec::SmallVec;

/// What [`append_vjp`] found.
#[derive(Clone, Debug, Default)]
pub struct Gradients {
    /// The gradient by each wanted value, `None` where the outputs do not depend on it differentiably.
    pub values: Vec<Option<Value>>,
    /// Where gradients ended for want of a rule, inside of branches and loops too.
    pub cuts: Vec<Cut>,
}

/// Appends to the root region the ops that compute the gradients of outputs by the values `wrt`, given the cotangent
/// of each output in `seeds` as `(output, cotangent)`.
///
/// Works for any values of the root region; the graph's outputs stay as they are. Everything in reverse, as described
/// by Griewank and Walther, *Evaluating Derivatives*, 2nd ed., 2008, chapter 3.
pub fn append_vjp(graph: &mut Graph, seeds: &[(Value, Value)], wrt: &[Value]) -> Gradients {
    let root = graph.root();
    // What is the same in every iteration is saved once.
    hoist(graph, root, Growth::Any);
    let ops: Vec<Op> = graph.region(root).ops.clone();
    // Behind a step every derivative is 0, whatever rules there are.
    let ends = |barrier| matches!(barrier, Barrier::Stop | Barrier::Step);
    let active = active_up_to(graph, root, wrt.iter().copied(), ends);
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
        match pull(&mut b, op, &cx, &mut cuts) {
            Ok(gradients) => {
                for ((&operand, gradient), wanted) in data.operands.iter().zip(gradients).zip(&wanted) {
                    if let (Some(g), true) = (gradient, wanted) {
                        debug_assert_eq!(b.graph.ty(g), b.graph.ty(operand), "vjp of {}", data.primitive.name());
                        accumulate(&mut b, &mut cotangents, operand, g);
                    }
                }
            }
            Err(reason) => cuts.push(Cut::refused(b.graph, &data, reason)),
        }
    }
    Gradients { values: wrt.iter().map(|v| cotangents[v.at()]).collect(), cuts }
}

/// The gradient by each wanted operand of an op: the one place where the kinds of ops part.
fn pull(
    b: &mut GraphEmitter<'_>,
    op: Op,
    cx: &VjpContext<'_>,
    cuts: &mut Vec<Cut>,
) -> Result<PerOperand, NotDifferentiable> {
    let primitive = b.graph.op(op).primitive.clone();
    match primitive.lowering() {
        Lowering::Control => control::pull(b, op, cx, cuts),
        _ => primitive.vjp(b, cx),
    }
}

fn origins_of(graph: &Graph, v: Value) -> SmallVec<[OriginId; 2]> {
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
