//! Operands for samples.

use super::{BadSample, Primitive, Sample};
use crate::{DType, Literal, Scalar, Type};

/// Distinct finite values around 0 that every signed dtype holds exactly, in an order that is not sorted.
pub(crate) fn values(dtype: DType, dims: &[usize]) -> Literal {
    let n = dims.iter().product::<usize>();
    // 5 and 7 are coprime to most small lengths; the offset keeps 0 out, so that quotients by an element exist.
    let step = [7, 5, 3, 1].into_iter().find(|s| n % s != 0).unwrap_or(1);
    Literal::from_fn(dims, dtype, |i| {
        let rank = (i * step % n.max(1)) as f64 - (n / 2) as f64;
        match dtype {
            _ if dtype.is_unsigned() || dtype == DType::Bool => {
                Scalar::I64((i * step % n.max(1)) as i64 + 1).convert(dtype)
            }
            _ if dtype.is_float() => Scalar::of(dtype, rank * 0.25 + 0.125),
            _ => Scalar::of(dtype, rank * 3.0 + 1.0),
        }
    })
}

/// Alternating truth values, infinities, NaN, zeros of both signs, subnormals, extremes.
pub(crate) fn odd(dtype: DType, dims: &[usize]) -> Literal {
    let floats = [f64::NAN, -0.0, 0.0, f64::INFINITY, 1.5, f64::NEG_INFINITY, -2.0, 1e-40, 65504.0, -1e-300];
    let ints = [i64::MIN, 0, i64::MAX, -1, 1, 255, 256, i32::MIN as i64, i32::MAX as i64];
    Literal::from_fn(dims, dtype, |i| match dtype {
        DType::Bool => Scalar::Bool(i % 3 == 1),
        _ if dtype.is_float() => Scalar::of(dtype, floats[i % floats.len()]),
        _ => Scalar::I64(ints[i % ints.len()]).convert(dtype),
    })
}

/// A sample.
pub(crate) fn sample(op: impl Into<Primitive>, operands: &[Literal]) -> Sample {
    Sample { primitive: op.into(), operands: operands.to_vec() }
}

/// A sample for each dtype, with odd values.
pub(crate) fn for_each(
    dtypes: impl IntoIterator<Item = DType>,
    op: impl Fn(DType) -> Primitive,
    dims: &[usize],
) -> Vec<Sample> {
    dtypes.into_iter().map(|d| sample(op(d), &[odd(d, dims)])).collect()
}

/// A call that the type rule refuses, with f32 operands of those extents.
pub(crate) fn bad<const N: usize>(
    op: impl Into<Primitive>,
    operands: [&[usize]; N],
    message: &'static str,
) -> BadSample {
    bad_types(op, operands.map(|dims| Type::new(DType::F32, dims)).to_vec(), message)
}

/// A call that the type rule refuses.
pub(crate) fn bad_types(op: impl Into<Primitive>, operands: Vec<Type>, message: &'static str) -> BadSample {
    BadSample { primitive: op.into(), operands, message }
}
