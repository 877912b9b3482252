//! Layers.

use super::init::kaiming_uniform;
use crate::dispatch::{Call, Extents, checked, enter, refuse, run};
use crate::error::{Code, Error};
use crate::ops::{einsum, keepdims, prim};
use crate::promote::promote;
use crate::random::Generator;
use crate::tensor::Tensor;
use crate::trace::record;
use crate::tree::Tree;
use ir::ops::contract::DotGeneral;
use ir::{Axes, DType};

/// `x · weightᵀ + bias` along the last axis; `weight` has shape `[outputs, inputs]`.
///
/// ```
/// use tracewright::{Tensor, nn};
/// let (x, w) = (Tensor::from([[1.0f32, 2.0]]), Tensor::from([[3.0f32, 4.0]]));
/// let y = nn::linear(&x, &w, Some(&Tensor::from([0.5f32])));
/// assert_eq!(y.to_vec::<f32>()?, [11.5]);
/// # Ok::<(), tracewright::Error>(())
/// ```
#[track_caller]
pub fn linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Tensor {
    let _here = enter();
    let operands: Vec<&Tensor> = [x, weight].into_iter().chain(bias).collect();
    if let Some(t) = operands.iter().find(|t| t.error_ref().is_some()) {
        return (*t).clone();
    }
    let (a, w) = (x.shape(), weight.shape());
    if a.rank() == 0 || w.rank() != 2 || bias.is_some_and(|b| b.rank() != 1) {
        let legal = "an input of rank 1 or more, a weight of rank 2, a bias of rank 1";
        return refuse(Error::new(Code::Rank, "linear", "the ranks do not fit", legal), &operands);
    }
    if a[a.rank() - 1] != w[1] {
        let rule = format!("the last axis of the input has extent {}, the weight takes {}", a[a.rank() - 1], w[1]);
        return refuse(Error::new(Code::Shape, "linear", rule, "both are equal"), &operands);
    }
    if let Some(b) = bias
        && b.shape()[0] != w[0]
    {
        let rule = format!("the bias has extent {}, the weight gives {}", b.shape()[0], w[0]);
        return refuse(Error::new(Code::Shape, "linear", rule, "both are equal"), &operands);
    }
    run(Call::composed("linear", &[], Extents::Symbolic), &operands, &|t| {
        let dtype = t.iter().map(Tensor::dtype).reduce(promote).unwrap_or(DType::F32);
        let last = t[0].rank() - 1;
        let product = DotGeneral {
            lhs_batch: Axes::new(),
            rhs_batch: Axes::new(),
            lhs_contract: Axes::from_slice(&[last]),
            rhs_contract: Axes::from_slice(&[1]),
        };
        let y = record(product, &[&prim::cast(&t[0], dtype), &prim::cast(&t[1], dtype)]);
        match t.get(2) {
            Some(b) => y + b,
            None => y,
        }
    })
}

/// `x1ᵀ · weight[o] · x2 + bias[o]` for each output `o`, of vectors along the last axes; `weight` has shape
/// `[outputs, inputs1, inputs2]`.
///
/// ```
/// use tracewright::{Tensor, nn};
/// let (x, y) = (Tensor::from([[1.0f32, 2.0]]), Tensor::from([[3.0f32]]));
/// let z = nn::bilinear(&x, &y, &Tensor::from([[[1.0f32], [10.0]]]), Some(&Tensor::from([0.5f32])));
/// assert_eq!(z.to_vec::<f32>()?, [63.5]);
/// # Ok::<(), tracewright::Error>(())
/// ```
#[track_caller]
pub fn bilinear(x1: &Tensor, x2: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Tensor {
    let operands: Vec<&Tensor> = [x1, x2, weight].into_iter().chain(bias).collect();
    checked(&operands, || {
        let (a, b, w) = (x1.shape(), x2.shape(), weight.shape());
        let lasts = [a.last(), b.last(), w.get(1), w.get(2)];
        let fits = w.rank() == 3 && lasts[0].is_some() && lasts[..2] == lasts[2..];
        if !fits || bias.is_some_and(|b| b.shape()[..] != w[..1]) {
            let rule = format!("inputs of shapes {a} and {b}, a weight of shape {w}");
            let legal = "[.., i], [.., j], [outputs, i, j] and a bias [outputs]";
            return Err(Error::new(Code::Shape, "bilinear", rule, legal));
        }
        let y = einsum("...i,oij,...j->...o", &[x1, weight, x2]);
        Ok(match bias {
            Some(b) => y + b,
            None => y,
        })
    })
}

/// A fully connected layer.
///
/// ```
/// use tracewright::{DType, Generator, Tensor, nn};
/// let layer = nn::Linear::new(3, 2, &Generator::new(0));
/// let y = layer.forward(&Tensor::ones([4, 3], DType::F32));
/// assert_eq!(y.try_shape()?.to_string(), "[4, 2]");
/// # Ok::<(), tracewright::Error>(())
/// ```
#[derive(Tree, Clone, Debug)]
pub struct Linear {
    /// Shape `[outputs, inputs]`.
    pub weight: Tensor,
    /// Shape `[outputs]`.
    pub bias: Option<Tensor>,
}

impl Linear {
    /// With a bias; weight and bias are uniform in ±`1 / sqrt(inputs)`, as PyTorch has it.
    #[track_caller]
    pub fn new(inputs: usize, outputs: usize, generator: &Generator) -> Linear {
        let bound = 1.0 / (inputs.max(1) as f32).sqrt();
        let weight = kaiming_uniform([outputs, inputs], (1.0f32 / 3.0).sqrt(), generator);
        Linear { weight, bias: Some(generator.uniform([outputs], -bound, bound)) }
    }

    /// The layer applied to the last axis of `x`.
    #[track_caller]
    pub fn forward(&self, x: &Tensor) -> Tensor {
        linear(x, &self.weight, self.bias.as_ref())
    }
}

/// Brings the last axes to mean 0 and variance 1, then scales and shifts them.
///
/// ```
/// use tracewright::{Tensor, nn};
/// let norm = nn::LayerNorm::new(2);
/// let y = norm.forward(&Tensor::from([[3.0f32, 5.0]])).to_vec::<f32>()?;
/// assert!((y[0] + 1.0).abs() < 1e-4 && (y[1] - 1.0).abs() < 1e-4);
/// # Ok::<(), tracewright::Error>(())
/// ```
#[derive(Tree, Clone, Debug)]
pub struct LayerNorm {
    /// The scale; its shape is that of the normalised axes.
    pub weight: Tensor,
    /// The shift.
    pub bias: Tensor,
    /// Added to the variance.
    pub eps: f64,
}

impl LayerNorm {
    /// Over the last axis, of extent `features`.
    #[track_caller]
    pub fn new(features: usize) -> LayerNorm {
        LayerNorm {
            weight: Tensor::ones([features], DType::F32),
            bias: Tensor::zeros([features], DType::F32),
            eps: 1e-5,
        }
    }

    /// The layer applied to `x`.
    #[track_caller]
    pub fn forward(&self, x: &Tensor) -> Tensor {
        let _here = enter();
        let operands = [x, &self.weight, &self.bias];
        if let Some(t) = operands.into_iter().find(|t| t.error_ref().is_some()) {
            return t.clone();
        }
        let (a, w) = (x.shape(), self.weight.shape());
        if w.rank() == 0 || a.rank() < w.rank() || a[a.rank() - w.rank()..] != w[..] || self.bias.shape() != w {
            let rule = format!("the last axes of {a} are not those of the weight, {w}");
            let e = Error::new(Code::Shape, "layer_norm", rule, "the last axes are those of weight and bias");
            return refuse(e, &operands);
        }
        let axes: Vec<isize> = (1..=w.rank() as isize).map(|i| -i).collect();
        let eps = self.eps;
        run(Call::composed("layer_norm", &[eps.to_bits() as i64], Extents::Symbolic), &operands, &|t| {
            let dtype = t[1..].iter().fold(t[0].dtype(), |d, w| promote(d, w.dtype()));
            // Rounded once, at the end.
            let [x, weight, bias] = [0, 1, 2].map(|i| prim::cast(&t[i], dtype.accumulator()));
            let centred = &x - x.mean(keepdims(axes.as_slice()));
            let variance = centred.square().mean(keepdims(axes.as_slice()));
            prim::cast(&(centred * (variance + eps).rsqrt() * weight + bias), dtype)
        })
    }
}

/// A table of vectors, read by index.
///
/// ```
/// use tracewright::{Generator, Tensor, nn};
/// let table = nn::Embedding::new(10, 4, &Generator::new(0));
/// let vectors = table.forward(&Tensor::from([[1i64, 9], [0, 1]]));
/// assert_eq!(vectors.try_shape()?.to_string(), "[2, 2, 4]");
/// # Ok::<(), tracewright::Error>(())
/// ```
#[derive(Tree, Clone, Debug)]
pub struct Embedding {
    /// Shape `[entries, features]`.
    pub weight: Tensor,
}

impl Embedding {
    /// With normal entries.
    #[track_caller]
    pub fn new(entries: usize, features: usize, generator: &Generator) -> Embedding {
        Embedding { weight: generator.normal([entries, features], 0.0, 1.0) }
    }

    /// The vectors at `indices`, along a new last axis. An index out of range is an error of the call.
    #[track_caller]
    pub fn forward(&self, indices: &Tensor) -> Tensor {
        self.weight.take(indices, 0)
    }
}
