//! Layer norm, batch norm and other normalisation. Channels are axis 1, as in PyTorch.

use super::loss::bits;
use crate::dispatch::{Call, Extents, checked, run};
use crate::error::{Code, Error, Result};
use crate::ops::{keepdims, prim};
use crate::promote;
use crate::tensor::Tensor;
use ir::{Dim, Shape};

/// A tensor of rank 2 at least with scale and shift for each channel, where there are any.
fn check(name: &'static str, x: &Tensor, parameters: &[Option<&Tensor>]) -> Result<()> {
    let shape = x.shape();
    if shape.rank() < 2 {
        let rule = format!("the tensor has rank {}", shape.rank());
        return Err(Error::new(Code::Rank, name, rule, "[n, channels, ..]"));
    }
    match parameters.iter().flatten().find(|p| p.shape()[..] != shape[1..2]) {
        Some(p) => {
            let rule = format!("{} channels and a parameter of shape {}", shape[1], p.shape());
            Err(Error::new(Code::Shape, name, rule, "one element for each channel"))
        }
        None => Ok(()),
    }
}

/// Runs a body on a tensor and its parameters, which are brought to `[channels, 1, ..]`, in the dtype that accumulates; what
/// it gives is rounded once.
#[track_caller]
fn per_channel(
    name: &'static str,
    x: &Tensor,
    parameters: &[Option<&Tensor>],
    attributes: &[i64],
    extents: Extents,
    body: &dyn Fn(&Tensor, &[Option<Tensor>]) -> Tensor,
) -> Tensor {
    let operands: Vec<&Tensor> = std::iter::once(x).chain(parameters.iter().copied().flatten()).collect();
    let there = |i: usize| parameters[i].is_some() as i64;
    let attributes: Vec<i64> = attributes.iter().copied().chain((0..parameters.len()).map(there)).collect();
    checked(&operands, || {
        check(name, x, parameters)?;
        Ok(run(Call::composed(name, &attributes, extents), &operands, &|t| {
            let dtype = promote::float(t.iter().map(Tensor::dtype).reduce(promote::promote).expect("a tensor"));
            let mut wide = t.iter().map(|t| prim::cast(t, dtype.accumulator()));
            let x = wide.next().expect("a tensor");
            let column: Shape =
                (1..x.rank()).map(|a| if a == 1 { x.ty().shape[1].clone() } else { Dim::from(1) }).collect();
            let given = parameters.iter().map(|p| p.and_then(|_| wide.next()).map(|p| prim::reshape(&p, &column)));
            prim::cast(&body(&x, &given.collect::<Vec<_>>()), dtype)
        }))
    })
}

fn scaled(x: Tensor, weight: &Option<Tensor>, bias: &Option<Tensor>) -> Tensor {
    let x = match weight {
        Some(w) => x * w,
        None => x,
    };
    match bias {
        Some(b) => x + b,
        None => x,
    }
}

/// To mean 0 and variance 1 over axes.
fn standard(x: &Tensor, axes: &[isize], eps: f64) -> Tensor {
    let centred = x - x.mean(keepdims(axes));
    let variance = centred.square().mean(keepdims(axes));
    centred * (variance + eps).rsqrt()
}

/// Divides by the root of the mean of the squares over the last axes, which are those of `weight`, and multiplies with it.
///
/// ```
/// use tracewright::{Tensor, nn};
/// let y = nn::rms_norm(&Tensor::from([3.0f32, 4.0]), &Tensor::from([1.0f32, 2.0]), 0.0).to_vec::<f32>()?;
/// assert!((y[0] - 3.0 / 12.5f32.sqrt()).abs() < 1e-6 && (y[1] - 8.0 / 12.5f32.sqrt()).abs() < 1e-6);
/// # Ok::<(), tracewright::Error>(())
/// ```
#[track_caller]
pub fn rms_norm(x: &Tensor, weight: &Tensor, eps: f64) -> Tensor {
    let operands = [x, weight];
    checked(&operands, || {
        let (a, w) = (x.shape(), weight.shape());
        if w.rank() == 0 || a.rank() < w.rank() || a[a.rank() - w.rank()..] != w[..] {
            let rule = format!("the last axes of {a} are not those of the weight, {w}");
            return Err(Error::new(Code::Shape, "rms_norm", rule, "the last axes are those of the weight"));
        }
        let axes: Vec<isize> = (1..=w.rank() as isize).map(|i| -i).collect();
        Ok(run(Call::composed("rms_norm", &bits(&[eps]), Extents::Symbolic), &operands, &|t| {
            let dtype = promote::float(promote::promote(t[0].dtype(), t[1].dtype()));
            let [x, weight] = [0, 1].map(|i| prim::cast(&t[i], dtype.accumulator()));
            let mean = x.square().mean(keepdims(axes.as_slice()));
            prim::cast(&(&x * (mean + eps).rsqrt() * weight), dtype)
        }))
    })
}

/// Brings each of `groups` groups of channels of each sample to mean 0 and variance 1, then scales and shifts each channel.
///
/// ```
/// use tracewright::{Tensor, nn};
/// let y = nn::group_norm(&Tensor::from([[3.0f32, 5.0, 1.0, 1.0]]), 2, None, None, 1e-5).to_vec::<f32>()?;
/// assert!((y[0] + 1.0).abs() < 1e-4 && (y[1] - 1.0).abs() < 1e-4 && y[2] == 0.0);
/// # Ok::<(), tracewright::Error>(())
/// ```
///
/// # Errors
/// If the groups are not of equal size.
#[track_caller]
pub fn group_norm(x: &Tensor, groups: usize, weight: Option<&Tensor>, bias: Option<&Tensor>, eps: f64) -> Tensor {
    let operands: Vec<&Tensor> = std::iter::once(x).chain(weight).chain(bias).collect();
    checked(&operands, || {
        check("group_norm", x, &[weight, bias])?;
        let channels = x.shape()[1].clone();
        let Some(size) = channels.as_usize().filter(|c| groups > 0 && c % groups == 0).map(|c| c / groups) else {
            let rule = format!("{channels} channels and {groups} groups");
            return Err(Error::new(Code::Shape, "group_norm", rule, "a number of channels that the groups divide"));
        };
        let attributes = [bits(&[eps])[0], groups as i64];
        Ok(per_channel("group_norm", x, &[weight, bias], &attributes, Extents::Exact, &|x, parameters| {
            let shape = x.ty().shape;
            let mut split = shape.clone();
            split[1] = Dim::from(size);
            split.insert(1, Dim::from(groups));
            let axes: Vec<isize> = (2..split.rank() as isize).collect();
            let grouped = standard(&prim::reshape(x, &split), &axes, eps);
            scaled(prim::reshape(&grouped, &shape), &parameters[0], &parameters[1])
        }))
    })
}

/// Brings each channel of each sample to mean 0 and variance 1, then scales and shifts it.
///
/// ```
/// use tracewright::{Tensor, nn};
/// let y = nn::instance_norm(&Tensor::from([[[3.0f32, 5.0]]]), None, None, 1e-5).to_vec::<f32>()?;
/// assert!((y[0] + 1.0).abs() < 1e-4 && (y[1] - 1.0).abs() < 1e-4);
/// # Ok::<(), tracewright::Error>(())
/// ```
///
/// # Errors
/// If there is no axis behind the channels.
#[track_caller]
pub fn instance_norm(x: &Tensor, weight: Option<&Tensor>, bias: Option<&Tensor>, eps: f64) -> Tensor {
    let operands: Vec<&Tensor> = std::iter::once(x).chain(weight).chain(bias).collect();
    checked(&operands, || {
        if x.rank() < 3 {
            let rule = format!("the tensor has rank {}", x.rank());
            return Err(Error::new(Code::Rank, "instance_norm", rule, "[n, channels, ..] with an axis behind"));
        }
        let parameters = [weight, bias];
        Ok(per_channel("instance_norm", x, &parameters, &bits(&[eps]), Extents::Symbolic, &|x, parameters| {
            let axes: Vec<isize> = (2..x.rank() as isize).collect();
            scaled(standard(x, &axes, eps), &parameters[0], &parameters[1])
        }))
    })
}

/// Takes a mean from each channel and divides by the root of a variance, then scales and shifts: what a layer of batch
/// normalisation is once it has been trained.
///
/// ```
/// use tracewright::{Tensor, nn};
/// let (x, mean, variance) = (Tensor::from([[3.0f32, 5.0]]), Tensor::from([1.0f32, 1.0]), Tensor::from([4.0f32, 16.0]));
/// assert_eq!(nn::batch_norm(&x, &mean, &variance, None, None, 0.0).to_vec::<f32>()?, [1.0, 1.0]);
/// # Ok::<(), tracewright::Error>(())
/// ```
#[track_caller]
pub fn batch_norm(
    x: &Tensor,
    mean: &Tensor,
    variance: &Tensor,
    weight: Option<&Tensor>,
    bias: Option<&Tensor>,
    eps: f64,
) -> Tensor {
    let parameters = [Some(mean), Some(variance), weight, bias];
    per_channel("batch_norm", x, &parameters, &bits(&[eps]), Extents::Symbolic, &|x, parameters| {
        let [mean, variance] = [0, 1].map(|i| parameters[i].as_ref().expect("it is given"));
        scaled((x - mean) * (variance + eps).rsqrt(), &parameters[2], &parameters[3])
    })
}

/// Divides each element by `(k + alpha m)^beta`, with the mean `m` of the squares of `size` neighbouring channels, zeros
/// beyond the ends (Krizhevsky, Sutskever and Hinton, 2012).
///
/// ```
/// use tracewright::{Tensor, nn};
/// let y = nn::local_response_norm(&Tensor::from([[[2.0f32], [0.0]]]), 2, 2.0, 1.0, 1.0);
/// assert_eq!(y.to_vec::<f32>()?, [0.4, 0.0]);
/// # Ok::<(), tracewright::Error>(())
/// ```
///
/// # Errors
/// If `size` is 0.
#[track_caller]
pub fn local_response_norm(x: &Tensor, size: usize, alpha: f64, beta: f64, k: f64) -> Tensor {
    checked(&[x], || {
        if size == 0 {
            return Err(Error::new(Code::Argument, "local_response_norm", "the size is 0", "one channel at least"));
        }
        let mut attributes = bits(&[alpha, beta, k]);
        attributes.push(size as i64);
        Ok(per_channel("local_response_norm", x, &[], &attributes, Extents::Symbolic, &|x, _| {
            let ends: Vec<(usize, usize)> =
                (0..x.rank()).map(|a| if a == 1 { (size / 2, (size - 1) / 2) } else { (0, 0) }).collect();
            let means = x.square().pad(&ends, 0.0).unfold(1, size, 1).mean(-1);
            x / (means * alpha + k).pow(beta)
        }))
    })
}
