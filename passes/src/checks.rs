//! Indices are checked once.

use crate::pass::{Pass, PassContext, PassError};
use ir::graph::Rewrite;
use ir::{Dim, Graph, Op, Region, Shape, Value};
use std::collections::HashSet;

/// Takes the check from ops whose indices an earlier op has checked against the same extent: gradients read and write
/// where the forward pass did. An op without a check is pointwise where it can be, and fails nothing.
#[derive(Clone, Copy, Debug)]
pub struct CheckOnce;

impl Pass for CheckOnce {
    fn name(&self) -> &'static str {
        "checks"
    }
    fn about(&self) -> &'static str {
        "needs a graph without dead code, whose checks would count; no indices are checked twice"
    }
    fn run(&self, graph: &mut Graph, _: &mut PassContext) -> Result<bool, PassError> {
        Ok(graph.blocks().into_iter().fold(false, |changed, block| check_once(graph, block) | changed))
    }
}

fn check_once(graph: &mut Graph, block: Region) -> bool {
    let mut seen: HashSet<(Value, Dim, usize, Shape)> = HashSet::new();
    graph.rewrite(block, |graph, op| {
        let Some(unchecked) = graph.op(op).primitive.unchecked() else { return Rewrite::Keep };
        let Some(key) = key(graph, op) else { return Rewrite::Keep };
        if seen.insert(key) {
            return Rewrite::Keep;
        }
        let data = graph.op(op).clone();
        let new = graph
            .append(block, unchecked, &data.operands, &[], &data.origins)
            .unwrap_or_else(|e| panic!("an op without its check is ill-typed: {e}"));
        Rewrite::Replace(graph.op(new).results.clone())
    })
}

/// Indices, the extent they must be below, their batch axes, and the elements for which they are read: no element, no
/// check.
fn key(graph: &Graph, op: Op) -> Option<(Value, Dim, usize, Shape)> {
    let data = graph.op(op);
    let at = data.primitive.indexing()?;
    let elements = data.operands.get(2).unwrap_or(&data.results[0]);
    let extent = graph.ty(data.operands[0]).shape[at.axis].clone();
    Some((data.operands[1], extent, at.batch, graph.ty(*elements).shape.clone()))
}
