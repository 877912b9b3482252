//! Derivatives of reductions.

use crate::graph::Value;
use crate::ops::binary::Direction;
use crate::ops::create::Iota;
use crate::ops::view::{Concatenate, Pad, Slice};
use crate::ops::{Emit, EmitExt, PerOperand, VjpContext};
use crate::{Axes, DType, Dim, NotDifferentiable, Scalar, Shape};
use smallvec::smallvec;

pub(super) mod sum {
    use super::*;

    pub(in super::super) fn vjp(
        axes: &[usize],
        b: &mut dyn Emit,
        cx: &VjpContext<'_>,
    ) -> Result<PerOperand, NotDifferentiable> {
        let shape = b.ty(cx.operands[0]).shape.clone();
        Ok(smallvec![Some(b.broadcast_reduced(cx.cotangent(), &shape, axes))])
    }
    pub(in super::super) fn jvp(axes: &[usize], b: &mut dyn Emit, _: Value, _: Value, t: Value) -> Option<Value> {
        Some(b.reduce_sum(t, axes))
    }
}

pub(super) mod product {
    use super::*;

    pub(in super::super) fn vjp(
        axes: &[usize],
        b: &mut dyn Emit,
        cx: &VjpContext<'_>,
    ) -> Result<PerOperand, NotDifferentiable> {
        let x = cx.operands[0];
        let shape = b.ty(x).shape.clone();
        let others = others(b, x, axes);
        let ct = b.broadcast_reduced(cx.cotangent(), &shape, axes);
        Ok(smallvec![Some(b.mul(ct, others))])
    }
    pub(in super::super) fn jvp(axes: &[usize], b: &mut dyn Emit, x: Value, _: Value, t: Value) -> Option<Value> {
        let others = others(b, x, axes);
        let weighted = b.mul(t, others);
        Some(b.reduce_sum(weighted, axes))
    }
}

pub(super) mod max {
    use super::*;

    pub(in super::super) fn vjp(
        axes: &[usize],
        b: &mut dyn Emit,
        cx: &VjpContext<'_>,
    ) -> Result<PerOperand, NotDifferentiable> {
        let (x, shape) = (cx.operands[0], b.ty(cx.operands[0]).shape.clone());
        let (winners, count) = winners(axes, b, x, cx.results[0]);
        let part = b.div(cx.cotangent(), count);
        let part = b.broadcast_reduced(part, &shape, axes);
        Ok(smallvec![Some(b.mul(winners, part))])
    }
    pub(in super::super) fn jvp(axes: &[usize], b: &mut dyn Emit, x: Value, result: Value, t: Value) -> Option<Value> {
        let (winners, count) = winners(axes, b, x, result);
        let won = b.mul(winners, t);
        let won = b.reduce_sum(won, axes);
        Some(b.div(won, count))
    }
    /// 1 where an element equals the result, else 0; and how many do, which is 0 for a result of NaN, so that dividing
    /// by it gives NaN.
    fn winners(axes: &[usize], b: &mut dyn Emit, x: Value, result: Value) -> (Value, Value) {
        let ty = b.ty(x).clone();
        let result = b.broadcast_reduced(result, &ty.shape, axes);
        let equal = b.compare(Direction::Eq, x, result);
        let winners = b.convert(equal, ty.dtype);
        (winners, b.reduce_sum(winners, axes))
    }
}
pub(super) use max as min;

macro_rules! without_derivative {
    ($($name:ident $reason:literal;)*) => { $(pub(super) mod $name {
        use super::*;

        pub(in super::super) fn vjp(
            _: &[usize],
            _: &mut dyn Emit,
            _: &VjpContext<'_>,
        ) -> Result<PerOperand, NotDifferentiable> {
            Err(NotDifferentiable($reason))
        }
        pub(in super::super) fn jvp(_: &[usize], _: &mut dyn Emit, _: Value, _: Value, _: Value) -> Option<Value> {
            None
        }
    })* };
}
without_derivative! {
    any "truth values have no derivative";
    all "truth values have no derivative";
    arg_max "positions are integers";
    arg_min "positions are integers";
}

/// For each element, the product of all others that are reduced into the same result element.
///
/// Nothing is divided, so zeros are no special case, and derivatives of the outcome are right again.
fn others(b: &mut dyn Emit, x: Value, axes: &[usize]) -> Value {
    let shape = b.ty(x).shape.clone();
    let kept = (0..shape.rank()).filter(|a| !axes.contains(a));
    let permutation: Axes = axes.iter().copied().chain(kept).collect();
    let mut inverse = permutation.clone();
    for (i, &p) in permutation.iter().enumerate() {
        inverse[p] = i;
    }
    let moved = b.transpose(x, &permutation);
    let moved_shape = b.ty(moved).shape.clone();
    let count = axes.iter().fold(Dim::from(1), |n, &a| n * &shape[a]);
    let mut flat_shape = shape.without(axes);
    flat_shape.insert(0, count.clone());
    let flat = b.reshape(moved, &flat_shape);
    let out = match count.as_usize() {
        Some(n) => others_by_halves(b, flat, n),
        None => others_by_pairs(b, flat, &count),
    };
    let out = b.reshape(out, &moved_shape);
    b.transpose(out, &inverse)
}

/// [`others`] along the first axis of `n` elements: the reverse-mode derivative of a product that is taken as a tree of
/// halves, in about `log2(n)` steps.
fn others_by_halves(b: &mut dyn Emit, x: Value, n: usize) -> Value {
    if n <= 1 {
        return b.full_like(x, 1.0);
    }
    let mut levels = Vec::new();
    let (mut level, mut count) = (x, n);
    while count > 1 {
        let half = count.div_ceil(2);
        let low = rows(b, level, 0, half);
        let mut high = rows(b, level, half, count);
        if count % 2 == 1 {
            let ty = b.ty(high).clone();
            let nothing: Shape = ty.shape.iter().map(|_| 0).collect();
            let pad = Pad {
                value: Scalar::of(ty.dtype, 1.0),
                high: nothing.with_axis(0, Dim::from(1)),
                low: nothing,
                interior: smallvec![0; ty.rank()],
            };
            high = b.emit(pad.into(), &[high]);
        }
        levels.push((low, high, count));
        level = b.mul(low, high);
        count = half;
    }
    let mut outside: Option<Value> = None;
    for (low, high, count) in levels.into_iter().rev() {
        let (for_low, for_high) = match outside {
            Some(outside) => (b.mul(outside, high), b.mul(outside, low)),
            None => (high, low),
        };
        let for_high = rows(b, for_high, 0, count / 2);
        outside = Some(b.emit(Concatenate { axis: 0 }.into(), &[for_low, for_high]));
    }
    outside.expect("there is a level")
}

/// The part `from..to` of the first axis.
fn rows(b: &mut dyn Emit, x: Value, from: usize, to: usize) -> Value {
    let limits = b.ty(x).shape.with_axis(0, Dim::from(to));
    if from == 0 && limits == b.ty(x).shape {
        return x;
    }
    let mut starts: Shape = limits.iter().map(|_| 0).collect();
    starts[0] = Dim::from(from);
    let strides = smallvec![1; limits.rank()];
    b.emit(Slice { starts, limits, strides }.into(), &[x])
}

/// [`others`] along a first axis of symbolic extent: for each pair of elements one factor, which is 1 on the diagonal.
fn others_by_pairs(b: &mut dyn Emit, x: Value, count: &Dim) -> Value {
    let mut shape = b.ty(x).shape.clone();
    shape.insert(0, count.clone());
    let dims: Axes = (1..shape.rank()).collect();
    let factors = b.broadcast_in_dim(x, &shape, &dims);
    let ones = b.full_like(factors, 1.0);
    let [i, j] = [0, 1].map(|axis| b.emit(Iota { dtype: DType::I64, shape: shape.clone(), axis }.into(), &[]));
    let same = b.compare(Direction::Eq, i, j);
    let factors = b.select(same, ones, factors);
    b.emit(super::ReduceProd { axes: smallvec![1] }.into(), &[factors])
}
