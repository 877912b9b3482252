//! Loops whose loads run across their stores: a square of elements goes through memory of the task, so that both move
//! neighbouring elements.

use super::LowerError;
use super::axes::{Axis, coefficient};
use super::nest::{bind_row, extents_index, product};
use super::pull::{NodeId, Puller};
use crate::grain::WarpGrain;
use ir::kernel::{Index, LoopKind, Memory};
use ir::{Dim, Value};

/// Shortest axis that is worth a square.
const SHORTEST: i64 = 8;

/// The axis along which loads of these nodes move by one element while the innermost axis moves them by more, and those
/// loads, as many as a task has room for.
pub(super) fn crossing(
    p: &Puller<'_>,
    order: &[NodeId],
    axes: &[Axis],
    warp: WarpGrain,
) -> Option<(usize, Vec<NodeId>)> {
    let (inner, outer) = axes.split_last()?;
    let long = |a: &Axis| a.extent.known().is_none_or(|n| n >= SHORTEST);
    if !long(inner) {
        return None;
    }
    let along = |d: &Dim, a: &Axis| coefficient(&p.substituted(d), &a.variable);
    let crosses = |d: &Dim, a: &Axis| {
        along(d, a).is_some_and(|c| c.is(1)) && along(d, inner).is_some_and(|c| !c.is(0) && !c.is(1))
    };
    let plain: Vec<(NodeId, &Dim)> = order.iter().filter_map(|&id| Some((id, p.plain_load(id)?))).collect();
    let other =
        (0..outer.len()).rev().find(|&i| long(&outer[i]) && plain.iter().any(|(_, d)| crosses(d, &outer[i])))?;
    let mut room = warp.kept;
    let mut loads = Vec::new();
    for (id, _) in plain.into_iter().filter(|(_, d)| crosses(d, &outer[other])) {
        let bytes = warp.tile * (warp.tile + 1) * p.dtype(id).size() as i64;
        if bytes <= room {
            room -= bytes;
            loads.push(id);
        }
    }
    (!loads.is_empty()).then_some((other, loads))
}

/// The nest for [`crossing`] loads: a task for each square of the axis `other` and the innermost one.
pub(super) fn tile_nest(
    mut p: Puller<'_>,
    warp: WarpGrain,
    (order, roots): (&[NodeId], &[NodeId]),
    axes: &[Axis],
    other: usize,
    loads: &[NodeId],
    (target, stores): (&Dim, &[(usize, Value, Memory)]),
) -> Result<(), LowerError> {
    let (inner, rest) = axes.split_last().expect("crossing found an innermost axis");
    let across = &rest[other];
    let rest: Vec<Axis> = rest.iter().enumerate().filter(|(i, _)| *i != other).map(|(_, a)| a.clone()).collect();
    let side = Dim::from(warp.tile);
    let blocks = [across, inner].map(|a| a.extent.ceil_div(&side));
    let grid = extents_index(&mut p, &(product(&rest) * &blocks[0] * &blocks[1]))?;
    let work = p.k.index(order.len() as i64 * warp.tile * warp.tile);
    let task = p.k.begin_nest(grid, work);
    let mut number = task;
    let mut starts = [task; 2];
    let tile = p.k.index(warp.tile);
    for i in [1, 0] {
        let count = extents_index(&mut p, &blocks[i])?;
        let digit = p.k.indices.modulo(number, count);
        number = p.k.indices.floor_div(number, count);
        starts[i] = p.k.indices.mul(digit, tile);
    }
    bind_row(&mut p, &rest, number)?;
    // What is left of each axis from there.
    let mut lengths = [task; 2];
    for (i, a) in [across, inner].into_iter().enumerate() {
        let extent = extents_index(&mut p, &a.extent)?;
        let left = p.k.indices.sub(extent, starts[i]);
        let whole = a.extent.known().is_some_and(|n| n % warp.tile == 0);
        lengths[i] = if whole { tile } else { p.k.indices.min(left, tile) };
    }

    // Along `across` first, as the loads want it. Rows are one element longer, against conflicts of banks.
    let pitch = p.k.index(warp.tile + 1);
    let square = |p: &mut Puller<'_>, inner: Index, across: Index| {
        let row = p.k.indices.mul(inner, pitch);
        p.k.indices.add(row, across)
    };
    p.set_level(&across.variable, 1);
    p.set_level(&inner.variable, 2);
    let a = p.k.begin_loop(lengths[0], LoopKind::Lanes);
    let at = p.k.indices.add(starts[0], a);
    p.bind(&across.variable, at);
    let b = p.k.begin_loop(lengths[1], LoopKind::Serial);
    let at = p.k.indices.add(starts[1], b);
    p.bind(&inner.variable, at);
    let place = square(&mut p, b, a);
    let len = p.k.index(warp.tile * (warp.tile + 1));
    let mut squares = Vec::new();
    for &id in loads {
        let memory = p.k.scratch(p.dtype(id), len);
        let from = p.plain_load(id).expect("crossing found loads").clone();
        let from = p.index(&from)?;
        let source = p.memory(id).expect("crossing found loads");
        let value = p.k.load(source, from);
        p.k.store(memory, place, value);
        squares.push(memory);
    }
    p.k.end_loop();
    p.k.end_loop();
    p.close_level(1);

    // Along the innermost axis, as the stores want it.
    p.set_level(&inner.variable, 1);
    p.set_level(&across.variable, 2);
    p.set_depth(0);
    for (&id, &memory) in loads.iter().zip(&squares) {
        let name = |a: &Axis| Dim::symbol(a.variable.name());
        p.load_from(id, memory, name(inner) * Dim::from(warp.tile + 1) + name(across));
    }
    p.compute_levels(order);
    p.emit_level(order, 0)?;
    let b = p.k.begin_loop(lengths[1], LoopKind::Lanes);
    p.set_depth(1);
    let at = p.k.indices.add(starts[1], b);
    p.bind(&inner.variable, at);
    p.emit_level(order, 1)?;
    let a = p.k.begin_loop(lengths[0], LoopKind::Serial);
    p.set_depth(2);
    let at = p.k.indices.add(starts[0], a);
    p.bind(&across.variable, at);
    let place = square(&mut p, b, a);
    let name = |a: &Axis| Dim::symbol(a.variable.name());
    p.alias(&(name(inner) * Dim::from(warp.tile + 1) + name(across)), place);
    p.emit_level(order, 2)?;
    let position = p.index(target)?;
    for (&(_, _, memory), &root) in stores.iter().zip(roots) {
        let value = p.var(root);
        p.k.store(memory, position, value);
    }
    p.k.end_loop();
    p.k.end_loop();
    p.k.end_nest();
    Ok(())
}
