//! Recording primitives; called only inside a trace.

use crate::tensor::Tensor;
use crate::trace::record;
use ir::ops::{convert, create, view};
use ir::{Axes, DType, Scalar, Shape};

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
