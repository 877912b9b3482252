//! Scans for warps: each thread runs along a line of its own, over pieces of the lines in memory of the task, which the
//! warp fills and empties with neighbouring elements.

use super::cumulative::Scan;
use super::scatter::Extents;
use crate::grain::WarpGrain;
use ir::kernel::{Index, KernelBuilder, LANES, LoopKind, Memory};
use ir::{Dim, Symbol};
use smallvec::SmallVec;

/// Steps along the lines that a piece has, with little room.
const SHORT: i64 = 16;

/// Yields the symbols of its extents.
pub(super) fn emit(scan: &Scan, warp: WarpGrain, k: &mut KernelBuilder, memory: &[Memory], out: Memory) -> Vec<Symbol> {
    let Scan { dtype, ref outer, ref extent, ref inner, reverse, start, .. } = *scan;
    let mut symbols = Vec::new();
    // Whether a line is what lies one after the other in memory, or every so many elements.
    let dense = inner.is(1);
    let lines = if dense { outer } else { inner };
    let lanes = LANES as i64;
    let pitch = lanes + 1;
    let sizes = scan.operands.iter().chain([&dtype]).map(|dtype| dtype.size() as i64);
    let side = if sizes.sum::<i64>() * lanes * pitch <= warp.kept { lanes } else { SHORT };
    let mut e = Extents { k: &mut *k, symbols: &mut symbols };
    let blocks = lines.ceil_div(&Dim::from(lanes));
    let [li, ni, qi, blocks] = [lines, extent, inner, &blocks].map(|d| e.index(d));
    let groups = if dense { e.k.index(1) } else { e.index(outer) };
    let grid = k.indices.mul(groups, blocks);
    let each = k.index((scan.cost() + 8) * lanes);
    let work = k.indices.mul(ni, each);
    let [all, piece, length] = [lanes, side, side * pitch].map(|n| k.index(n));
    let running = k.scratch(dtype, all);
    let tiles: SmallVec<[Memory; 2]> = scan.operands.iter().map(|&dtype| k.scratch(dtype, length)).collect();
    let result = k.scratch(dtype, length);

    let task = k.begin_nest(grid, work);
    let block = k.indices.modulo(task, blocks);
    let group = k.indices.floor_div(task, blocks);
    let first = k.indices.mul(block, all);
    let left = k.indices.sub(li, first);
    let whole = lines.known().is_some_and(|n| n % lanes == 0);
    let count = if whole { all } else { k.indices.min(left, all) };
    let line = k.begin_loop(count, LoopKind::Lanes);
    let value = k.constant(start);
    k.store(running, line, value);
    k.end_loop();

    let pieces = k.indices.ceil_div(ni, piece);
    let p = k.begin_loop(pieces, LoopKind::Serial);
    let from = k.indices.mul(p, piece);
    let left = k.indices.sub(ni, from);
    let steps = k.indices.min(left, piece);
    // The element of a line at a step of this piece, in memory and in a tile.
    let place = |k: &mut KernelBuilder, line: Index, step: Index| {
        let mut at = k.indices.add(from, step);
        if reverse {
            let one = k.index(1);
            let last = k.indices.sub(ni, one);
            at = k.indices.sub(last, at);
        }
        let line = k.indices.add(first, line);
        match dense {
            true => {
                let row = k.indices.mul(line, ni);
                k.indices.add(row, at)
            }
            false => {
                let row = k.indices.mul(group, ni);
                let row = k.indices.add(row, at);
                let row = k.indices.mul(row, qi);
                k.indices.add(row, line)
            }
        }
    };
    let inside = |k: &mut KernelBuilder, line: Index, step: Index| {
        let pitch = k.index(pitch);
        let row = k.indices.mul(step, pitch);
        k.indices.add(row, line)
    };
    // Loops whose lanes are neighbours in memory; yields the line and the step.
    let walk = |k: &mut KernelBuilder| match dense {
        true => {
            let step = k.begin_loop(steps, LoopKind::Lanes);
            (k.begin_loop(count, LoopKind::Serial), step)
        }
        false => {
            let line = k.begin_loop(count, LoopKind::Lanes);
            (line, k.begin_loop(steps, LoopKind::Serial))
        }
    };
    let (line, step) = walk(k);
    let (global, local) = (place(k, line, step), inside(k, line, step));
    for (&source, &tile) in memory.iter().zip(&tiles) {
        let value = k.load(source, global);
        k.store(tile, local, value);
    }
    k.end_loop();
    k.end_loop();

    let line = k.begin_loop(count, LoopKind::Lanes);
    let step = k.begin_loop(steps, LoopKind::Serial);
    let local = inside(k, line, step);
    let value = scan.step(k, (running, line), &tiles, local);
    k.store(result, local, value);
    k.store(running, line, value);
    k.end_loop();
    k.end_loop();

    let (line, step) = walk(k);
    let (global, local) = (place(k, line, step), inside(k, line, step));
    let value = k.load(result, local);
    k.store(out, global, value);
    k.end_loop();
    k.end_loop();
    k.end_loop();
    k.end_nest();
    symbols
}
