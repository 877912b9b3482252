//! Random numbers. With a seed they are the same at every call, as the op says; without one they come from the generator of
//! the process.

use super::{Op, one};
use crate::io::onnx::evaluate::{Call, Out, Stop};
use crate::io::onnx::graph::Attribute;
use crate::tensor::Tensor;
use crate::{DType, Generator, Shape, random};

pub(super) const OPS: &[Op] = &[
    Op::new("RandomNormal", &[1, 22], |c| normal(c, given(c)?, DType::F32)).recorded(),
    Op::new("RandomNormalLike", &[1, 22], |c| {
        let ty = c.tensor(0)?.try_type()?;
        normal(c, ty.shape, ty.dtype)
    })
    .recorded(),
    Op::new("RandomUniform", &[1, 22], |c| uniform(c, given(c)?, DType::F32)).recorded(),
    Op::new("RandomUniformLike", &[1, 22], |c| {
        let ty = c.tensor(0)?.try_type()?;
        uniform(c, ty.shape, ty.dtype)
    })
    .recorded(),
    Op::new("Bernoulli", &[15, 22], |c| {
        let x = c.tensor(0)?;
        let ty = x.try_type()?;
        let dtype = c.dtype("dtype")?.unwrap_or(ty.dtype);
        one(random::bernoulli(&key(c), ty.shape, x).to_dtype(dtype))
    })
    .recorded(),
    Op::new("Multinomial", &[7, 22], |c| {
        let x = c.tensor(0)?;
        let Ok(n) = usize::try_from(c.int("sample_size", 1)) else {
            return Err(c.fail("the number is negative", "0 or more"));
        };
        let dtype = c.dtype("dtype")?.unwrap_or(DType::I32);
        one(random::multinomial(&key(c), &x.softmax(-1), n, true).to_dtype(dtype))
    })
    .recorded(),
    Op::new("Dropout", &[1, 6, 7, 10, 12, 13, 22], |c| {
        let x = c.tensor(0)?;
        let ty = x.try_type()?;
        let training = c.version() >= 12 && c.has(2) && crate::io::onnx::value::integer(c.scalar(2)?) != 0;
        let ratio = if c.version() >= 12 && c.has(1) { c.number(1)? } else { 0.5 };
        let everywhere = || Tensor::full(ty.shape.clone(), true, DType::Bool);
        if !training || ratio == 0.0 {
            // At first the mask had the dtype of the tensor.
            let mask = if c.version() < 10 { everywhere().to_dtype(ty.dtype) } else { everywhere() };
            return Ok(vec![x.into(), mask.into()]);
        }
        let kept = random::bernoulli(&key(c), ty.shape.clone(), 1.0 - ratio);
        let y = kept.where_(x / (1.0 - ratio), 0.0).to_dtype(ty.dtype);
        Ok(vec![y.into(), kept.into()])
    })
    .recorded(),
];

fn key(c: &Call) -> random::Key {
    match c.attribute("seed") {
        Some(Attribute::Float(seed)) => random::Key::new((*seed as f32).to_bits().into()),
        Some(Attribute::Int(seed)) => random::Key::new(*seed as u64),
        _ => Generator::default().key(),
    }
}

fn given(c: &Call) -> Result<Shape, Stop> {
    super::shape::extents(c, c.list("shape").unwrap_or_default().into_iter().map(Into::into).collect())
}

fn normal(c: &Call, shape: Shape, dtype: DType) -> Out {
    let dtype = c.dtype("dtype")?.unwrap_or(dtype);
    one(random::normal(&key(c), shape, dtype, c.float("mean", 0.0), c.float("scale", 1.0)))
}

fn uniform(c: &Call, shape: Shape, dtype: DType) -> Out {
    let dtype = c.dtype("dtype")?.unwrap_or(dtype);
    one(random::uniform(&key(c), shape, dtype, c.float("low", 0.0), c.float("high", 1.0)))
}
