//! Fused groups to kernels: one nest for each iteration space among the results of a loop group, one with several
//! passes for a group around reductions, one for each operand of a long concatenation.

use super::LowerError;
use super::axes::Axis;
use super::boxes::Part;
use super::loops::{Target, cut, long_join, loop_nest};
use super::pull::{IndexVec, Puller, SiteInfo, extent_argument, input_params};
use super::reduce::reduce_nest;
use crate::grain::Grain;
use ir::kernel::{Access, Index, Kernel, KernelBuilder, Memory};
use ir::{Dim, Graph, Lowering, Op, Region, Shape, Symbol, Value};
use std::collections::{HashMap, HashSet};

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
pub(super) fn lower_group(graph: &Graph, grain: Grain, region: Region, name: &str) -> Result<GroupKernel, LowerError> {
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
            loop_nest(
                puller,
                grain,
                &graph.ty(part).shape,
                target,
                &[(0, part, outputs[0])],
                &[],
                &mut HashSet::new(),
            )?;
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
                loop_nest(puller, grain, &part, target, &stores, &data.params, in_place)?;
            }
        }
        if several {
            // Another nest may read a parameter at any time; in place is safe only where no other nest reads it.
            drop_shared(graph, region, &mut elementwise);
        }
    } else {
        let puller = Puller::new(graph, &mut k, &buffers, &mut extents, &mut sites);
        elementwise = reduce_nest(puller, grain, &reduces, region, &outputs)?;
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
