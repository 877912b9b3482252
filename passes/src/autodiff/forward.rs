//! Forward mode.

use super::{Cut, active, control, needed};
use ir::ops::{GraphEmitter, PerOperand};
use ir::{Graph, Lowering, NotDifferentiable, Op, Value};
use smallvec::SmallVec;

/// What [`append_jvp`] found.
#[derive(Clone, Debug, Default)]
pub struct Tangents {
    /// The tangent of each output, `None` where it is zero.
    pub values: Vec<Option<Value>>,
    /// Where tangents ended.
    pub cuts: Vec<Cut>,
}

/// Appends to the root region the ops that compute the tangents of outputs, given tangents of some values as `(value,
/// tangent)`.
///
/// Works for any values of the root region; the graph's outputs stay as they are. Nothing is emitted for ops on which no
/// output depends. Derivatives carried along with the values, as described by Griewank and Walther, *Evaluating
/// Derivatives*, 2nd ed., 2008, section 3.1.
pub fn append_jvp(graph: &mut Graph, tangents: &[(Value, Value)], outputs: &[Value]) -> Tangents {
    let root = graph.root();
    let ops: Vec<Op> = graph.region(root).ops.clone();
    let active = active(graph, root, tangents.iter().map(|t| t.0));
    let needed = needed(graph, &ops, outputs);
    let mut known: Vec<Option<Value>> = vec![None; graph.value_count()];
    tangents.iter().filter(|(v, _)| active[v.at()]).for_each(|&(v, t)| known[v.at()] = Some(t));
    let mut cuts = Vec::new();
    let mut b = GraphEmitter { graph, region: root, origins: SmallVec::new() };
    for &op in &ops {
        let data = b.graph.op(op);
        let wanted = |v: &Value| needed[v.at()] && active[v.at()];
        if !data.results.iter().any(wanted) || !data.operands.iter().any(|v| known[v.at()].is_some()) {
            continue;
        }
        let data = data.clone();
        let incoming: PerOperand = data.operands.iter().map(|v| known[v.at()]).collect();
        b.origins = data.origins.iter().map(|&o| b.graph.origins.gradient_of(o)).collect();
        match push(&mut b, op, &incoming, &mut cuts) {
            Ok(results) => {
                for (&result, tangent) in data.results.iter().zip(results) {
                    debug_assert!(
                        tangent.is_none_or(|t| b.graph.ty(t) == b.graph.ty(result)),
                        "jvp of {}",
                        data.primitive.name()
                    );
                    known[result.at()] = tangent.filter(|_| active[result.at()]);
                }
            }
            Err(reason) => cuts.push(Cut::refused(b.graph, &data, reason)),
        }
    }
    if ops.iter().any(|&op| b.graph.op(op).primitive.lowering() == Lowering::Control) {
        b.graph.sort(root);
    }
    Tangents { values: outputs.iter().map(|v| known[v.at()]).collect(), cuts }
}

/// The tangent of each result of an op: the one place where the kinds of ops part.
fn push(
    b: &mut GraphEmitter<'_>,
    op: Op,
    tangents: &[Option<Value>],
    cuts: &mut Vec<Cut>,
) -> Result<PerOperand, NotDifferentiable> {
    let data = b.graph.op(op).clone();
    match data.primitive.lowering() {
        Lowering::Control => control::push(b, op, tangents, cuts),
        _ => Ok(data.primitive.jvp_all(b, &data.operands, &data.results, tangents)?.into_iter().collect()),
    }
}
