//! 16-bit floats between the ops of one kernel: kept in f32.

use crate::pass::{Pass, PassContext, PassError};
use ir::graph::Rewrite;
use ir::ops::Conversion;
use ir::{DType, Graph, Lowering, Region, Value};

/// Inside fused groups, takes the f32 value itself where it is rounded to 16 bits and widened again. That changes
/// results, towards those of f32 arithmetic; the option `strict16` turns it off. A round trip that the user wrote is
/// one like any other here.
#[derive(Clone, Copy, Debug)]
pub struct Widen;

impl Pass for Widen {
    fn name(&self) -> &'static str {
        "widen"
    }
    fn about(&self) -> &'static str {
        "needs fused groups; inside them nothing is rounded to 16 bits only to be widened again, unless strict16"
    }
    fn is_exact(&self) -> bool {
        false
    }
    fn run(&self, graph: &mut Graph, cx: &mut PassContext) -> Result<bool, PassError> {
        if cx.options.strict16 {
            return Ok(false);
        }
        let mut changed = false;
        for body in bodies(graph) {
            changed |= graph.rewrite(body, |graph, op| match unrounded(graph, graph.op(op).results[0]) {
                Some(v) => Rewrite::Replace([v].into_iter().collect()),
                None => Rewrite::Keep,
            });
        }
        Ok(changed)
    }
}

/// Regions of fused groups.
fn bodies(graph: &Graph) -> Vec<Region> {
    let ops = graph.reachable_regions().into_iter().flat_map(|r| &graph.region(r).ops);
    let fused = ops.map(|&op| graph.op(op)).filter(|d| d.primitive.lowering() == Lowering::Fused);
    fused.flat_map(|d| d.regions.iter().copied()).collect()
}

/// For f32 that was rounded from f32 through 16 bits: what it was rounded from.
fn unrounded(graph: &Graph, wide: Value) -> Option<Value> {
    let source = |v: Value| {
        let data = graph.op(graph.defining_op(v)?.0);
        (data.primitive.conversion() == Some(Conversion::Value)).then(|| data.operands[0])
    };
    let narrow = source(wide)?;
    let original = source(narrow)?;
    let dtypes = [original, narrow, wide].map(|v| graph.ty(v).dtype);
    (dtypes[0] == DType::F32 && dtypes[1].is_half() && dtypes[2] == DType::F32).then_some(original)
}
