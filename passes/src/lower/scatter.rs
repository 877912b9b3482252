//! Scatters to kernels: a copy of the operand, then the updates in row-major order of the indices.
//!
//! Tasks share no element: each has its own batch and inner columns and walks all indices in order, so the results
//! have the same bits for any number of threads. Where that makes too few tasks, each has a block of rows besides, looks for
//! the indices that fall there, and does what it finds in the same order.

use super::nest::GroupKernel;
use super::pull::extent_argument;
use crate::grain::Grain;
use ir::dim::Atom;
use ir::kernel::{Access, BinaryOp, Combine, CompareOp, Index, KernelBuilder, LANES, LoopKind, Memory};
use ir::ops::index::{IndexMode, Update};
use ir::{DType, Dim, Graph, Op, Scalar, Symbol};
use std::collections::HashSet;

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

/// Tasks from which a scatter has enough without blocks of rows.
const ENOUGH: i64 = 512;
/// Tasks that blocks of rows make, about.
const WANTED: i64 = 2048;
/// What an extent counts as that is not known.
const UNKNOWN: i64 = 64;

/// Into how many blocks of rows a scatter is cut.
fn parts(outer: &[&Dim], columns: &Dim, grain: Grain) -> i64 {
    let known = |d: &Dim| d.known().unwrap_or(UNKNOWN).max(1);
    let blocks = (known(columns) + grain.running - 1) / grain.running;
    let tasks = outer.iter().fold(blocks, |n, d| n.saturating_mul(known(d)));
    if tasks < ENOUGH { WANTED / tasks } else { 1 }
}

/// The kernel with parameters operand, indices, updates, result.
pub(super) fn lower_scatter(graph: &Graph, grain: Grain, op: Op, combine: Update) -> GroupKernel {
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

    let blocks = q.ceil_div(&Dim::from(grain.running));
    let mut e = Extents { k: &mut k, symbols: &mut symbols };
    let [bi, pi, qi, ii, ni] = [e.index(&b), e.index(&p), e.index(&q), e.index(&i), e.index(&extent)];
    let blocks = match blocks.known() {
        Some(n) => e.k.index(n),
        None => {
            let width = e.k.index(grain.running);
            e.k.indices.ceil_div(qi, width)
        }
    };
    let width = k.index(grain.running);
    let outer = k.indices.mul(bi, pi);
    let mut grid = k.indices.mul(outer, blocks);
    let parts = grain.warp.map_or(1, |_| parts(&[&b, &p], &q, grain));
    let (mut height, mut row_blocks) = (ni, k.index(1));
    if parts > 1 {
        let one = row_blocks;
        let parts = k.index(parts);
        height = k.indices.ceil_div(ni, parts);
        height = k.indices.max(height, one);
        row_blocks = k.indices.ceil_div(ni, height);
        row_blocks = k.indices.max(row_blocks, one);
        grid = k.indices.mul(grid, row_blocks);
    }
    let rows = k.indices.add(ii, height);
    let work = k.indices.mul(rows, width);
    let task = k.begin_nest(grid, work);
    let row_block = k.indices.modulo(task, row_blocks);
    let task = k.indices.floor_div(task, row_blocks);
    let top = k.indices.mul(row_block, height);
    let rest = k.indices.sub(ni, top);
    let height = if parts > 1 { k.indices.min(rest, height) } else { height };
    let block = k.indices.modulo(task, blocks);
    let outer = k.indices.floor_div(task, blocks);
    let batch = k.indices.floor_div(outer, pi);
    let start = k.indices.mul(block, width);
    let left = k.indices.sub(qi, start);
    let columns = k.indices.min(left, width);
    let base = k.indices.mul(outer, ni);

    let one_block = grain.warp.is_some() && k.indices.as_const(blocks) == Some(1);
    // Rows of one block lie one after the other.
    let (count, across) = match one_block {
        true => (k.index(1), k.indices.mul(height, qi)),
        false => (height, columns),
    };
    let row = k.begin_loop(count, LoopKind::Serial);
    let lane = k.begin_loop(across, LoopKind::Lanes);
    let line = k.indices.add(base, top);
    let line = k.indices.add(line, row);
    let line = k.indices.mul(line, qi);
    let column = k.indices.add(start, lane);
    let here = k.indices.add(line, column);
    let x = k.load(memory[0], here);
    k.store(out, here, x);
    k.end_loop();
    k.end_loop();

    let first = k.indices.mul(batch, ii);
    // The row that an index says, and whether it is one of this task.
    let locate = |k: &mut KernelBuilder, from: Index, site: Option<u32>| {
        let given = k.load(memory[1], from);
        let given = if at.mode == IndexMode::Error { k.convert(given, DType::I64) } else { k.position(given) };
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
        // Clamp mode moves a stray update to the nearest element; the other modes drop it.
        let some = k.compare(CompareOp::Gt, bound, zero);
        let mut mask = if at.mode == IndexMode::Clamp { some } else { inside };
        if parts > 1 {
            let end = k.indices.add(top, height);
            let (top, end) = (k.index_value(top), k.index_value(end));
            let (low, high) = (k.compare(CompareOp::Ge, clamped, top), k.compare(CompareOp::Lt, clamped, end));
            let own = k.binary(BinaryOp::And, low, high);
            mask = k.binary(BinaryOp::And, mask, own);
        }
        (clamped, mask)
    };
    let (mut begin, mut many, mut site_here) = (k.index(0), ii, site);
    if parts > 1 {
        // A warp looks at as many indices at once as it has threads, and goes through those where it found one.
        let lanes = k.index(LANES as i64);
        let pieces = k.indices.ceil_div(ii, lanes);
        let piece = k.begin_loop(pieces, LoopKind::Serial);
        begin = k.indices.mul(piece, lanes);
        let left = k.indices.sub(ii, begin);
        let length = k.indices.min(left, lanes);
        let lane = k.begin_loop(length, LoopKind::Lanes);
        let from = k.indices.add(first, begin);
        let from = k.indices.add(from, lane);
        let (_, mask) = locate(&mut k, from, site_here.take());
        let found = k.accumulate(Combine::Any, &[mask])[0];
        k.end_loop();
        let found = k.convert(found, DType::I64);
        let found = k.index_of(found);
        many = k.indices.mul(found, length);
    }
    let n = k.begin_loop(many, LoopKind::Serial);
    let n = k.indices.add(begin, n);
    let from = k.indices.add(first, n);
    let (clamped, mask) = locate(&mut k, from, site_here);
    let clamped = k.index_of(clamped);
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
    if parts > 1 {
        k.end_loop();
    }
    k.end_nest();
    let sites = site.map(|_| super::pull::SiteInfo { op, axis: at.axis, extent }).into_iter().collect();
    GroupKernel { kernel: k.finish().canonical(), extents: symbols, sites, elementwise: HashSet::new() }
}
