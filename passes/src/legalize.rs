//! 16-bit floats: arithmetic happens in f32 and rounds once.

use crate::pass::{Pass, PassContext, PassError};
use ir::graph::Rewrite;
use ir::ops::GraphEmitter;
use ir::{DType, Emit, EmitExt, Graph, Lowering, Op, Region, Value};
use smallvec::SmallVec;

/// Turns every computation on f16 and bf16 into: convert to f32, compute, convert back. Reductions accumulate in f32
/// thereby. Data movement stays in 16 bits, and so do products, which accumulate in f32 by themselves.
#[derive(Clone, Copy, Debug)]
pub struct Legalize16;

impl Pass for Legalize16 {
    fn name(&self) -> &'static str {
        "legalize16"
    }
    fn about(&self) -> &'static str {
        "needs nothing; 16-bit floats are only moved, generated, converted and multiplied by products"
    }
    fn required(&self) -> bool {
        true
    }
    fn run(&self, graph: &mut Graph, _: &mut PassContext) -> Result<bool, PassError> {
        let mut changed = false;
        for region in graph.reachable_regions() {
            changed |= graph.rewrite(region, |graph, op| {
                if is_legal(graph, op) {
                    return Rewrite::Keep;
                }
                Rewrite::Replace([in_f32(graph, region, op)].into_iter().collect())
            });
        }
        Ok(changed)
    }
    fn guarantee(&self, graph: &Graph) -> Result<(), String> {
        for region in graph.reachable_regions() {
            if let Some(&op) = graph.region(region).ops.iter().find(|&&op| !is_legal(graph, op)) {
                return Err(format!("`{}` computes in 16 bits", graph.op(op).primitive.name()));
            }
        }
        Ok(())
    }
}

fn is_legal(graph: &Graph, op: Op) -> bool {
    let data = graph.op(op);
    let half = |v: &Value| graph.ty(*v).dtype.is_half();
    let touches_half = data.operands.iter().chain(&data.results).any(half);
    match data.primitive.lowering() {
        _ if !touches_half => true,
        // The one goes through f32 by itself, as its semantics say; the other takes the bits as they are.
        Lowering::Pointwise => data.primitive.conversion().is_some(),
        Lowering::Reduce(_) | Lowering::Cumulative => false,
        Lowering::Scatter(combine) => combine.moves(),
        _ => true,
    }
}

fn in_f32(graph: &mut Graph, region: Region, op: Op) -> Value {
    let data = graph.op(op).clone();
    let dtype = graph.ty(data.results[0]).dtype;
    let mut b = GraphEmitter { graph, region, origins: data.origins };
    let operands: SmallVec<[Value; 3]> =
        data.operands.iter().map(|&v| if b.ty(v).dtype.is_half() { b.convert(v, DType::F32) } else { v }).collect();
    let computed = b.emit(data.primitive, &operands);
    b.convert(computed, dtype)
}
