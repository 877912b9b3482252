//! Reductions and running sums.

use super::{Op, filled, one};
use crate::io::onnx::evaluate::{Call, Out};
use crate::io::onnx::value::{Ints, integer};
use crate::tensor::Tensor;
use crate::{DType, Dim, Scalar, Shape, concat};

pub(super) const OPS: &[Op] = &[
    Op::new("ReduceSum", &[1, 11, 13], |c| over(c, |x, axes| x.sum(axes)))
        .host(|c, v| all_ints(c, v, |x| Some(x.iter().fold(Dim::from(0), |n, d| n + d)))),
    Op::new("ReduceMean", &[1, 11, 13, 18], |c| over(c, mean)),
    Op::new("ReduceProd", &[1, 11, 13, 18], |c| over(c, |x, axes| x.prod(axes)))
        .host(|c, v| all_ints(c, v, |x| Some(x.iter().fold(Dim::from(1), |n, d| n * d)))),
    Op::new("ReduceMax", &[1, 11, 12, 13, 18, 20], |c| extreme(c, true)),
    Op::new("ReduceMin", &[1, 11, 12, 13, 18, 20], |c| extreme(c, false)),
    Op::new("ReduceL1", &[1, 11, 13, 18], |c| over(c, |x, axes| x.abs().sum(axes))),
    Op::new("ReduceL2", &[1, 11, 13, 18], |c| over(c, |x, axes| x.square().sum(axes).sqrt())),
    Op::new("ReduceLogSum", &[1, 11, 13, 18], |c| over(c, |x, axes| x.sum(axes).log())),
    Op::new("ReduceLogSumExp", &[1, 11, 13, 18], |c| {
        over(c, |x, axes| match axes.iter().any(|&a| x.shape()[a as usize].is(0)) {
            // Over nothing.
            true => x.exp().sum(axes).log(),
            false => x.logsumexp(axes),
        })
    }),
    Op::new("ReduceSumSquare", &[1, 11, 13, 18], |c| over(c, |x, axes| x.square().sum(axes))),
    Op::new("ArgMax", &[1, 11, 12, 13], |c| place(c, true)),
    Op::new("ArgMin", &[1, 11, 12, 13], |c| place(c, false)),
    Op::new("CumSum", &[11, 14], |c| {
        let x = c.tensor(0)?;
        let dtype = x.try_type()?.dtype;
        let axis = c.axis(integer(c.scalar(1)?), x.rank())? as isize;
        let reverse = c.flag("reverse", false);
        let turn = |x: Tensor| if reverse { x.flip(&[axis]) } else { x };
        let x = turn(x);
        // Without its own element: the sums of those before, and of none.
        let shape = x.try_shape()?;
        let x = if c.flag("exclusive", false) && !shape[axis as usize].is(0) {
            let mut one = shape.to_vec();
            one[axis as usize] = Dim::from(1);
            let n = &shape[axis as usize] - 1;
            concat(
                &[
                    filled(Shape::from_iter(one), Scalar::zero(dtype)),
                    super::shape::sliced(&x, axis as usize, Dim::from(0), n, 1),
                ],
                axis,
            )
        } else {
            x
        };
        one(turn(x.cumsum(axis).to_dtype(dtype)))
    }),
];

/// The axes of a reduction, from the front.
fn axes(c: &Call, rank: usize) -> Result<Option<Vec<usize>>, crate::io::onnx::evaluate::Stop> {
    let axes = c.ints_of("axes", 1)?.filter(|axes| !axes.is_empty() || c.attribute("axes").is_some());
    match axes {
        Some(axes) => Ok(Some(c.axes(&axes, rank)?)),
        None if c.flag("noop_with_empty_axes", false) => Ok(None),
        None => Ok(Some((0..rank).collect())),
    }
}

/// A reduction that keeps the dtype.
fn over(c: &Call, f: impl Fn(&Tensor, &[isize]) -> Tensor) -> Out {
    let x = c.tensor(0)?;
    let ty = x.try_type()?;
    let keep = c.flag("keepdims", true);
    // What is left to do over no axes is what the op does to each element.
    let axes = axes(c, ty.rank())?.unwrap_or_default();
    let signed: Vec<isize> = axes.iter().map(|&a| a as isize).collect();
    let reduced = f(&x, &signed).to_dtype(ty.dtype);
    one(if keep { reduced.reshape(kept(&ty.shape, &axes)) } else { reduced })
}

fn kept(shape: &Shape, axes: &[usize]) -> Shape {
    (0..shape.rank()).map(|a| if axes.contains(&a) { Dim::from(1) } else { shape[a].clone() }).collect()
}

/// The mean; of integers it is cut off, and their sum does not leave 64 bits before others do.
fn mean(x: &Tensor, axes: &[isize]) -> Tensor {
    let ty = x.ty();
    if ty.dtype.is_float() || ty.dtype == DType::Bool {
        return x.mean(axes);
    }
    let count = axes.iter().fold(Dim::from(1), |n, &a| n * &ty.shape[a as usize]);
    let wide = if ty.dtype == DType::U64 { DType::U64 } else { DType::I64 };
    x.to_dtype(wide).sum(axes).div_trunc(super::dim_scalar(&count, wide))
}

fn extreme(c: &Call, largest: bool) -> Out {
    over(c, |x, axes| {
        let ty = x.ty();
        if axes.iter().any(|&a| ty.shape[a as usize].is(0)) {
            let all: Vec<usize> = axes.iter().map(|&a| a as usize).collect();
            let dtype = ty.dtype;
            // The least or the greatest there is, so that it changes nothing.
            let none = match (dtype.is_float(), largest) {
                (true, true) => Scalar::F64(f64::NEG_INFINITY).convert(dtype),
                (true, false) => Scalar::F64(f64::INFINITY).convert(dtype),
                (false, true) => Scalar::lowest(dtype),
                (false, false) => Scalar::highest(dtype),
            };
            return filled(ty.shape.without(&all), none);
        }
        let x = if ty.dtype == DType::Bool { x.to_dtype(DType::U8) } else { x.clone() };
        if largest { x.max(axes) } else { x.min(axes) }
    })
}

fn place(c: &Call, largest: bool) -> Out {
    let x = c.tensor(0)?;
    let ty = x.try_type()?;
    let axis = c.axis(c.int("axis", 0), ty.rank())?;
    let at = axis as isize;
    let find = |x: &Tensor| if largest { x.argmax(at) } else { x.argmin(at) };
    let found = match c.flag("select_last_index", false) {
        true => {
            let last = super::dim_scalar(&(&ty.shape[axis] - 1), DType::I64);
            last - find(&x.flip(&[at]))
        }
        false => find(&x),
    };
    let found = found.to_dtype(DType::I64);
    one(if c.flag("keepdims", true) { found.unsqueeze(at) } else { found })
}

/// Over all of a list that is followed.
fn all_ints(c: &Call, v: &[Option<Ints>], f: impl Fn(&[Dim]) -> Option<Dim>) -> Option<Ints> {
    let x = v[0].as_ref().filter(|x| x.shape.len() == 1 && x.dtype == DType::I64)?;
    let axes = axes(c, 1).ok().flatten()?;
    if axes != [0] {
        return None;
    }
    let shape = if c.flag("keepdims", true) { vec![1] } else { Vec::new() };
    super::elementwise::fitting(x.dtype, shape, Some(vec![f(&x.dims)?]))
}
