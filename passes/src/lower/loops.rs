//! Nests of plain loops: every element of an iteration space is computed and stored.

use super::LowerError;
use super::axes::{Axis, merge};
use super::boxes::{Part, boxes};
use super::nest::{bind_row, empty_nest, extents_index, is_empty, iteration, linear, product};
use super::pull::{IndexVec, NodeId, Puller};
use super::tiles;
use crate::grain::Grain;
use crate::join::joins_many;
use ir::kernel::{LoopKind, Memory};
use ir::{Dim, Graph, Op, Region, Shape, Value};
use std::collections::HashSet;

/// The elements of a nest, and where they go.
pub(super) struct Target<'a> {
    /// The first element.
    pub from: IndexVec,
    /// Extents of what is stored into,
    pub shape: &'a Shape,
    /// and where the first element goes.
    pub start: IndexVec,
}

/// The boxes that a space is cut into where conditions of its elements change.
pub(super) fn cut(
    mut p: Puller<'_>,
    shape: &Shape,
    values: impl Iterator<Item = Value>,
) -> Result<Vec<Part>, LowerError> {
    if is_empty(shape) {
        return Ok(vec![Part::whole(shape)]);
    }
    let (index, axes) = iteration(&mut p, shape, &[]);
    for v in values {
        p.demand(v, index.clone())?;
    }
    let mut axes = axes.into_iter();
    let long = (0..shape.rank()).filter(|&i| !shape[i].is(1));
    let axes: Vec<_> = long.filter_map(|i| Some((i, axes.next()?))).collect();
    Ok(boxes(shape, &axes, &p.conditions(), p.size(), &p.ranges))
}

/// The op of a group that is nothing but a concatenation of many operands, and the axis: each operand is copied by a
/// nest of its own, where a single nest would choose among all of them for every element.
pub(super) fn long_join(graph: &Graph, region: Region) -> Option<(Op, usize)> {
    let data = graph.region(region);
    match (data.ops.as_slice(), data.yields.as_slice()) {
        (&[op], &[v]) if joins_many(graph, op) && graph.op(op).results[0] == v => {
            graph.op(op).primitive.joined_axis().map(|axis| (op, axis))
        }
        _ => None,
    }
}

/// Adds the pairs of a parameter and an output that may be the same memory to `elementwise`.
pub(super) fn loop_nest(
    mut p: Puller<'_>,
    grain: Grain,
    shape: &Shape,
    target: Target<'_>,
    stores: &[(usize, Value, Memory)],
    params: &[Value],
    elementwise: &mut HashSet<(usize, usize)>,
) -> Result<(), LowerError> {
    if is_empty(shape) {
        empty_nest(&mut p);
        return Ok(());
    }
    let (index, axes) = iteration(&mut p, shape, &[]);
    let moved = |by: &IndexVec| index.iter().zip(by).map(|(i, by)| i + by).collect::<IndexVec>();
    let (read, place) = (moved(&target.from), moved(&target.start));
    let roots: Vec<NodeId> = stores.iter().map(|&(_, v, _)| p.demand(v, read.clone())).collect::<Result<_, _>>()?;
    let target = linear(&place, target.shape);
    for (number, &param) in params.iter().enumerate() {
        if p.loads_only_at(param, &target) {
            elementwise.extend(stores.iter().map(|&(output, ..)| (number, output)));
        }
    }
    let mut polynomials = p.polynomials();
    polynomials.push(target.clone());
    let mut gone = Vec::new();
    let axes = merge(axes, &polynomials, |s| gone.push(s.clone()));
    for s in gone {
        p.replace(&s, Dim::from(0));
    }

    let order = p.order(&roots);
    let cost = order.len() as i64;
    if let Some(warp) = grain.warp {
        let crossing = tiles::crossing(&p, &order, &axes, warp);
        if let Some((other, loads)) = crossing {
            return tiles::tile_nest(p, warp, (&order, &roots), &axes, other, &loads, (&target, stores));
        }
        let short = |a: &Axis| a.extent.known().is_some_and(|n| n < warp.row);
        if axes.len() > 1 && axes.last().is_some_and(short) {
            return flat_nest(p, grain, (&order, &roots), &axes, (&target, stores));
        }
    }
    let (outer, inner) = match axes.split_last() {
        Some((inner, outer)) => (outer.to_vec(), inner.extent.clone()),
        None => (Vec::new(), Dim::from(1)),
    };
    let inner_variable = axes.last().map(|a| a.variable.clone());
    let rows = product(&outer);
    let elements = grain.elements;
    // How a task covers the space: a block of one row, or several whole rows.
    let block = match inner.known() {
        Some(n) if n <= 2 * elements => n.max(1),
        _ => elements,
    };
    let rows_per_task =
        if inner.known().is_some_and(|n| n <= block) && !outer.is_empty() { (elements / block).max(1) } else { 1 };
    let blocks = inner.ceil_div(&Dim::from(block));
    let grid_dim = if rows_per_task > 1 { rows.ceil_div(&Dim::from(rows_per_task)) } else { &rows * &blocks };
    let grid = extents_index(&mut p, &grid_dim)?;
    let work = p.k.index(cost * block * rows_per_task);
    let task = p.k.begin_nest(grid, work);

    let row_level = u32::from(rows_per_task > 1);
    let lane_level = row_level + 1;
    for a in &outer {
        p.set_level(&a.variable, row_level);
    }
    if let Some(v) = &inner_variable {
        p.set_level(v, lane_level);
    }
    p.compute_levels(&order);
    let inner_index = extents_index(&mut p, &inner)?;
    let (start, length) = if rows_per_task > 1 {
        p.emit_level(&order, 0)?;
        let per_task = p.k.index(rows_per_task);
        let first = p.k.indices.mul(task, per_task);
        let rows = extents_index(&mut p, &rows)?;
        let left = p.k.indices.sub(rows, first);
        let count = p.k.indices.min(left, per_task);
        let r = p.k.begin_loop(count, LoopKind::Serial);
        p.set_depth(1);
        let row = p.k.indices.add(first, r);
        bind_row(&mut p, &outer, row)?;
        p.emit_level(&order, 1)?;
        (p.k.index(0), inner_index)
    } else {
        let block_index = p.k.index(block);
        let (row, start) = if blocks.is(1) {
            (task, p.k.index(0))
        } else {
            let blocks = extents_index(&mut p, &blocks)?;
            let (row, b) = match outer.is_empty() {
                true => (task, task),
                false => (p.k.indices.floor_div(task, blocks), p.k.indices.modulo(task, blocks)),
            };
            (row, p.k.indices.mul(b, block_index))
        };
        bind_row(&mut p, &outer, row)?;
        p.emit_level(&order, 0)?;
        let left = p.k.indices.sub(inner_index, start);
        let whole = grain.warp.is_some() && inner.known().is_some_and(|n| n % block == 0);
        (start, if whole { block_index } else { p.k.indices.min(left, block_index) })
    };
    let lane = p.k.begin_loop(length, LoopKind::Lanes);
    p.set_depth(lane_level);
    let at = p.k.indices.add(start, lane);
    if let Some(v) = &inner_variable {
        p.bind(v, at);
    }
    p.emit_level(&order, lane_level)?;
    let position = p.index(&target)?;
    for (&(_, _, memory), &root) in stores.iter().zip(&roots) {
        let value = p.var(root);
        p.k.store(memory, position, value);
    }
    p.k.end_loop();
    if rows_per_task > 1 {
        p.k.end_loop();
    }
    p.k.end_nest();
    Ok(())
}

/// The elements of short rows one after the other: neighbouring lanes have neighbouring elements, also across rows.
fn flat_nest(
    mut p: Puller<'_>,
    grain: Grain,
    (order, roots): (&[NodeId], &[NodeId]),
    axes: &[Axis],
    (target, stores): (&Dim, &[(usize, Value, Memory)]),
) -> Result<(), LowerError> {
    let total = product(axes);
    let blocks = total.ceil_div(&Dim::from(grain.elements));
    let (grid, total) = (extents_index(&mut p, &blocks)?, extents_index(&mut p, &total)?);
    let work = p.k.index(order.len() as i64 * grain.elements);
    let task = p.k.begin_nest(grid, work);
    axes.iter().for_each(|a| p.set_level(&a.variable, 1));
    p.compute_levels(order);
    p.emit_level(order, 0)?;
    let block = p.k.index(grain.elements);
    let start = p.k.indices.mul(task, block);
    let left = p.k.indices.sub(total, start);
    let length = p.k.indices.min(left, block);
    let lane = p.k.begin_loop(length, LoopKind::Lanes);
    p.set_depth(1);
    let at = p.k.indices.add(start, lane);
    bind_row(&mut p, axes, at)?;
    // Whatever is read where it is stored moves by one with the lanes.
    let dense = axes.iter().fold(Dim::from(0), |i, a| i * &a.extent + Dim::symbol(a.variable.name()));
    p.alias(&dense, at);
    p.emit_level(order, 1)?;
    let position = p.index(target)?;
    for (&(_, _, memory), &root) in stores.iter().zip(roots) {
        let value = p.var(root);
        p.k.store(memory, position, value);
    }
    p.k.end_loop();
    p.k.end_nest();
    Ok(())
}
