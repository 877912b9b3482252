//! Moving the extra axis of a batched operand.

use super::{Emit, EmitExt};
use crate::graph::Value;
use crate::{Axes, Dim};
use smallvec::SmallVec;

/// The value with its extra axis, now at `axis`, moved to `to`; one without is repeated along a new axis.
pub(crate) fn extra_axis_at(b: &mut dyn Emit, v: Value, axis: Option<usize>, to: usize, size: &Dim) -> Value {
    let rank = b.ty(v).rank();
    let Some(axis) = axis else {
        let mut shape = b.ty(v).shape.clone();
        shape.insert(to, size.clone());
        let dims: Axes = (0..=rank).filter(|&a| a != to).collect();
        return b.broadcast_in_dim(v, &shape, &dims);
    };
    let mut permutation: Axes = (0..rank).filter(|&a| a != axis).collect();
    permutation.insert(to, axis);
    b.transpose(v, &permutation)
}

/// The value with its extra axis in front.
pub(crate) fn in_front(b: &mut dyn Emit, v: Value, axis: Option<usize>, size: &Dim) -> Value {
    extra_axis_at(b, v, axis, 0, size)
}

/// The same axes in a tensor with one more axis in front.
pub(crate) fn shifted(axes: &[usize]) -> Axes {
    axes.iter().map(|a| a + 1).collect()
}

/// A list with one entry per axis, with an entry for the axis in front.
pub(crate) fn with_front<T: Clone>(first: T, rest: &[T]) -> SmallVec<[T; 4]> {
    std::iter::once(first).chain(rest.iter().cloned()).collect()
}
