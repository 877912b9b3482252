//! Scatters to kernels: a copy of the operand, then the updates in row-major order of the indices.
//!
//! Tasks share no element: each has its own batch and inner columns and walks all indices in order, so the results
//! have the same bits for any number of threads.

use super::nest::GroupKernel;
use super::pull::extent_argument;
use ir::dim::Atom;
use ir::kernel::{Access, BinaryOp, CompareOp, Index, KernelBuilder, LoopKind, Memory};
use ir::ops::index::{IndexMode, Update};
use ir::{DType, Dim, Graph, Op, Scalar, Symbol};
use std::collections::HashSet;

/// Columns that one task updates.
pub(super) const TASK_COLUMNS: i64 = 256;

/// Index arithmetic over the symbols of a kernel.
pub(super) struct Extents<'a> {
    pub k: &'a mut KernelBuilder,
    pub symbols: &'a mut Vec<Symbol>,
}

impl Extents<'_> {
    pub fn index(&mut self, d: &Dim) -> Index {
        let mut sum = self.k.index(0);
        for t in d.terms() {
            let mut product = self.k.index(t.coefficient);
            for a in &t.atoms {
                let factor = match a {
                    Atom::Symbol(s) => extent_argument(self.k, self.symbols, s),
                    Atom::FloorDiv(ab) => {
                        let (a, b) = (self.index(&ab.0), self.index(&ab.1));
                        self.k.indices.floor_div(a, b)
                    }
                    Atom::Mod(ab) => {
                        let (a, b) = (self.index(&ab.0), self.index(&ab.1));
                        self.k.indices.modulo(a, b)
                    }
                };
                product = self.k.indices.mul(factor, product);
            }
            sum = self.k.indices.add(sum, product);
        }
        sum
    }
}

/// The extents multiplied.
pub(super) fn product(dims: &[Dim]) -> Dim {
    dims.iter().fold(Dim::from(1), |n, d| n * d)
}

/// A kernel that does nothing.
pub(super) fn nothing(mut k: KernelBuilder, extents: Vec<Symbol>) -> GroupKernel {
    let none = k.index(0);
    k.begin_nest(none, none);
    k.end_nest();
    GroupKernel { kernel: k.finish().canonical(), extents, sites: Vec::new(), elementwise: HashSet::new() }
}

/// The kernel with parameters operand, indices, updates, result.
pub(super) fn lower_scatter(graph: &Graph, op: Op, combine: Update) -> GroupKernel {
    let data = graph.op(op);
    let at = data.primitive.indexing().expect("a scatter says what it indexes");
    let [operand, indices] = [data.operands[0], data.operands[1]].map(|v| graph.ty(v));
    let dtype = operand.dtype;
    let mut k = KernelBuilder::new("scatter");
    let memory: Vec<Memory> = data.operands.iter().map(|&v| k.param(graph.ty(v).dtype, Access::In)).collect();
    let out = k.param(dtype, Access::InOut);
    let mut symbols = Vec::new();
    // operand [b, p, extent, q], indices [b, i], updates [b, p, i, q]
    let (b, p) = (product(&operand.shape[..at.batch]), product(&operand.shape[at.batch..at.axis]));
    let (extent, q) = (operand.shape[at.axis].clone(), product(&operand.shape[at.axis + 1..]));
    let i = product(&indices.shape[at.batch..]);
    if [&b, &p, &q].into_iter().any(|n| n.is(0)) {
        // There is nothing to update and no index to check; the arithmetic below would divide by these.
        return nothing(k, symbols);
    }
    let site = (at.mode == IndexMode::Error).then(|| k.site());

    let blocks = q.ceil_div(&Dim::from(TASK_COLUMNS));
    let mut e = Extents { k: &mut k, symbols: &mut symbols };
    let [bi, pi, qi, ii, ni] = [e.index(&b), e.index(&p), e.index(&q), e.index(&i), e.index(&extent)];
    let blocks = match blocks.known() {
        Some(n) => e.k.index(n),
        None => {
            let width = e.k.index(TASK_COLUMNS);
            e.k.indices.ceil_div(qi, width)
        }
    };
    let width = k.index(TASK_COLUMNS);
    let outer = k.indices.mul(bi, pi);
    let grid = k.indices.mul(outer, blocks);
    let rows = k.indices.add(ii, ni);
    let work = k.indices.mul(rows, width);
    let task = k.begin_nest(grid, work);
    let block = k.indices.modulo(task, blocks);
    let outer = k.indices.floor_div(task, blocks);
    let batch = k.indices.floor_div(outer, pi);
    let start = k.indices.mul(block, width);
    let left = k.indices.sub(qi, start);
    let columns = k.indices.min(left, width);
    let base = k.indices.mul(outer, ni);

    let row = k.begin_loop(ni, LoopKind::Serial);
    let lane = k.begin_loop(columns, LoopKind::Lanes);
    let line = k.indices.add(base, row);
    let line = k.indices.mul(line, qi);
    let column = k.indices.add(start, lane);
    let here = k.indices.add(line, column);
    let x = k.load(memory[0], here);
    k.store(out, here, x);
    k.end_loop();
    k.end_loop();

    let n = k.begin_loop(ii, LoopKind::Serial);
    let first = k.indices.mul(batch, ii);
    let from = k.indices.add(first, n);
    let given = k.load(memory[1], from);
    let given = if site.is_some() { k.convert(given, DType::I64) } else { k.position(given) };
    if let Some(site) = site {
        k.check(site, given, ni, None);
    }
    let zero = k.constant(Scalar::I64(0));
    let bound = k.index_value(ni);
    let (low, high) = (k.compare(CompareOp::Ge, given, zero), k.compare(CompareOp::Lt, given, bound));
    let inside = k.binary(BinaryOp::And, low, high);
    let one = k.index(-1);
    let last = k.indices.add(ni, one);
    let last = k.index_value(last);
    let clamped = k.binary(BinaryOp::Max, given, zero);
    let clamped = k.binary(BinaryOp::Min, clamped, last);
    let clamped = k.index_of(clamped);
    // Clamp mode moves a stray update to the nearest element; the other modes drop it.
    let some = k.compare(CompareOp::Gt, bound, zero);
    let mask = if at.mode == IndexMode::Clamp { some } else { inside };
    let lane = k.begin_loop(columns, LoopKind::Lanes);
    let column = k.indices.add(start, lane);
    let line = k.indices.add(base, clamped);
    let line = k.indices.mul(line, qi);
    let there = k.indices.add(line, column);
    let source = k.indices.mul(outer, ii);
    let source = k.indices.add(source, n);
    let source = k.indices.mul(source, qi);
    let source = k.indices.add(source, column);
    let mut updated = k.load(memory[2], source);
    let computes = match combine {
        Update::Set => None,
        Update::Add => Some(BinaryOp::Add),
        Update::Mul => Some(BinaryOp::Mul),
        Update::Min => Some(BinaryOp::Min),
        Update::Max => Some(BinaryOp::Max),
    };
    if let Some(computes) = computes {
        let old = k.load_masked(out, there, mask, Scalar::zero(dtype));
        updated = k.binary(computes, old, updated);
    }
    k.store_masked(out, there, updated, mask);
    k.end_loop();
    k.end_loop();
    k.end_nest();
    let sites = site.map(|_| super::pull::SiteInfo { op, axis: at.axis, extent }).into_iter().collect();
    GroupKernel { kernel: k.finish().canonical(), extents: symbols, sites, elementwise: HashSet::new() }
}
