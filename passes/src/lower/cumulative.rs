//! Scans to kernels: a task for each block of independent columns, the running values in memory of the task.

use super::nest::GroupKernel;
use super::running;
use super::scatter::{Extents, nothing, product};
use crate::grain::Grain;
use ir::kernel::{Access, Index, KernelBuilder, LoopKind, Memory, Var};
use ir::ops::Cumulative;
use ir::{DType, Dim, Graph, Op, Primitive, Scalar, Symbol};
use smallvec::SmallVec;

/// What a scan runs over, and by what op.
pub(super) struct Scan<'a> {
    primitive: &'a Primitive,
    pub operands: SmallVec<[DType; 2]>,
    pub dtype: DType,
    pub outer: Dim,
    pub extent: Dim,
    pub inner: Dim,
    pub reverse: bool,
    /// The running value before the first element.
    pub start: Scalar,
}

impl<'a> Scan<'a> {
    pub fn new(graph: &'a Graph, op: Op) -> Scan<'a> {
        let data = graph.op(op);
        let ty = graph.ty(data.results[0]);
        let Cumulative { axis, reverse, start } =
            data.primitive.cumulative(ty.dtype).expect("a scan says what it runs along");
        Scan {
            primitive: &data.primitive,
            operands: data.operands.iter().map(|&v| graph.ty(v).dtype).collect(),
            dtype: ty.dtype,
            outer: product(&ty.shape[..axis]),
            extent: ty.shape[axis].clone(),
            inner: product(&ty.shape[axis + 1..]),
            reverse,
            start,
        }
    }

    /// The kernel with parameters operands, result.
    pub fn lower(&self, grain: Grain) -> GroupKernel {
        let mut k = KernelBuilder::new(self.primitive.name());
        let memory: SmallVec<[Memory; 2]> = self.operands.iter().map(|&dtype| k.param(dtype, Access::In)).collect();
        let out = k.param(self.dtype, Access::Out);
        if [&self.outer, &self.extent, &self.inner].into_iter().any(|n| n.is(0)) {
            return nothing(k, Vec::new());
        }
        let extents = match grain.warp {
            Some(warp) => running::emit(self, warp, &mut k, &memory, out),
            None => emit(self, grain, &mut k, &memory, out),
        };
        // Each element is read before it is written, and every task has its own.
        let elementwise = (0..memory.len()).map(|param| (param, 0)).collect();
        GroupKernel { kernel: k.finish().canonical(), extents, sites: Vec::new(), elementwise }
    }

    /// What a step costs.
    pub fn cost(&self) -> i64 {
        let mut probe = KernelBuilder::new("");
        let operands: SmallVec<[Var; 3]> = (0..=self.operands.len()).map(|_| probe.constant(self.start)).collect();
        self.primitive.scalar(&mut probe, &operands);
        probe.cost() as i64
    }

    /// The next running value: the one at a place of memory, with the elements at another.
    pub fn step(&self, k: &mut KernelBuilder, running: (Memory, Index), elements: &[Memory], at: Index) -> Var {
        let mut operands: SmallVec<[Var; 3]> = SmallVec::new();
        operands.push(k.load(running.0, running.1));
        operands.extend(elements.iter().map(|&m| k.load(m, at)));
        self.primitive.scalar(k, &operands)
    }
}

/// Yields the symbols of its extents.
fn emit(scan: &Scan, grain: Grain, k: &mut KernelBuilder, memory: &[Memory], out: Memory) -> Vec<Symbol> {
    let Scan { dtype, ref outer, ref extent, ref inner, reverse, start, .. } = *scan;
    let mut symbols = Vec::new();
    let single = inner.is(1);
    let width = inner.known().map_or(grain.running, |n| n.min(grain.running));
    let blocks = inner.ceil_div(&Dim::from(width));
    let mut e = Extents { k: &mut *k, symbols: &mut symbols };
    let [oi, ni, qi, blocks] = [outer, extent, inner, &blocks].map(|d| e.index(d));
    let width = k.index(width);
    let grid = k.indices.mul(oi, blocks);
    let each = k.index(scan.cost() + if single { 8 } else { 2 });
    let rows = k.indices.mul(ni, width);
    let work = k.indices.mul(rows, each);
    let running = k.scratch(dtype, width);
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
    let value = scan.step(k, (running, column), memory, at);
    k.store(out, at, value);
    k.store(running, column, value);
    if !single {
        k.end_loop();
    }
    k.end_loop();
    k.end_nest();
    symbols
}
