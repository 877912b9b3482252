//! Recording primitives; called only inside a trace.

use crate::tensor::Tensor;
use crate::trace::record;
use ir::ops::{convert, create, view};
use ir::{Axes, DType, Dim, Scalar, Shape};

/// A tensor of one value.
pub(crate) fn full(value: Scalar, shape: &Shape) -> Tensor {
    record(create::Full { value, shape: shape.clone() }, &[])
}

/// A tensor of one number, of the type of another.
pub(crate) fn full_like(t: &Tensor, value: f64) -> Tensor {
    match t.error_ref() {
        Some(_) => t.clone(),
        None => {
            let ty = t.ty();
            full(Scalar::of(ty.dtype, value), &ty.shape)
        }
    }
}

/// Converts, unless the dtype is right already.
pub(crate) fn cast(t: &Tensor, dtype: DType) -> Tensor {
    if t.error_ref().is_some() || t.dtype() == dtype { t.clone() } else { record(convert::Convert { dtype }, &[t]) }
}

/// Broadcasts as NumPy does, unless the shape is right already; the shapes must fit.
pub(crate) fn broadcast(t: &Tensor, shape: &Shape) -> Tensor {
    if t.error_ref().is_some() || t.ty().shape == *shape {
        return t.clone();
    }
    let dims: Axes = (shape.rank() - t.rank()..shape.rank()).collect();
    record(view::BroadcastInDim { shape: shape.clone(), dims }, &[t])
}

/// Reshapes, unless the shape is right already.
pub(crate) fn reshape(t: &Tensor, shape: &Shape) -> Tensor {
    if t.error_ref().is_some() || t.ty().shape == *shape {
        return t.clone();
    }
    record(view::Reshape { shape: shape.clone() }, &[t])
}

/// Permutes axes, unless they stay.
pub(crate) fn transpose(t: &Tensor, permutation: &[usize]) -> Tensor {
    if t.error_ref().is_some() || permutation.iter().enumerate().all(|(i, &p)| i == p) {
        return t.clone();
    }
    record(view::Transpose { permutation: Axes::from_slice(permutation) }, &[t])
}

/// Every `step`-th element of a range along an axis, unless that is all of them.
pub(crate) fn slice(t: &Tensor, axis: usize, start: impl Into<Dim>, end: impl Into<Dim>, step: usize) -> Tensor {
    if t.error_ref().is_some() {
        return t.clone();
    }
    let (shape, start, end) = (t.ty().shape, start.into(), end.into());
    if start.is(0) && end == shape[axis] && step == 1 {
        return t.clone();
    }
    let starts = (0..shape.rank()).map(|i| if i == axis { start.clone() } else { Dim::from(0) }).collect();
    let strides = (0..shape.rank()).map(|i| if i == axis { step } else { 1 }).collect();
    record(view::Slice { starts, limits: shape.with_axis(axis, end), strides }, &[t])
}

/// With elements of one value at the ends of an axis.
pub(crate) fn pad(t: &Tensor, axis: usize, low: impl Into<Dim>, high: impl Into<Dim>, value: Scalar) -> Tensor {
    if t.error_ref().is_some() {
        return t.clone();
    }
    let (rank, low, high) = (t.rank(), low.into(), high.into());
    if low.is(0) && high.is(0) {
        return t.clone();
    }
    let at_axis = |d: Dim| (0..rank).map(|i| if i == axis { d.clone() } else { Dim::from(0) }).collect::<Shape>();
    record(view::Pad { value, low: at_axis(low), high: at_axis(high), interior: Axes::from_elem(0, rank) }, &[t])
}

/// Tensors of one dtype one after the other.
pub(crate) fn concat(parts: &[Tensor], axis: usize) -> Tensor {
    match parts {
        [one] => one.clone(),
        _ => record(view::Concatenate { axis }, &parts.iter().collect::<Vec<_>>()),
    }
}

/// In reverse order along an axis.
pub(crate) fn reverse(t: &Tensor, axis: usize) -> Tensor {
    record(view::Reverse { axes: Axes::from_slice(&[axis]) }, &[t])
}

/// The index along an axis at every place of a shape, i64.
pub(crate) fn iota(shape: &Shape, axis: usize) -> Tensor {
    record(create::Iota { dtype: DType::I64, shape: shape.clone(), axis }, &[])
}

/// Broadcasts, axis `i` of the tensor becoming axis `dims[i]` of the shape.
pub(crate) fn spread(t: &Tensor, shape: &Shape, dims: &[usize]) -> Tensor {
    record(view::BroadcastInDim { shape: shape.clone(), dims: Axes::from_slice(dims) }, &[t])
}

/// Those axes last, in that order.
pub(crate) fn to_back(t: &Tensor, axes: &[usize]) -> Tensor {
    if t.error_ref().is_some() {
        return t.clone();
    }
    let order: Axes = (0..t.rank()).filter(|a| !axes.contains(a)).chain(axes.iter().copied()).collect();
    transpose(t, &order)
}

/// An extent as an i64.
pub(crate) fn extent(d: &Dim) -> Tensor {
    match d.known() {
        Some(n) => full(Scalar::I64(n), &Shape::scalar()),
        None => record(create::DimValue { dim: d.clone() }, &[]),
    }
}
