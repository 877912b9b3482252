//! Activations.

use super::{Op, one};
use crate::io::onnx::evaluate::{Call, Out, Stop};
use crate::tensor::Tensor;
use crate::{DType, Shape};

pub(super) const OPS: &[Op] = &[
    Op::new("Relu", &[1, 6, 13, 14], |c| {
        let x = c.tensor(0)?;
        one(if x.dtype().is_float() { x.relu() } else { x.maximum(0) })
    }),
    Op::new("LeakyRelu", &[1, 6, 16], |c| one(c.tensor(0)?.leaky_relu(c.float("alpha", 0.01)))),
    Op::new("Elu", &[1, 6, 22], |c| one(c.tensor(0)?.elu(c.float("alpha", 1.0)))),
    Op::new("Celu", &[12], |c| {
        let (x, alpha) = (c.tensor(0)?, c.float("alpha", 1.0));
        one(x.maximum(0.0) + (((&x / alpha).exp() - 1.0) * alpha).minimum(0.0))
    }),
    Op::new("Selu", &[1, 6, 22], |c| {
        let x = c.tensor(0)?;
        let (alpha, gamma) = (c.float("alpha", 1.673_263_192_176_818_8), c.float("gamma", 1.050_701_022_148_132_3));
        one(x.le(0.0).where_((x.exp() - 1.0) * alpha, &x) * gamma)
    }),
    Op::new("Gelu", &[20], |c| {
        let x = c.tensor(0)?;
        one(if c.choice("approximate", &["none", "tanh"])? == "tanh" { x.gelu_tanh() } else { x.gelu() })
    }),
    Op::new("HardSigmoid", &[1, 6, 22], |c| {
        one((c.tensor(0)? * c.float("alpha", 0.2) + c.float("beta", 0.5)).clamp(0.0, 1.0))
    }),
    Op::new("HardSwish", &[14, 22], |c| {
        let x = c.tensor(0)?;
        one(&x * (&x * (1.0 / 6.0) + 0.5).clamp(0.0, 1.0))
    }),
    Op::new("Mish", &[18, 22], |c| one(c.tensor(0)?.mish())),
    Op::new("Softplus", &[1, 22], |c| one(c.tensor(0)?.softplus())),
    Op::new("Softsign", &[1, 22], |c| one(c.tensor(0)?.softsign())),
    Op::new("ThresholdedRelu", &[10, 22], |c| {
        let x = c.tensor(0)?;
        one(x.gt(c.float("alpha", 1.0)).where_(&x, 0.0))
    }),
    Op::new("Shrink", &[9], |c| {
        let (x, bias, lambda) = (c.tensor(0)?, c.float("bias", 0.0), c.float("lambd", 0.5));
        let dtype = x.dtype();
        let inner = x.gt(lambda).where_(&x - bias, &x * 0.0);
        one(x.lt(-lambda).where_(&x + bias, inner).to_dtype(dtype))
    }),
    Op::new("PRelu", &[1, 6, 7, 9, 16], |c| {
        let (x, mut slope) = (c.tensor(0)?, c.tensor(1)?);
        if c.version() < 7 && slope.try_shape()?.rank() == 1 && x.try_shape()?.rank() > 1 {
            // One for each channel.
            let n = slope.shape()[0].clone();
            slope = slope.reshape(Shape::from_iter([n].into_iter().chain((2..x.rank()).map(|_| 1.into()))));
        }
        one(x.lt(0).where_(&x * slope, &x))
    }),
    Op::new("Softmax", &[1, 11, 13], |c| along(c, |x, axis| x.softmax(axis))),
    Op::new("LogSoftmax", &[1, 11, 13], |c| along(c, |x, axis| x.log_softmax(axis))),
    Op::new("Hardmax", &[1, 11, 13], |c| {
        along(c, |x, axis| {
            let at = axis.rem_euclid(x.rank() as isize) as usize;
            let n = x.shape()[at].clone();
            let dtype = x.dtype();
            let shape: Shape = (0..x.rank()).map(|a| if a == at { n.clone() } else { 1.into() }).collect();
            let largest = x.argmax(axis).unsqueeze(axis);
            Tensor::iota(shape, at, DType::I64).eq(largest).to_dtype(dtype)
        })
    }),
    Op::new("Clip", &[1, 6, 11, 12, 13], |c| {
        let mut x = c.tensor(0)?;
        if c.version() < 11 {
            return one(x.clamp(c.float("min", f32::MIN as f64), c.float("max", f32::MAX as f64)));
        }
        if let Some(low) = c.maybe(1)? {
            x = x.maximum(low);
        }
        if let Some(high) = c.maybe(2)? {
            x = x.minimum(high);
        }
        one(x)
    }),
];

/// Along an axis; in early versions along all axes from one on.
fn along(c: &Call, f: impl Fn(&Tensor, isize) -> Tensor) -> Out {
    let x = c.tensor(0)?;
    let shape = x.try_shape()?;
    if shape.rank() == 0 {
        return Err(Stop::from(crate::io::onnx::value::refuse(crate::Code::Rank, "the tensor is a scalar", "an axis")));
    }
    if c.version() >= 13 {
        let axis = c.axis(c.int("axis", -1), shape.rank())?;
        return one(f(&x, axis as isize));
    }
    let axis = c.axis(c.int("axis", 1), shape.rank())?;
    let product = |dims: &[crate::Dim]| dims.iter().fold(crate::Dim::from(1), |n, d| n * d);
    let flat = Shape::from_iter([product(&shape[..axis]), product(&shape[axis..])]);
    one(f(&x.reshape(flat), -1).reshape(shape))
}
