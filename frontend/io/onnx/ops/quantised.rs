//! Quantised tensors: integers that stand for floats by a scale and a zero point.

use super::window::{along_channels, convolution};
use super::{Op, one};
use crate::io::onnx::evaluate::{Call, Stop};
use crate::tensor::Tensor;
use crate::{DType, Dim, Scalar, Shape, Type};

pub(super) const OPS: &[Op] = &[
    Op::new("QuantizeLinear", &[10, 13, 19, 21, 23], |c| {
        let (x, scale) = (c.tensor(0)?, c.tensor(1)?);
        let zero = c.maybe(2)?;
        let ty = x.try_type()?;
        let dtype = match (&zero, c.dtype("output_dtype")?) {
            (Some(z), _) => z.try_type()?.dtype,
            (None, Some(dtype)) => dtype,
            (None, None) => DType::U8,
        };
        let wide = if ty.dtype == DType::F64 { DType::F64 } else { DType::F32 };
        let zero = zero.map(|z| spread(c, &z.to_dtype(wide), &ty.shape)).transpose()?;
        let precise = if c.int("precision", 0) == 0 { wide } else { c.dtype("precision")?.unwrap_or(wide) };
        let quotient = x.to_dtype(precise) / spread(c, &scale.to_dtype(precise), &ty.shape)?;
        one(quantised(&quotient.to_dtype(wide), zero.as_ref(), dtype))
    }),
    Op::new("DequantizeLinear", &[10, 13, 19, 21, 23], |c| {
        let (x, scale) = (c.tensor(0)?, c.tensor(1)?);
        let (shape, dtype) = (x.try_shape()?, scale.try_type()?.dtype);
        let scale = spread(c, &scale, &shape)?;
        let wide = if x.dtype().is_float() { DType::F32 } else { DType::I32 };
        let centred = match c.maybe(2)? {
            Some(zero) => x.to_dtype(wide) - spread(c, &zero.to_dtype(wide), &shape)?,
            None => x,
        };
        let inner = if dtype.is_half() { DType::F32 } else { dtype };
        one((centred.to_dtype(inner) * scale.to_dtype(inner)).to_dtype(dtype))
    }),
    Op::new("DynamicQuantizeLinear", &[11], |c| {
        let x = c.tensor(0)?;
        let (high, low) = (x.max(..).maximum(0.0), x.min(..).minimum(0.0));
        let scale = (&high - &low) / 255.0;
        let safe = scale.eq(0.0).where_(1.0, &scale);
        let zero = (0.0 - &low / &safe).clamp(0.0, 255.0).round();
        let y = quantised(&(&x / safe), Some(&zero), DType::U8);
        Ok(vec![y.into(), scale.into(), zero.to_dtype(DType::U8).into()])
    }),
    Op::new("MatMulInteger", &[10], |c| {
        let (a, b) = (c.tensor(0)?, c.tensor(1)?);
        let (za, zb) = (c.maybe(2)?, c.maybe(3)?);
        one(product(&centred(&a, za.as_ref(), true)?, &centred(&b, zb.as_ref(), false)?))
    }),
    Op::new("QLinearMatMul", &[10, 21], |c| {
        let (a, b) = (c.tensor(0)?, c.tensor(3)?);
        let (za, zb, zy) = (c.tensor(2)?, c.tensor(5)?, c.tensor(7)?);
        let sum = product(&centred(&a, Some(&za), true)?, &centred(&b, Some(&zb), false)?);
        let scale = |i: usize| c.tensor(i).map(|t| t.to_dtype(DType::F32));
        let (sa, sb, sy) = (column(&scale(1)?, true)?, column(&scale(4)?, false)?, scale(6)?);
        one(requantised(&sum, &(sa * sb / sy), &zy))
    }),
    Op::new("ConvInteger", &[10], |c| {
        let (x, weights) = (c.tensor(0)?, c.tensor(1)?);
        let (zx, zw) = (c.maybe(2)?, c.maybe(3)?);
        one(convolved(c, &x, zx.as_ref(), &weights, zw.as_ref())?)
    }),
    Op::new("QLinearConv", &[10], |c| {
        let (x, weights, zy) = (c.tensor(0)?, c.tensor(3)?, c.tensor(7)?);
        check_linear_conv(c)?;
        let mut sum = convolved(c, &x, Some(&c.tensor(2)?), &weights, Some(&c.tensor(5)?))?;
        let rank = sum.try_shape()?.rank();
        if let Some(bias) = c.maybe(8)? {
            sum += along_channels(&bias, rank);
        }
        let scale = |i: usize| c.tensor(i).map(|t| along_channels(&t.to_dtype(DType::F32), rank));
        one(requantised(&sum, &(scale(1)? * scale(4)? / scale(6)?), &zy))
    }),
];

/// Numbers for the whole, for each part along an axis, or for blocks of it, in the shape of what they belong to.
fn spread(c: &Call, t: &Tensor, shape: &Shape) -> Result<Tensor, Stop> {
    let own = t.try_shape()?;
    let block = c.int("block_size", 0);
    if own.rank() == 0 || own.rank() == 1 && own[0].is(1) && block == 0 {
        return Ok(t.reshape(Shape::scalar()));
    }
    let axis = c.axis(c.int("axis", 1), shape.rank())?;
    if block > 0 {
        let n = crate::extent(&shape[axis]);
        let repeated = t.repeat_interleave(block as usize, axis as isize);
        return Ok(repeated.slice(axis as isize, 0..n as isize));
    }
    if own.rank() != 1 {
        return Err(c.fail(format!("scales of shape {own}"), "one, or one for each part along the axis"));
    }
    Ok(t.reshape((0..shape.rank()).map(|a| if a == axis { own[0].clone() } else { Dim::from(1) }).collect::<Shape>()))
}

/// An error if the scales, zero points and biases of a convolution are not such as its op has.
fn check_linear_conv(c: &Call) -> Result<(), Stop> {
    let ty = |i: usize| Ok::<_, Stop>(c.tensor(i)?.try_type()?);
    let outputs = ty(3)?.shape.first().cloned().unwrap_or(Dim::from(0));
    let is_byte = |dtype: DType| matches!(dtype, DType::U8 | DType::I8);
    let fits = |i: usize| {
        let Type { dtype, shape } = ty(i)?;
        let right = match i {
            0 | 3 => is_byte(dtype),
            2 | 5 => dtype == ty(i - 2)?.dtype,
            7 => is_byte(dtype),
            8 => dtype == DType::I32,
            _ => dtype == DType::F32,
        };
        let of_outputs = shape.rank() == 1 && shape[0] == outputs;
        Ok::<_, Stop>(
            right
                && match i {
                    0 | 3 => true,
                    4 | 5 => shape.numel().is(1) && shape.rank() < 2 || of_outputs,
                    8 => of_outputs,
                    _ => shape.numel().is(1),
                },
        )
    };
    for i in (0..9).filter(|&i| c.has(i)) {
        if !fits(i)? {
            let legal = "bytes, scales of f32 and zero points, of weights one for each output or one for all, and biases of i32";
            return Err(c.fail(format!("operand {i} is {}", ty(i)?), legal));
        }
    }
    Ok(())
}

/// A convolution of small integers without their zero points, which padding has; one of weights is for each output or for all.
fn convolved(
    c: &Call,
    x: &Tensor,
    zero_of_x: Option<&Tensor>,
    weights: &Tensor,
    zero_of_weights: Option<&Tensor>,
) -> Result<Tensor, Stop> {
    let rank = weights.try_shape()?.rank();
    let less = |t: &Tensor, zero: Option<Tensor>| match zero {
        Some(zero) => t.to_dtype(DType::I32) - zero.to_dtype(DType::I32),
        None => t.to_dtype(DType::I32),
    };
    let x = less(x, zero_of_x.map(|z| z.reshape(Shape::scalar())));
    // The outputs are the first axis of weights, where images have examples.
    let weights = less(weights, zero_of_weights.map(|z| along_channels(z, rank + 1)));
    convolution(c, &x, &weights, &product)
}

/// Sums of products of quantised numbers as another quantised number.
fn requantised(sum: &Tensor, scale: &Tensor, zero: &Tensor) -> Tensor {
    quantised(
        &(sum.to_dtype(DType::F32) * scale),
        Some(&zero.to_dtype(DType::F32).reshape(Shape::scalar())),
        zero.dtype(),
    )
}

/// Rounded, and brought into the range of the dtype.
fn quantised(x: &Tensor, zero: Option<&Tensor>, dtype: DType) -> Tensor {
    let mut y = x.round();
    if let Some(zero) = zero {
        y += zero;
    }
    if y.error_ref().is_some() {
        return y;
    }
    let bound = |s: Scalar| match s.convert(DType::F64) {
        Scalar::F64(x) => x,
        _ => 0.0,
    };
    y.clamp(bound(Scalar::lowest(dtype)), bound(Scalar::highest(dtype))).to_dtype(dtype)
}

/// Zero points of rows as a column, of columns as they are; scalars stay.
fn column(t: &Tensor, rows: bool) -> Result<Tensor, Stop> {
    let shape = t.try_shape()?;
    Ok(match shape.rank() {
        1 if shape[0].is(1) => t.reshape(Shape::scalar()),
        1 if rows => t.unsqueeze(-1),
        _ => t.clone(),
    })
}

/// Without its zero point.
fn centred(t: &Tensor, zero: Option<&Tensor>, rows: bool) -> Result<Tensor, Stop> {
    let wide = t.to_dtype(DType::I32);
    Ok(match zero {
        Some(zero) => wide - column(&zero.to_dtype(DType::I32), rows)?,
        None => wide,
    })
}

/// How many products of numbers up to 255 an f32 adds exactly.
const EXACT: isize = (1 << 24) / (255 * 255);

/// A product of small integers, as i32. Products of floats are faster, and exact for so many terms.
fn product(a: &Tensor, b: &Tensor) -> Tensor {
    let (Ok(left), Ok(_)) = (a.try_shape(), b.try_shape()) else { return a.matmul(b) };
    let Some(k) = left.last().and_then(Dim::as_usize).map(|k| k as isize) else { return a.matmul(b) };
    let float = |t: &Tensor| t.to_dtype(DType::F32);
    if k <= EXACT || b.rank() < 2 || left.rank() < 2 {
        return if k <= EXACT { float(a).matmul(&float(b)).to_dtype(DType::I32) } else { a.matmul(b) };
    }
    let part = |from: isize| {
        let to = (from + EXACT).min(k);
        float(&a.slice(-1, from..to)).matmul(&float(&b.slice(-2, from..to))).to_dtype(DType::I32)
    };
    (0..k).step_by(EXACT as usize).map(part).reduce(|x, y| x + y).expect("there is a part")
}
