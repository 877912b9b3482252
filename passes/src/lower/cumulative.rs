//! Scans to kernels: a task for each block of independent columns, the running values in memory of the task.

use super::nest::GroupKernel;
use super::scatter::{Extents, nothing, product};
use crate::grain::Grain;
use ir::kernel::{Access, KernelBuilder, LoopKind, Memory, Var};
use ir::ops::Cumulative;
use ir::{Dim, Graph, Op};
use smallvec::SmallVec;

/// The kernel with parameters operands, result.
pub(super) fn lower_cumulative(graph: &Graph, grain: Grain, op: Op) -> GroupKernel {
    let data = graph.op(op);
    let ty = graph.ty(data.results[0]);
    let Cumulative { axis, reverse, start } =
        data.primitive.cumulative(ty.dtype).expect("a scan says what it runs along");
    let mut k = KernelBuilder::new(data.primitive.name());
    let memory: SmallVec<[Memory; 2]> = data.operands.iter().map(|&v| k.param(graph.ty(v).dtype, Access::In)).collect();
    let out = k.param(ty.dtype, Access::Out);
    let mut symbols = Vec::new();
    // [outer, extent, inner]
    let (outer, inner) = (product(&ty.shape[..axis]), product(&ty.shape[axis + 1..]));
    let extent = ty.shape[axis].clone();
    if [&outer, &extent, &inner].into_iter().any(|n| n.is(0)) {
        return nothing(k, symbols);
    }
    // Each element is read and written by one iteration, in that order.
    let elementwise = (0..memory.len()).map(|param| (param, 0)).collect();
    let single = inner.is(1);
    let width = inner.known().map_or(grain.running, |n| n.min(grain.running));
    let blocks = inner.ceil_div(&Dim::from(width));
    let mut e = Extents { k: &mut k, symbols: &mut symbols };
    let [oi, ni, qi, blocks] = [&outer, &extent, &inner, &blocks].map(|d| e.index(d));
    let width = k.index(width);
    let grid = k.indices.mul(oi, blocks);
    let mut probe = KernelBuilder::new("");
    let operands: SmallVec<[Var; 3]> = (0..=memory.len()).map(|_| probe.constant(start)).collect();
    data.primitive.scalar(&mut probe, &operands);
    let each = k.index(probe.cost() as i64 + if single { 8 } else { 2 });
    let rows = k.indices.mul(ni, width);
    let work = k.indices.mul(rows, each);
    let running = k.scratch(ty.dtype, width);
    let task = k.begin_nest(grid, work);
    let block = k.indices.modulo(task, blocks);
    let outer = k.indices.floor_div(task, blocks);
    let first = k.indices.mul(block, width);
    let left = k.indices.sub(qi, first);
    let columns = k.indices.min(left, width);
    let base = k.indices.mul(outer, ni);
    let zero = k.index(0);

    // A single column has no lanes.
    let column = if single { zero } else { k.begin_loop(columns, LoopKind::Lanes) };
    let value = k.constant(start);
    k.store(running, column, value);
    if !single {
        k.end_loop();
    }
    let mut row = k.begin_loop(ni, LoopKind::Serial);
    if reverse {
        let one = k.index(1);
        let last = k.indices.sub(ni, one);
        row = k.indices.sub(last, row);
    }
    let column = if single { zero } else { k.begin_loop(columns, LoopKind::Lanes) };
    let line = k.indices.add(base, row);
    let line = k.indices.mul(line, qi);
    let at = k.indices.add(line, first);
    let at = k.indices.add(at, column);
    let mut operands: SmallVec<[Var; 3]> = SmallVec::new();
    operands.push(k.load(running, column));
    operands.extend(memory.iter().map(|&m| k.load(m, at)));
    let value = data.primitive.scalar(&mut k, &operands);
    k.store(out, at, value);
    k.store(running, column, value);
    if !single {
        k.end_loop();
    }
    k.end_loop();
    k.end_nest();
    GroupKernel { kernel: k.finish().canonical(), extents: symbols, sites: Vec::new(), elementwise }
}
