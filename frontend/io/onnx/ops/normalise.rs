//! Normalisation.

use super::{Op, one};
use crate::io::onnx::evaluate::{Call, Out, Stop};
use crate::tensor::Tensor;
use crate::{DType, Dim, Shape, keepdims};

pub(super) const OPS: &[Op] = &[
    Op::new("BatchNormalization", &[1, 6, 7, 9, 14, 15], batch),
    Op::new("InstanceNormalization", &[1, 6, 22], |c| {
        let (x, scale, bias) = (c.tensor(0)?, c.tensor(1)?, c.tensor(2)?);
        let axes: Vec<isize> = (2..x.try_shape()?.rank() as isize).collect();
        let (y, ..) = standardised(&x, &axes, c.float("epsilon", 1e-5));
        one(y * channels(&scale, &x) + channels(&bias, &x))
    }),
    Op::new("GroupNormalization", &[18, 21], |c| {
        let (x, scale, bias) = (c.tensor(0)?, c.tensor(1)?, c.tensor(2)?);
        let ty = x.try_type()?;
        let groups = c.int("num_groups", 1);
        let split = (groups > 0 && ty.rank() > 1).then(|| ty.shape[1].exact_div(&Dim::from(groups))).flatten();
        let Some(each) = split else { return Err(c.fail(format!("{groups} groups"), "channels in groups")) };
        let grouped: Shape =
            [ty.shape[0].clone(), groups.into(), each].into_iter().chain(ty.shape[2..].iter().cloned()).collect();
        let axes: Vec<isize> = (2..=ty.rank() as isize).collect();
        let (y, ..) = standardised(&x.reshape(grouped), &axes, c.float("epsilon", 1e-5));
        if c.version() >= 21 {
            return one(y.reshape(ty.shape) * channels(&scale, &x) + channels(&bias, &x));
        }
        let of_group = |t: &Tensor| channels(t, &y);
        one((&y * of_group(&scale) + of_group(&bias)).reshape(ty.shape))
    }),
    Op::new("LayerNormalization", &[17], |c| {
        let (x, scale) = (c.tensor(0)?, c.tensor(1)?);
        let ty = x.try_type()?;
        let from = c.axis(c.int("axis", -1), ty.rank())?;
        let axes: Vec<isize> = (from as isize..ty.rank() as isize).collect();
        let wide = x.to_dtype(stash(c)?);
        let (y, mean, inverse) = standardised(&wide, &axes, c.float("epsilon", 1e-5));
        let mut y = y.to_dtype(ty.dtype) * scale;
        if let Some(bias) = c.maybe(2)? {
            y += bias;
        }
        Ok(vec![y.into(), mean.into(), inverse.into()])
    }),
    Op::new("RMSNormalization", &[23], |c| {
        let (x, scale) = (c.tensor(0)?, c.tensor(1)?);
        let ty = x.try_type()?;
        let from = c.axis(c.int("axis", -1), ty.rank())?;
        let axes: Vec<isize> = (from as isize..ty.rank() as isize).collect();
        let wide = x.to_dtype(stash(c)?);
        let scaled = &wide * (wide.square().mean(keepdims(axes.as_slice())) + c.float("epsilon", 1e-5)).rsqrt();
        one(scaled.to_dtype(ty.dtype) * scale)
    }),
    Op::new("MeanVarianceNormalization", &[9, 13], |c| {
        let x = c.tensor(0)?;
        let axes = c.axes(&c.list("axes").unwrap_or(vec![0, 2, 3]), x.try_shape()?.rank())?;
        let axes: Vec<isize> = axes.iter().map(|&a| a as isize).collect();
        let mean = x.mean(keepdims(axes.as_slice()));
        let spread = (x.square().mean(keepdims(axes.as_slice())) - mean.square()).sqrt();
        one((x - mean) / (spread + 1e-9))
    }),
    Op::new("LpNormalization", &[1, 22], |c| {
        let x = c.tensor(0)?;
        let axis = c.axis(c.int("axis", -1), x.try_shape()?.rank())? as isize;
        let norm = match c.int("p", 2) {
            1 => x.abs().sum(keepdims(axis)),
            2 => x.square().sum(keepdims(axis)).sqrt(),
            p => return Err(c.fail(format!("p is {p}"), "1 or 2")),
        };
        one(norm.eq(0.0).where_(0.0, x / &norm))
    }),
    Op::new("LRN", &[1, 13], |c| {
        let x = c.tensor(0)?;
        let shape = x.try_shape()?;
        let Ok(size) = usize::try_from(c.int("size", 1)) else {
            return Err(c.fail("the size is negative", "1 or more"));
        };
        if size == 0 || size > 1 << 16 || shape.rank() < 2 {
            return Err(c.fail(format!("the size is {size}"), "1 or more, and an axis of channels"));
        }
        let mut ends = vec![(0, 0); shape.rank()];
        ends[1] = ((size - 1) / 2, size / 2);
        let sum = x.square().pad(&ends, 0.0).unfold(1, size, 1).sum(-1);
        let scale = sum * (c.float("alpha", 1e-4) / size as f64) + c.float("bias", 1.0);
        one(x / scale.pow(c.float("beta", 0.75)))
    }),
];

/// The dtype that statistics are computed in.
fn stash(c: &Call) -> Result<DType, Stop> {
    let dtype = c.dtype("stash_type")?.unwrap_or(DType::F32);
    let x = c.tensor(0)?.try_type()?.dtype;
    Ok(if x == DType::F64 { x } else { dtype })
}

/// With mean 0 and variance 1 over axes; the mean, and the inverse of the deviation.
fn standardised(x: &Tensor, axes: &[isize], eps: f64) -> (Tensor, Tensor, Tensor) {
    let mean = x.mean(keepdims(axes));
    let centred = x - &mean;
    let inverse = (centred.square().mean(keepdims(axes)) + eps).rsqrt();
    (centred * &inverse, mean, inverse)
}

/// One number for each channel, beside a tensor whose axis 1 is that of channels.
fn channels(t: &Tensor, x: &Tensor) -> Tensor {
    if t.error_ref().is_some() || x.error_ref().is_some() {
        return t.clone();
    }
    let n = t.shape().first().cloned().unwrap_or(Dim::from(1));
    t.reshape(Shape::from_iter([n].into_iter().chain((2..x.rank()).map(|_| Dim::from(1)))))
}

fn batch(c: &Call) -> Out {
    let (x, scale, bias) = (c.tensor(0)?, c.tensor(1)?, c.tensor(2)?);
    let (mean, variance) = (c.tensor(3)?, c.tensor(4)?);
    let ty = x.try_type()?;
    let eps = c.float("epsilon", 1e-5);
    let normal = |mean: &Tensor, variance: &Tensor| {
        let centred = &x - channels(mean, &x).to_dtype(ty.dtype);
        let deviation = (channels(variance, &x) + eps).sqrt().to_dtype(ty.dtype);
        centred / deviation * channels(&scale, &x) + channels(&bias, &x)
    };
    if !c.flag("spatial", true) {
        return Err(c.fail("`spatial` is 0: each place of a channel has statistics of its own", "1"));
    }
    let training = match c.version() {
        14.. => c.flag("training_mode", false),
        7.. => c.wants(1),
        _ => !c.flag("is_test", false) && c.wants(1),
    };
    if !training {
        return one(normal(&mean, &variance).to_dtype(ty.dtype));
    }
    let axes: Vec<isize> = (0..ty.rank() as isize).filter(|&a| a != 1).collect();
    let own = x.to_dtype(mean.dtype());
    let (own_mean, own_variance) = (own.mean(axes.as_slice()), own.var(axes.as_slice(), 0));
    let momentum = c.float("momentum", 0.9);
    let running = |old: &Tensor, new: &Tensor| old * momentum + new * (1.0 - momentum);
    let y = normal(&own_mean, &own_variance).to_dtype(ty.dtype);
    Ok(vec![y.into(), running(&mean, &own_mean).into(), running(&variance, &own_variance).into()])
}
