//! Fused groups to kernels: one nest for each iteration space among the results of a loop group, one with several
//! passes for a group around reductions, one for each operand of a long concatenation.

use super::LowerError;
use super::axes::{Axis, merge};
use super::boxes::Part;
use super::loops::{Target, cut, long_join, loop_nest};
use super::pull::{IndexVec, NodeId, Puller, SiteInfo, extent_argument, input_params};
use ir::graph::Definition;
use ir::kernel::{Access, BinaryOp, Index, Kernel, KernelBuilder, LoopKind, Memory, Var};
use ir::{Dim, Graph, Lowering, Op, Region, Scalar, Shape, Symbol, Value};
use smallvec::{SmallVec, smallvec};
use std::collections::{HashMap, HashSet};

/// Columns that one task of a column reduction covers.
const TASK_COLUMNS: i64 = 64;
/// Longest row kept in scratch memory between passes, in elements, where the length is known.
const SCRATCH_ROW: i64 = 32768;

/// A kernel with what its arguments stand for.
pub(super) struct GroupKernel {
    pub kernel: Kernel,
    /// Symbols whose values are the extent arguments.
    pub extents: Vec<Symbol>,
    pub sites: Vec<SiteInfo>,
    /// For each (parameter, yield) of the region: true if the kernel reads the parameter only at the element that it
    /// writes of the yield, so that both may be the same memory.
    pub elementwise: HashSet<(usize, usize)>,
}

/// Lowers the region of a fused op.
pub(super) fn lower_group(graph: &Graph, region: Region, name: &str) -> Result<GroupKernel, LowerError> {
    let data = graph.region(region);
    let mut k = KernelBuilder::new(name);
    let buffers = input_params(graph, &mut k, &data.params);
    let outputs: Vec<Memory> = data.yields.iter().map(|&v| k.param(graph.ty(v).dtype, Access::Out)).collect();
    let (mut extents, mut sites) = (Vec::new(), Vec::new());
    let mut elementwise: HashSet<(usize, usize)> = HashSet::new();
    let reduces: Vec<Op> = data
        .ops
        .iter()
        .copied()
        .filter(|&op| matches!(graph.op(op).primitive.lowering(), Lowering::Reduce(_)))
        .collect();
    if let Some((op, axis)) = long_join(graph, region) {
        let whole = &graph.ty(graph.op(op).results[0]).shape;
        let mut start = Dim::from(0);
        for &part in &graph.op(op).operands {
            let from = Part::whole(whole).start;
            let mut to = from.clone();
            to[axis] = start.clone();
            let target = Target { from, shape: whole, start: to };
            start = start + &graph.ty(part).shape[axis];
            let puller = Puller::new(graph, &mut k, &buffers, &mut extents, &mut sites);
            // Nothing is in place: what one nest writes may be what another still reads.
            loop_nest(puller, &graph.ty(part).shape, target, &[(0, part, outputs[0])], &[], &mut HashSet::new())?;
        }
    } else if reduces.is_empty() {
        let mut shapes: Vec<&Shape> = Vec::new();
        for &v in &data.yields {
            if !shapes.contains(&&graph.ty(v).shape) {
                shapes.push(&graph.ty(v).shape);
            }
        }
        let several = shapes.len() > 1;
        let views = data.ops.iter().any(|&op| graph.op(op).primitive.lowering() == Lowering::View);
        for shape in shapes {
            let stores: Vec<(usize, Value, Memory)> = data
                .yields
                .iter()
                .enumerate()
                .filter(|(_, v)| graph.ty(**v).shape == *shape)
                .map(|(i, &v)| (i, v, outputs[i]))
                .collect();
            let parts = match views {
                true => {
                    let puller = Puller::new(graph, &mut k, &buffers, &mut extents, &mut sites);
                    cut(puller, shape, stores.iter().map(|s| s.1))?
                }
                // Only views ask for conditions.
                false => vec![Part::whole(shape)],
            };
            let one = parts.len() == 1;
            for Part { start, extents: part } in parts {
                let puller = Puller::new(graph, &mut k, &buffers, &mut extents, &mut sites);
                let target = Target { from: start.clone(), shape, start };
                // Of several boxes, one may read what another has written.
                let in_place = if one { &mut elementwise } else { &mut HashSet::new() };
                loop_nest(puller, &part, target, &stores, &data.params, in_place)?;
            }
        }
        if several {
            // Another nest may read a parameter at any time; in place is safe only where no other nest reads it.
            drop_shared(graph, region, &mut elementwise);
        }
    } else {
        let puller = Puller::new(graph, &mut k, &buffers, &mut extents, &mut sites);
        elementwise = reduce_nest(puller, &reduces, region, &outputs)?;
    }
    let kernel = k.finish().canonical();
    if kernel.indices.written().iter().any(Option::is_none) {
        return Err(LowerError::TooLarge("an index expression is too large to be written out".into()));
    }
    Ok(GroupKernel { kernel, extents, sites, elementwise })
}

/// Removes pairs whose parameter is needed for yields of more than one shape.
fn drop_shared(graph: &Graph, region: Region, elementwise: &mut HashSet<(usize, usize)>) {
    let data = graph.region(region);
    let mut readers: HashMap<Value, Vec<&Shape>> = HashMap::new();
    for &y in &data.yields {
        readers.entry(y).or_default().push(&graph.ty(y).shape);
    }
    for &op in data.ops.iter().rev() {
        let shapes: Vec<&Shape> =
            graph.op(op).results.iter().flat_map(|r| readers.get(r).cloned().unwrap_or_default()).collect();
        for &v in &graph.op(op).operands {
            let entry = readers.entry(v).or_default();
            for &s in &shapes {
                if !entry.contains(&s) {
                    entry.push(s);
                }
            }
        }
    }
    elementwise.retain(|&(p, _)| readers.get(&data.params[p]).is_some_and(|s| s.len() == 1));
}

/// The iteration variables of a shape: an index with 0 for axes of extent 1.
pub(super) fn iteration(p: &mut Puller<'_>, shape: &Shape, reduced: &[usize]) -> (IndexVec, Vec<Axis>) {
    let mut index = IndexVec::new();
    let mut axes = Vec::new();
    for (i, extent) in shape.iter().enumerate() {
        let is_reduced = reduced.contains(&i);
        if extent.is(1) && !is_reduced {
            index.push(Dim::from(0));
            continue;
        }
        let variable = Symbol::new(&format!("$i{i}"));
        p.declare(&variable, extent);
        index.push(Dim::symbol(variable.name()));
        axes.push(Axis { variable, extent: extent.clone(), reduced: is_reduced });
    }
    (index, axes)
}

/// True for shapes without elements, whatever the symbols are.
pub(super) fn is_empty(shape: &Shape) -> bool {
    shape.iter().any(|d| d.is(0))
}

/// A nest that stores nothing: index arithmetic over an empty space would divide by its extents.
pub(super) fn empty_nest(p: &mut Puller<'_>) {
    let none = p.k.index(0);
    p.k.begin_nest(none, none);
    p.k.end_nest();
}

pub(super) fn linear(index: &[Dim], shape: &Shape) -> Dim {
    index.iter().zip(shape.strides()).fold(Dim::from(0), |sum, (i, s)| sum + i * s)
}

pub(super) fn extents_index(p: &mut Puller<'_>, d: &Dim) -> Result<Index, LowerError> {
    for s in d.symbols() {
        extent_argument(p.k, p.extents, &s);
    }
    p.index(d)
}

pub(super) fn product(axes: &[Axis]) -> Dim {
    axes.iter().fold(Dim::from(1), |n, a| n * &a.extent)
}

/// Binds the variables of `axes` to the mixed-radix digits of `row`.
pub(super) fn bind_row(p: &mut Puller<'_>, axes: &[Axis], row: Index) -> Result<(), LowerError> {
    let mut rest = row;
    for (i, axis) in axes.iter().enumerate().rev() {
        if i == 0 {
            p.bind(&axis.variable, rest);
        } else {
            let extent = extents_index(p, &axis.extent)?;
            let digit = p.k.indices.modulo(rest, extent);
            p.bind(&axis.variable, digit);
            rest = p.k.indices.floor_div(rest, extent);
        }
    }
    Ok(())
}

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
fn reduce_nest(
    mut p: Puller<'_>,
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
    let column_style = axes.last().is_some_and(|a| !a.reduced);
    let row_length = product(&serial);

    let lanes_axis = column_style.then(|| rows.last().expect("a kept axis is innermost").clone());
    let outer: Vec<Axis> = if column_style { rows[..rows.len() - 1].to_vec() } else { rows.clone() };
    let columns = Dim::from(TASK_COLUMNS);
    let grid_dim = match &lanes_axis {
        Some(a) => product(&outer) * a.extent.ceil_div(&columns),
        None => product(&outer),
    };
    let grid = extents_index(&mut p, &grid_dim)?;
    let cost = graph.region(region).ops.len() as i64 * (1 + i64::from(last));
    let work_dim = &row_length * if column_style { TASK_COLUMNS } else { 1 } * cost;
    let work = extents_index(&mut p, &work_dim)?;
    let task = p.k.begin_nest(grid, work);

    // Loop depths: the task, the lanes over columns if there are any, then the reduced axes.
    let prefix = u32::from(column_style);
    if let Some(a) = &lanes_axis {
        p.set_level(&a.variable, 1);
    }
    for (i, a) in serial.iter().enumerate() {
        p.set_level(&a.variable, prefix + 1 + i as u32);
    }
    match &lanes_axis {
        None => bind_row(&mut p, &outer, task)?,
        Some(a) => {
            let block = p.k.index(TASK_COLUMNS);
            let blocks = extents_index(&mut p, &a.extent.ceil_div(&columns))?;
            let (row, b) = match outer.is_empty() {
                true => (task, task),
                false => (p.k.indices.floor_div(task, blocks), p.k.indices.modulo(task, blocks)),
            };
            bind_row(&mut p, &outer, row)?;
            let start = p.k.indices.mul(b, block);
            let extent = extents_index(&mut p, &a.extent)?;
            let left = p.k.indices.sub(extent, start);
            let length = p.k.indices.min(left, block);
            let lane = p.k.begin_loop(length, LoopKind::Lanes);
            p.set_depth(1);
            let at = p.k.indices.add(start, lane);
            p.bind(&a.variable, at);
        }
    }

    // The index within a row, for scratch memory.
    let row_index = serial.iter().fold(Dim::from(0), |i, a| i * &a.extent + Dim::symbol(a.variable.name()));
    let keep_rows = !column_style && row_length.known().is_none_or(|n| n <= SCRATCH_ROW);
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
        let save = if keep_rows && pass <= last { worth_keeping(graph, region, &passes, pass) } else { Vec::new() };
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
            let extent = extents_index(&mut p, &a.extent)?;
            let kind = if i + 1 == serial.len() && !column_style { LoopKind::Lanes } else { LoopKind::Serial };
            let r = p.k.begin_loop(extent, kind);
            innermost = p.k.next_var();
            p.set_depth(prefix + 1 + i as u32);
            p.bind(&a.variable, r);
            p.emit_level(&order, prefix + 1 + i as u32)?;
        }
        let position = p.index(&linear(&full, &space))?;
        for (j, &i) in full_now.iter().enumerate() {
            let value = p.var(operand_nodes[now.len() + j]);
            p.k.store(yields[i].1, position, value);
        }
        let mut filled = Vec::new();
        for v in save {
            if let Some(node) = p.find(v, &full)
                && order.contains(&node)
                && !p.cached.contains_key(&v)
            {
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
        for i in (0..serial.len()).rev() {
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

/// For arg reductions, the axis whose position is the result.
fn position_axis(graph: &Graph, op: Op) -> Option<usize> {
    use ir::kernel::Combine::{ArgMax, ArgMin};
    match graph.op(op).primitive.lowering() {
        Lowering::Reduce(ArgMax | ArgMin) => Some(graph.op(op).primitive.reduced_axes()[0]),
        _ => None,
    }
}

/// For each value: for a reduction its own pass, else the first pass after all reductions it depends on.
fn pass_numbers(graph: &Graph, region: Region, reduces: &[Op]) -> HashMap<Value, u32> {
    let mut passes: HashMap<Value, u32> = HashMap::new();
    for &op in &graph.region(region).ops {
        let data = graph.op(op);
        let needed = data.operands.iter().map(|&v| needed(graph, &passes, v)).max().unwrap_or(0);
        for &r in &data.results {
            passes.insert(r, needed);
        }
    }
    debug_assert!(reduces.iter().all(|op| passes.contains_key(&graph.op(*op).results[0])));
    passes
}

/// The first pass in which a value can be read.
fn needed(graph: &Graph, passes: &HashMap<Value, u32>, v: Value) -> u32 {
    let Some(&pass) = passes.get(&v) else { return 0 };
    match graph.value(v).def {
        Definition::Result(op, _) if matches!(graph.op(op).primitive.lowering(), Lowering::Reduce(_)) => pass + 1,
        _ => pass,
    }
}

/// Values computed in `pass` by costly ops that a later pass reads again.
fn worth_keeping(graph: &Graph, region: Region, passes: &HashMap<Value, u32>, pass: u32) -> Vec<Value> {
    let ops = &graph.region(region).ops;
    let mut read_later: HashSet<Value> = HashSet::new();
    for &op in ops {
        let data = graph.op(op);
        if data.results.iter().any(|r| passes[r] > pass) {
            read_later.extend(data.operands.iter().copied());
        }
    }
    let candidates = ops.iter().filter(|&&op| !is_reduce(graph, op) && is_costly(graph, op));
    candidates
        .flat_map(|&op| graph.op(op).results.iter().copied())
        .filter(|r| read_later.contains(r) && passes[r] == pass)
        .collect()
}

fn is_reduce(graph: &Graph, op: Op) -> bool {
    matches!(graph.op(op).primitive.lowering(), Lowering::Reduce(_))
}

/// True for pointwise ops that cost much more than a load.
fn is_costly(graph: &Graph, op: Op) -> bool {
    let data = graph.op(op);
    if data.primitive.lowering() != Lowering::Pointwise {
        return false;
    }
    let mut probe = KernelBuilder::new("");
    let operands: SmallVec<[Var; 3]> =
        data.operands.iter().map(|&v| probe.constant(Scalar::zero(graph.ty(v).dtype))).collect();
    data.primitive.scalar(&mut probe, &operands);
    probe.cost() > 4
}
