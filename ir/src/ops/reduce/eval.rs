//! Reference evaluation of reductions: one plain pass over the operand in row-major order.

use crate::literal::strides_of;
use crate::ops::elements::offsets;
use crate::ops::numeric::{Number, Ordered, with_any, with_number};
use crate::{Literal, Scalar, TypedData};
use smallvec::SmallVec;

fn kept_dims(x: &Literal, axes: &[usize]) -> SmallVec<[usize; 4]> {
    (0..x.rank()).filter(|a| !axes.contains(a)).map(|a| x.dims()[a]).collect()
}

/// Folds the elements that share a result position.
fn fold<T: TypedData, A: Copy>(x: &Literal, axes: &[usize], init: A, step: impl Fn(A, T) -> A) -> Vec<A> {
    let dims = kept_dims(x, axes);
    let mut kept = strides_of(&dims).into_iter();
    let strides: SmallVec<[isize; 4]> = (0..x.rank())
        .map(|a| if axes.contains(&a) { 0 } else { kept.next().expect("one per kept axis") as isize })
        .collect();
    let mut out = vec![init; dims.iter().product()];
    for (&value, at) in x.as_slice::<T>().iter().zip(offsets(x.dims(), &strides, 0)) {
        out[at] = step(out[at], value);
    }
    out
}

fn rounded<T: Number>(x: &Literal, axes: &[usize], accumulated: Vec<T::Acc>) -> Literal {
    Literal::from_vec(&kept_dims(x, axes), accumulated.into_iter().map(T::narrow).collect())
}

pub(super) fn sum(x: &Literal, axes: &[usize]) -> Literal {
    // Not 0 + x, which would turn -0 into +0.
    if axes.is_empty() {
        return x.clone();
    }
    with_number!(x.dtype(), T => {
        rounded::<T>(x, axes, fold(x, axes, <T as Number>::UNITS[0], |a, v: T| <T as Number>::add(a, v.widen())))
    })
}

pub(super) fn product(x: &Literal, axes: &[usize]) -> Literal {
    with_number!(x.dtype(), T => {
        rounded::<T>(x, axes, fold(x, axes, <T as Number>::UNITS[1], |a, v: T| <T as Number>::mul(a, v.widen())))
    })
}

fn extremum<T: Ordered>(x: &Literal, axes: &[usize], identity: Scalar, larger: bool) -> Literal {
    let identity = T::from_scalar(identity).expect("the dtype of the operand");
    let out = fold(x, axes, identity, |best: T, v: T| {
        let better = if larger { best.before(v) } else { v.before(best) };
        if !best.is_nan() && (v.is_nan() || better) { v } else { best }
    });
    Literal::from_vec(&kept_dims(x, axes), out)
}

pub(super) fn max(x: &Literal, axes: &[usize]) -> Literal {
    with_any!(x.dtype(), T => extremum::<T>(x, axes, Scalar::lowest(x.dtype()), true))
}

pub(super) fn min(x: &Literal, axes: &[usize]) -> Literal {
    with_any!(x.dtype(), T => extremum::<T>(x, axes, Scalar::highest(x.dtype()), false))
}

pub(super) fn any(x: &Literal, axes: &[usize]) -> Literal {
    Literal::from_vec(&kept_dims(x, axes), fold(x, axes, false, |a, v: bool| a | v))
}

pub(super) fn all(x: &Literal, axes: &[usize]) -> Literal {
    Literal::from_vec(&kept_dims(x, axes), fold(x, axes, true, |a, v: bool| a & v))
}

fn position<T: Ordered>(x: &Literal, axis: usize, larger: bool) -> Literal {
    let (n, inner) = (x.dims()[axis], x.dims()[axis + 1..].iter().product::<usize>());
    let data = x.as_slice::<T>();
    let outer: usize = x.dims()[..axis].iter().product();
    let mut out = Vec::with_capacity(outer * inner);
    for i in 0..outer * inner {
        let at = |k: usize| data[(i / inner * n + k) * inner + i % inner];
        let best = (0..n).reduce(|best, k| {
            let (b, v) = (at(best), at(k));
            let better = if larger { b.less(v) } else { v.less(b) };
            if !b.is_nan() && (v.is_nan() || better) { k } else { best }
        });
        out.push(best.expect("the axis is not empty, as the op checks") as i64);
    }
    Literal::from_vec(&kept_dims(x, &[axis]), out)
}

pub(super) fn arg_max(x: &Literal, axes: &[usize]) -> Literal {
    with_any!(x.dtype(), T => position::<T>(x, axes[0], true))
}

pub(super) fn arg_min(x: &Literal, axes: &[usize]) -> Literal {
    with_any!(x.dtype(), T => position::<T>(x, axes[0], false))
}
