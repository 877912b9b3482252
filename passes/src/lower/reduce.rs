//! Groups around reductions: a nest whose tasks go over a row in several passes, or over a block of columns.

use super::LowerError;
use super::axes::{Axis, merge};
use super::nest::{bind_row, empty_nest, extents_index, is_empty, iteration, linear, product};
use super::passes::{needed, pass_numbers, position_axis, worth_keeping};
use super::pull::{IndexVec, NodeId, Puller};
use crate::grain::Grain;
use ir::kernel::{BinaryOp, LANES, LoopKind, Memory, Var};
use ir::{Dim, Lowering, Op, Region, Shape, Value};
use smallvec::{SmallVec, smallvec};
use std::collections::{HashMap, HashSet};

/// Longest row kept in scratch memory between passes, in elements, where the length is known.
const SCRATCH_ROW: i64 = 32768;

/// Where a result of a reduce group lives.
enum Place {
    /// Over the whole iteration space.
    Full(IndexVec),
    /// Over the kept axes (reduced ones missing or of extent 1).
    Kept(IndexVec),
}

/// The pass of what runs after all loops of a task.
const AFTER: u32 = u32::MAX;

/// Yields the (parameter, yield) pairs that may share memory.
pub(super) fn reduce_nest(
    mut p: Puller<'_>,
    grain: Grain,
    reduces: &[Op],
    region: Region,
    outputs: &[Memory],
) -> Result<HashSet<(usize, usize)>, LowerError> {
    let graph = p.graph;
    let space = graph.ty(graph.op(reduces[0]).operands[0]).shape.clone();
    let reduced: SmallVec<[usize; 4]> = graph.op(reduces[0]).primitive.reduced_axes().into();
    let kept_shape = space.without(&reduced);
    if is_empty(&kept_shape) {
        empty_nest(&mut p);
        return Ok(HashSet::new());
    }
    let (full, axes) = iteration(&mut p, &space, &reduced);
    let kept: IndexVec = (0..space.rank()).filter(|i| !reduced.contains(i)).map(|i| full[i].clone()).collect();
    let kept_ones: IndexVec =
        (0..space.rank()).map(|i| if reduced.contains(&i) { Dim::from(0) } else { full[i].clone() }).collect();
    let ones: Shape =
        (0..space.rank()).map(|i| if reduced.contains(&i) { Dim::from(1) } else { space[i].clone() }).collect();

    let passes = pass_numbers(graph, region, reduces);
    let last = reduces.iter().map(|op| passes[&graph.op(*op).results[0]]).max().unwrap_or(0);
    let yields: Vec<(Value, Memory, Place)> = graph
        .region(region)
        .yields
        .iter()
        .zip(outputs)
        .map(|(&v, &memory)| {
            let shape = &graph.ty(v).shape;
            let place = if *shape == space {
                Place::Full(full.clone())
            } else if *shape == kept_shape {
                Place::Kept(kept.clone())
            } else if *shape == ones {
                Place::Kept(kept_ones.clone())
            } else {
                return Err(LowerError::Bug(format!("a result of shape {shape} in a group over {space}")));
            };
            Ok((v, memory, place))
        })
        .collect::<Result<_, _>>()?;

    // A first expansion of everything tells which axes merge.
    let mut polynomials = vec![linear(&full, &space), linear(&kept, &kept_shape)];
    for &op in reduces {
        p.demand(graph.op(op).operands[0], full.clone())?;
        if position_axis(graph, op).is_some() {
            polynomials.extend(reduced.iter().map(|&a| full[a].clone()));
        }
    }
    for (v, _, place) in &yields {
        let (Place::Full(index) | Place::Kept(index)) = place;
        p.demand(*v, index.clone())?;
    }
    let params = &graph.region(region).params;
    let mut elementwise = HashSet::new();
    for (i, (_, _, place)) in yields.iter().enumerate() {
        let target = match place {
            Place::Full(index) => linear(index, &space),
            Place::Kept(_) => linear(&kept, &kept_shape),
        };
        elementwise.extend((0..params.len()).filter(|&n| p.loads_only_at(params[n], &target)).map(|n| (n, i)));
    }
    polynomials.extend(p.polynomials());
    let mut gone = Vec::new();
    let axes = merge(axes, &polynomials, |s| gone.push(s.clone()));
    for s in &gone {
        p.replace(s, Dim::from(0));
    }
    p.use_cache();

    let rows: Vec<Axis> = axes.iter().filter(|a| !a.reduced).cloned().collect();
    let serial: Vec<Axis> = axes.iter().filter(|a| a.reduced).cloned().collect();
    let row_length = product(&serial);
    // A warp has better to do than a short row: each of its threads takes one.
    let narrow = grain.warp.is_some_and(|w| row_length.known().is_some_and(|n| n <= w.narrow))
        && rows.last().is_some_and(|a| a.extent.known().is_none_or(|n| n >= grain.columns));
    let column_style = narrow || axes.last().is_some_and(|a| !a.reduced);

    let lanes_axis = column_style.then(|| rows.last().expect("a kept axis is innermost").clone());
    let outer: Vec<Axis> = if column_style { rows[..rows.len() - 1].to_vec() } else { rows.clone() };
    let columns = Dim::from(grain.columns);
    let grid_dim = match &lanes_axis {
        Some(a) => product(&outer) * a.extent.ceil_div(&columns),
        None => product(&outer),
    };
    let grid = extents_index(&mut p, &grid_dim)?;
    let cost = graph.region(region).ops.len() as i64 * (1 + i64::from(last));
    let work_dim = &row_length * if column_style { grain.columns } else { 1 } * cost;
    let work = extents_index(&mut p, &work_dim)?;
    let task = p.k.begin_nest(grid, work);

    // Elements that an iteration of the innermost loop takes one by one.
    let wide = match (grain.warp, serial.last()) {
        (Some(warp), Some(axis)) if !column_style => {
            let size = params.iter().map(|&v| graph.ty(v).dtype).chain(yields.iter().map(|y| graph.ty(y.0).dtype));
            wide(axis.extent.known(), warp.access / size.map(|d| d.size() as i64).max().unwrap_or(warp.access))
        }
        _ => 1,
    };
    // Loop depths: the task, the lanes over columns if there are any, then the reduced axes.
    let prefix = u32::from(column_style);
    if let Some(a) = &lanes_axis {
        p.set_level(&a.variable, 1);
    }
    for (i, a) in serial.iter().enumerate() {
        p.set_level(&a.variable, prefix + 1 + i as u32 + u32::from(wide > 1 && i + 1 == serial.len()));
    }
    match &lanes_axis {
        None => bind_row(&mut p, &outer, task)?,
        Some(a) => {
            let block = p.k.index(grain.columns);
            let blocks = extents_index(&mut p, &a.extent.ceil_div(&columns))?;
            let (row, b) = match outer.is_empty() {
                true => (task, task),
                false => (p.k.indices.floor_div(task, blocks), p.k.indices.modulo(task, blocks)),
            };
            bind_row(&mut p, &outer, row)?;
            let start = p.k.indices.mul(b, block);
            let extent = extents_index(&mut p, &a.extent)?;
            let left = p.k.indices.sub(extent, start);
            let whole = grain.warp.is_some() && a.extent.known().is_some_and(|n| n % grain.columns == 0);
            let length = if whole { block } else { p.k.indices.min(left, block) };
            let lane = p.k.begin_loop(length, LoopKind::Lanes);
            p.set_depth(1);
            let at = p.k.indices.add(start, lane);
            p.bind(&a.variable, at);
        }
    }

    // The index within a row, for scratch memory.
    let row_index = serial.iter().fold(Dim::from(0), |i, a| i * &a.extent + Dim::symbol(a.variable.name()));
    let keep_rows = !column_style
        && match grain.warp {
            None => row_length.known().is_none_or(|n| n <= SCRATCH_ROW),
            Some(_) => row_length.known().is_some(),
        };
    let mut room = grain.warp.map(|w| w.kept);
    p.canonical = full.clone();
    // The pass that stores each yield, and the last that reads each parameter.
    let mut stored: HashMap<usize, u32> = HashMap::new();
    let mut read: HashMap<Value, u32> = HashMap::new();
    for pass in 0..=last + 1 {
        let now: Vec<Op> = reduces.iter().copied().filter(|op| passes[&graph.op(*op).results[0]] == pass).collect();
        let full_now: Vec<usize> = (0..yields.len())
            .filter(|&i| {
                matches!(yields[i].2, Place::Full(_))
                    && !stored.contains_key(&i)
                    && needed(graph, &passes, yields[i].0) <= pass
            })
            .collect();
        if now.is_empty() && full_now.is_empty() {
            continue;
        }
        stored.extend(full_now.iter().map(|&i| (i, pass)));
        let save = match keep_rows && pass <= last {
            true => worth_keeping(graph, region, &passes, pass, grain.warp.is_some()),
            false => Vec::new(),
        };
        let mut roots = Vec::new();
        for &op in &now {
            roots.push(p.demand(graph.op(op).operands[0], full.clone())?);
        }
        for &i in &full_now {
            roots.push(p.demand(yields[i].0, full.clone())?);
        }
        let operand_nodes: Vec<NodeId> = roots.clone();
        let order = p.order(&roots);
        read.extend(p.params_of(&order).map(|v| (v, pass)));
        p.compute_levels(&order);
        for level in 0..=prefix {
            p.emit_level(&order, level)?;
        }
        let mut innermost = p.k.next_var();
        for (i, a) in serial.iter().enumerate() {
            let inner = i + 1 == serial.len();
            let mut depth = prefix + 1 + i as u32;
            let parts = if inner { wide } else { 1 };
            let extent = extents_index(&mut p, &a.extent.floor_div(&Dim::from(parts)))?;
            let kind = if inner && !column_style { LoopKind::Lanes } else { LoopKind::Serial };
            let mut r = p.k.begin_loop(extent, kind);
            if parts > 1 {
                p.set_depth(depth);
                p.emit_level(&order, depth)?;
                depth += 1;
                let count = p.k.index(parts);
                let part = p.k.begin_loop(count, LoopKind::Serial);
                r = p.k.indices.mul(r, count);
                r = p.k.indices.add(r, part);
            }
            innermost = p.k.next_var();
            p.set_depth(depth);
            p.bind(&a.variable, r);
            p.emit_level(&order, depth)?;
        }
        let position = p.index(&linear(&full, &space))?;
        for (j, &i) in full_now.iter().enumerate() {
            let value = p.var(operand_nodes[now.len() + j]);
            p.k.store(yields[i].1, position, value);
        }
        let mut filled = Vec::new();
        for (v, costly) in save {
            let bytes = row_length.known().unwrap_or(0) * graph.ty(v).dtype.size() as i64;
            if let Some(node) = p.find(v, &full)
                && order.contains(&node)
                && !p.cached.contains_key(&v)
                && room.is_none_or(|room| bytes <= room && (costly || p.is_loaded(node)))
            {
                room = room.map(|room| room - bytes);
                let len = extents_index(&mut p, &row_length)?;
                let memory = p.k.scratch(graph.ty(v).dtype, len);
                let at = p.index(&row_index)?;
                let var = p.var(node);
                p.k.store(memory, at, var);
                filled.push((v, memory));
            }
        }
        let mut inputs: Vec<SmallVec<[Var; 2]>> = Vec::new();
        for (j, &op) in now.iter().enumerate() {
            let mut value = p.var(operand_nodes[j]);
            if !serial.is_empty() && value < innermost {
                // The same value at every step, so defined outside; what is accumulated must be defined in the loop.
                value = p.k.binary(BinaryOp::Max, value, value);
            }
            let mut input: SmallVec<[Var; 2]> = smallvec![value];
            if let Some(axis) = position_axis(graph, op) {
                let at = p.index(&full[axis])?;
                input.push(p.k.index_value(at));
            }
            inputs.push(input);
        }
        let loops = serial.len() + usize::from(wide > 1);
        for i in (0..loops).rev() {
            for (input, &op) in inputs.iter_mut().zip(&now) {
                let Lowering::Reduce(combine) = graph.op(op).primitive.lowering() else { continue };
                *input = p.k.accumulate(combine, input);
            }
            p.k.end_loop();
            p.close_level(prefix + 1 + i as u32);
        }
        for (input, &op) in inputs.iter().zip(&now) {
            let var = *input.last().expect("a reduction has a result");
            p.reduced.insert(graph.op(op).results[0], (kept.clone(), var));
        }
        for (v, memory) in filled {
            p.cached.insert(v, (memory, row_index.clone()));
        }
        p.use_cache();
    }

    let mut roots = Vec::new();
    let finals: Vec<usize> = (0..yields.len()).filter(|&i| matches!(yields[i].2, Place::Kept(_))).collect();
    for &i in &finals {
        let Place::Kept(index) = &yields[i].2 else { continue };
        roots.push(p.demand(yields[i].0, index.clone())?);
    }
    let order = p.order(&roots);
    read.extend(p.params_of(&order).map(|v| (v, AFTER)));
    stored.extend(finals.iter().map(|&i| (i, AFTER)));
    p.compute_levels(&order);
    for level in 0..=prefix {
        p.emit_level(&order, level)?;
    }
    for (&i, &root) in finals.iter().zip(&roots) {
        let at = p.index(&linear(&kept, &kept_shape))?;
        let value = p.var(root);
        p.k.store(yields[i].1, at, value);
    }
    if column_style {
        p.k.end_loop();
    }
    p.k.end_nest();
    // A pass after the one that stores must not read what was there before.
    elementwise.retain(|(n, i)| read.get(&params[*n]).is_none_or(|last| stored.get(i).is_some_and(|s| last <= s)));
    Ok(elementwise)
}

/// Into how many neighbouring elements the iterations of a loop of that extent group, `most` at most, so that a warp has
/// an iteration for each of its threads.
fn wide(extent: Option<i64>, most: i64) -> i64 {
    let Some(n) = extent else { return 1 };
    let fits = |w: i64| n % w == 0 && n / w >= LANES as i64;
    (1..=most.max(1)).rev().filter(|w| w & (w - 1) == 0).find(|&w| fits(w)).unwrap_or(1)
}
