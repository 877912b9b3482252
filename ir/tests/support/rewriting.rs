//! Canonicalisation to a fixpoint, in the smallest form.

use super::emitter;
use ir::graph::Rewrite;
use ir::ops::{GraphEmitter, Rewriter};
use ir::{Emit, Graph, Primitive, Scalar, Type, Value};
use smallvec::smallvec;

struct GraphRewriter<'a>(GraphEmitter<'a>);

impl Emit for GraphRewriter<'_> {
    fn emit(&mut self, primitive: Primitive, operands: &[Value]) -> Value {
        self.0.emit(primitive, operands)
    }
    fn ty(&self, v: Value) -> &Type {
        self.0.ty(v)
    }
    fn inline(&mut self, graph: &Graph, arguments: &[Value]) -> Vec<Value> {
        self.0.inline(graph, arguments)
    }
}
impl Rewriter for GraphRewriter<'_> {
    fn definition(&self, v: Value) -> Option<(&Primitive, &[Value])> {
        let (op, _) = self.0.graph.defining_op(v)?;
        let data = self.0.graph.op(op);
        Some((&data.primitive, &data.operands))
    }
    fn splat(&self, v: Value) -> Option<Scalar> {
        self.definition(v)?.0.splat()
    }
}

/// Applies the rules of all ops of the root region once. The names of the ops that a rule replaced are added to
/// `applied`.
fn canonicalize_once(graph: &mut Graph, applied: &mut Vec<&'static str>) -> bool {
    graph.rewrite(graph.root(), |graph, op| {
        let data = graph.op(op).clone();
        let [result] = data.results.as_slice() else { return Rewrite::Keep };
        let ty = graph.ty(*result).clone();
        match data.primitive.canonicalize(&mut GraphRewriter(emitter(graph)), &data.operands, &ty) {
            None => Rewrite::Keep,
            Some(new) => {
                assert_eq!(*graph.ty(new), ty, "a rule of {:?} changed the type", data.primitive);
                applied.push(data.primitive.name());
                Rewrite::Replace(smallvec![new])
            }
        }
    })
}

/// Applies all rules until none applies; panics if they do not come to an end. Yields the names of the ops that were
/// replaced.
pub fn canonicalize(graph: &mut Graph) -> Vec<&'static str> {
    let mut applied = Vec::new();
    for _ in 0..16 {
        if !canonicalize_once(graph, &mut applied) {
            return applied;
        }
        drop_unused(graph);
    }
    panic!("rules that do not end: {applied:?}");
}

fn drop_unused(graph: &mut Graph) {
    let root = graph.root();
    let mut used = vec![false; graph.value_count()];
    for &v in graph.outputs() {
        used[v.at()] = true;
    }
    let mut kept = Vec::new();
    for &op in graph.region(root).ops.clone().iter().rev() {
        if graph.op(op).results.iter().any(|r| used[r.at()]) {
            graph.op(op).operands.iter().for_each(|v| used[v.at()] = true);
            kept.push(op);
        }
    }
    kept.reverse();
    graph.region_mut(root).ops = kept;
}
