//! Tensors of indices, and masks.

use super::Index;
use super::basic::Plan;
use crate::error::{Code, Error, Result};
use crate::ops::{broadcast::common_shape, prim};
use crate::tensor::Tensor;
use crate::trace::{self, record};
use crate::view::view;
use ir::ops::index::{Gather, IndexMode, Scatter, Update};
use ir::ops::{binary, create};
use ir::{Axes, DType, Dim, Scalar, Shape};

/// The positions where a mask is true, one tensor for each of its axes.
pub(super) fn positions(mask: &Tensor) -> Result<Vec<Tensor>> {
    if trace::active() {
        let rule = "a mask decides about the shape of the result, which a trace must know".to_string();
        let legal = "where_ with the mask, or an index outside of jit, grad and the other transforms";
        return Err(Error::new(Code::Read, "index", rule, legal));
    }
    let found = mask.nonzero()?;
    Ok((0..mask.rank()).map(|axis| found.select(1, axis as isize)).collect())
}

/// Checks that masks have the extents of the axes that they stand for.
pub(super) fn check_masks(shape: &Shape, parts: &[Index]) -> Result<()> {
    let takes = |p: &Index| match p {
        Index::NewAxis | Index::Ellipsis => 0,
        Index::Tensor(t) if t.dtype() == DType::Bool => t.rank(),
        _ => 1,
    };
    let named: usize = parts.iter().map(takes).sum();
    let mut axis = 0;
    for part in parts {
        if let Index::Tensor(t) = part
            && t.dtype() == DType::Bool
        {
            if t.rank() == 0 {
                let legal = "a mask with an axis for each that it stands for, or where_ with a condition";
                return Err(Error::new(Code::Rank, "index", "a mask without axes stands for none", legal));
            }
            let (mask, end) = (t.shape(), axis + t.rank());
            if end <= shape.rank() && shape[axis..end] != mask[..] {
                let rule = format!("a mask of shape {mask} for axes of extents {}", Shape::from(&shape[axis..end]));
                return Err(Error::new(Code::Shape, "index", rule, "they are equal"));
            }
        }
        axis += if matches!(part, Index::Ellipsis) { shape.rank().saturating_sub(named) } else { takes(part) };
    }
    Ok(())
}

/// Checks dtypes and shapes of tensors of indices.
pub(super) fn check(plan: &Plan, shape: &Shape, tensors: &[Tensor]) -> Result<()> {
    if let Some(t) = tensors.iter().find(|t| !t.dtype().is_int()) {
        let rule = format!("the indices have dtype {}", t.dtype());
        return Err(Error::new(Code::DType, "index", rule, "integers, or bool for a mask"));
    }
    let shapes: Vec<Shape> = tensors.iter().map(Tensor::shape).collect();
    common_shape("index", shapes.iter())?;
    match plan.indexed.iter().find(|&&a| shape[a].is(0)) {
        Some(a) if shapes.iter().all(|s| !s.iter().any(|d| d.is(0))) => {
            Err(Error::new(Code::Index, "index", format!("axis {a} is empty"), "no index, or an axis with elements"))
        }
        _ => Ok(()),
    }
}

/// The shape that tensors of indices broadcast to.
pub(super) fn common(tensors: &[Tensor]) -> Shape {
    let shapes: Vec<Shape> = tensors.iter().map(|t| t.ty().shape).collect();
    common_shape("index", shapes.iter()).unwrap_or_default()
}

/// `x` updated with a value at an index, through the places of elements in row-major order.
pub(super) fn updated(plan: &Plan, x: &Tensor, value: &Tensor, tensors: &[Tensor], combine: Update) -> Tensor {
    let shape = x.ty().shape;
    let all = Shape::from([shape.numel()]);
    let places = record(create::Iota { dtype: DType::I64, shape: all.clone(), axis: 0 }, &[]);
    let part = view("index", &prim::reshape(&places, &shape), plan.steps());
    let part = if tensors.is_empty() { part } else { gathered(plan, &part, tensors) };
    let result = plan.result(&common(tensors));
    let some = Shape::from([result.numel()]);
    let value = prim::reshape(&prim::broadcast(&prim::cast(value, x.dtype()), &result), &some);
    let (x, at) = (prim::reshape(x, &all), prim::reshape(&part, &some));
    // The places are right; where there are none, nothing is to be clamped.
    let y = record(Scatter { axis: 0, batch: 0, mode: IndexMode::Fill, combine }, &[&x, &at, &value]);
    prim::reshape(&y, &shape)
}

/// The elements of `x`, to which numbers and ranges were applied, at those positions.
pub(super) fn gathered(plan: &Plan, x: &Tensor, tensors: &[Tensor]) -> Tensor {
    let shape = x.ty().shape;
    let axes: Axes = plan.indexed.iter().map(|&a| plan.axis_left(a)).collect();
    let common = common(tensors);
    let first = if plan.in_front { 0 } else { axes[0] };
    let others: Axes = (0..shape.rank()).filter(|a| !axes.contains(a)).collect();
    let order: Axes = others[..first].iter().chain(&axes).chain(&others[first..]).copied().collect();
    let x = prim::transpose(x, &order);
    let positions = |i: usize| prim::broadcast(&from_start(&tensors[i], &shape[axes[i]]), &common);
    if let [axis] = axes[..] {
        // A check against the axis itself.
        debug_assert!(axis == first || plan.in_front);
        return record(Gather { axis: first, batch: 0, mode: IndexMode::Error }, &[&x, &positions(0)]);
    }
    // Several: one index into the axes made one.
    let extents: Shape = axes.iter().map(|&a| shape[a].clone()).collect();
    let strides = extents.strides();
    let mut flat: Option<Tensor> = None;
    for (i, stride) in strides.iter().enumerate() {
        let position = checked(&positions(i), plan.indexed[i], &extents[i]);
        let part = times(&position, stride, &common);
        flat = Some(match flat {
            Some(sum) => record(binary::Add {}, &[&sum, &part]),
            None => part,
        });
    }
    let Some(flat) = flat else { unreachable!("there are several") };
    let rest = |r: std::ops::Range<usize>| others[r].iter().map(|&a| shape[a].clone()).collect::<Vec<_>>();
    let merged: Shape = rest(0..first).into_iter().chain([extents.numel()]).chain(rest(first..others.len())).collect();
    let x = prim::reshape(&x, &merged);
    // Checked already; an axis that may be empty has no index to clamp to.
    let some = extents.numel().known().is_some_and(|n| n > 0);
    let mode = if some { IndexMode::Clamp } else { IndexMode::Fill };
    record(Gather { axis: first, batch: 0, mode }, &[&x, &flat])
}

/// Indices as i64, negative ones counted from the end; those before the start stay as they are, for the error to say.
fn from_start(indices: &Tensor, extent: &Dim) -> Tensor {
    if indices.dtype().is_unsigned() {
        return indices.clone();
    }
    let i = prim::cast(indices, DType::I64);
    let shape = i.ty().shape;
    let zero = prim::full(Scalar::I64(0), &shape);
    let negative = record(binary::Compare { direction: binary::Direction::Lt }, &[&i, &zero]);
    let n = prim::broadcast(&prim::extent(extent), &shape);
    let moved = record(binary::Add {}, &[&i, &n]);
    let inside = record(binary::Compare { direction: binary::Direction::Ge }, &[&moved, &zero]);
    let counted = record(binary::And {}, &[&negative, &inside]);
    record(binary::Select {}, &[&counted, &moved, &i])
}

/// The same indices, which must lie in an axis of that number and extent: a gather from the positions of the axis.
fn checked(indices: &Tensor, axis: usize, extent: &Dim) -> Tensor {
    let mut shape: Shape = (0..axis).map(|_| Dim::from(1)).collect();
    shape.push(extent.clone());
    let line = record(create::Iota { dtype: DType::I64, shape, axis }, &[]);
    let picked = record(Gather { axis, batch: 0, mode: IndexMode::Error }, &[&line, indices]);
    prim::reshape(&picked, &indices.ty().shape)
}

fn times(x: &Tensor, by: &Dim, shape: &Shape) -> Tensor {
    if by.is(1) {
        return x.clone();
    }
    let by = prim::broadcast(&prim::extent(by), shape);
    record(binary::Mul {}, &[x, &by])
}
