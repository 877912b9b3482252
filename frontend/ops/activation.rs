//! Activations: relu, gelu, softmax and the like; all are compositions.

use super::arg::Arg;
use super::axes::{keepdims, resolve};
use super::broadcast::{Operands, pointwise};
use super::prim;
use crate::dispatch::{Call, Extents, enter, refuse, run, run_sized};
use crate::error::{Code, Error};
use crate::promote;
use crate::tensor::Tensor;
use crate::trace::record;
use ir::ops::reduce::ReduceMax;
use ir::{Axes, Dim, Shape};
use std::f64::consts::{FRAC_1_SQRT_2, PI};

macro_rules! activations {
    ($($(#[$doc:meta])* $method:ident => $body:expr;)*) => {
        impl Tensor { $(
            $(#[$doc])*
            #[track_caller]
            pub fn $method(&self) -> Tensor {
                let body: fn(&Tensor) -> Tensor = $body;
                pointwise(stringify!($method), true, Operands::Float, &[self.into()], &|t| body(&t[0]))
            }
        )* }
    };
}

activations! {
    /// `max(x, 0)`; its derivative at 0 is 0.
    ///
    /// ```
    /// use tracewright::Tensor;
    /// assert_eq!(Tensor::from([-1.0f32, 2.0]).relu().to_vec::<f32>()?, [0.0, 2.0]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    relu => |x| x.le(0.0).where_(0.0, x);
    /// Between 0 and 6; its derivative at both is 0.
    ///
    /// ```
    /// # use tracewright::Tensor;
    /// assert_eq!(Tensor::from([-1.0f32, 2.0, 9.0]).relu6().to_vec::<f32>()?, [0.0, 2.0, 6.0]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    relu6 => |x| between(x, 0.0, 6.0);
    /// Scaled exponential linear unit (Klambauer and others, "Self-Normalizing Neural Networks", 2017).
    ///
    /// ```
    /// # use tracewright::Tensor;
    /// assert_eq!(Tensor::from([0.0f32]).selu().to_vec::<f32>()?, [0.0]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    selu => |x| elu(x, &prim::full_like(x, SELU_ALPHA)) * SELU_SCALE;
    /// `x * tanh(softplus(x))`.
    ///
    /// ```
    /// # use tracewright::Tensor;
    /// assert_eq!(Tensor::from([0.0f32]).mish().to_vec::<f32>()?, [0.0]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    mish => |x| x * x.softplus().tanh();
    /// `x / (1 + |x|)`.
    ///
    /// ```
    /// # use tracewright::Tensor;
    /// assert_eq!(Tensor::from([1.0f32, -3.0]).softsign().to_vec::<f32>()?, [0.5, -0.75]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    softsign => |x| x / (x.abs() + 1.0);
    /// `relu6(x + 3) / 6`.
    ///
    /// ```
    /// # use tracewright::Tensor;
    /// assert_eq!(Tensor::from([-4.0f32, 0.0, 4.0]).hardsigmoid().to_vec::<f32>()?, [0.0, 0.5, 1.0]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    hardsigmoid => |x| between(&(x + 3.0), 0.0, 6.0) / 6.0;
    /// `x * relu6(x + 3) / 6`.
    ///
    /// ```
    /// # use tracewright::Tensor;
    /// assert_eq!(Tensor::from([-4.0f32, 0.0, 4.0]).hardswish().to_vec::<f32>()?, [0.0, 0.0, 4.0]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    hardswish => |x| x * between(&(x + 3.0), 0.0, 6.0) / 6.0;
    /// `log(sigmoid(x))`, without overflow.
    ///
    /// ```
    /// # use tracewright::Tensor;
    /// assert_eq!(Tensor::from([f32::INFINITY, -1000.0]).log_sigmoid().to_vec::<f32>()?, [0.0, -1000.0]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    log_sigmoid => |x| x.minimum(0.0) - (-x.abs()).exp().log1p();
    /// `x - tanh(x)`.
    ///
    /// ```
    /// # use tracewright::Tensor;
    /// assert_eq!(Tensor::from([0.0f32]).tanhshrink().to_vec::<f32>()?, [0.0]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    tanhshrink => |x| x - x.tanh();
    /// Gaussian error linear unit, `x * Φ(x)`, exact through `erf`.
    gelu => |x| x * 0.5 * ((x * FRAC_1_SQRT_2).erf() + 1.0);
    /// Gaussian error linear unit in its tanh approximation.
    gelu_tanh => |x| {
        let inner = (x + x * x * x * 0.044715) * (2.0 / PI).sqrt();
        x * 0.5 * (inner.tanh() + 1.0)
    };
    /// `x * sigmoid(x)`.
    silu => |x| x * x.sigmoid();
    /// `log(1 + exp(x))`, without overflow.
    softplus => |x| x.maximum(0.0) + (-x.abs()).exp().log1p();
}

/// The constants of [`Tensor::selu`].
const SELU_ALPHA: f64 = 1.6732632423543772;
const SELU_SCALE: f64 = 1.0507009873554805;

/// `x` above 0, else `alpha * (exp(x) - 1)`, on operands of one type. The exponential never overflows, so that no
/// derivative is NaN where it does not count.
fn elu(x: &Tensor, alpha: &Tensor) -> Tensor {
    let above = x.gt(0.0);
    above.where_(x, alpha * above.where_(0.0, x).expm1())
}

/// `x` between two numbers; at and beyond them the numbers, with derivative 0.
fn between(x: &Tensor, low: f64, high: f64) -> Tensor {
    x.le(low).where_(low, x.ge(high).where_(high, x))
}

/// The largest element along an axis, which stays with extent 1; -inf where the axis is empty. No gradient flows
/// through it: what it shifts does not depend on the shift.
fn top(x: &Tensor, axis: isize) -> Tensor {
    record(ReduceMax { axes: Axes::from_slice(&[axis as usize]), nonempty: false }, &[x])
        .unsqueeze(axis)
        .stop_gradient()
}

impl Tensor {
    #[track_caller]
    fn along(&self, name: &'static str, axis: isize, body: fn(&Tensor, isize) -> Tensor) -> Tensor {
        if self.error_ref().is_some() {
            return self.clone();
        }
        let axis = match resolve(axis, self.rank(), name) {
            Ok(a) => a as isize,
            Err(e) => return refuse(e, &[self]),
        };
        run(Call::composed(name, &[axis as i64], Extents::Symbolic), &[self], &|t| {
            let dtype = promote::float(t[0].dtype());
            // Rounded once, at the end.
            prim::cast(&body(&prim::cast(&t[0], dtype.accumulator()), axis), dtype)
        })
    }

    /// `exp(x) / sum(exp(x))` along an axis, without overflow.
    ///
    /// ```
    /// use tracewright::Tensor;
    /// assert_eq!(Tensor::from([[0.0f32, 0.0]]).softmax(-1).to_vec::<f32>()?, [0.5, 0.5]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn softmax(&self, axis: isize) -> Tensor {
        self.along("softmax", axis, |x, axis| {
            let e = (x - top(x, axis)).exp();
            &e / e.sum(keepdims(axis))
        })
    }

    /// The logarithm of [`Tensor::softmax`].
    ///
    /// ```
    /// use tracewright::Tensor;
    /// let y = Tensor::from([1000.0f32, 0.0]).log_softmax(0).to_vec::<f32>()?;
    /// assert_eq!(y, [0.0, -1000.0]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn log_softmax(&self, axis: isize) -> Tensor {
        self.along("log_softmax", axis, |x, axis| {
            let shifted = x - top(x, axis);
            &shifted - shifted.exp().sum(keepdims(axis)).log()
        })
    }

    /// `x` above 0, else `alpha * (exp(x) - 1)`.
    ///
    /// ```
    /// # use tracewright::Tensor;
    /// assert_eq!(Tensor::from([1.0f32, 0.0, f32::NEG_INFINITY]).elu(1.0).to_vec::<f32>()?, [1.0, 0.0, -1.0]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn elu(&self, alpha: impl Into<Arg>) -> Tensor {
        pointwise("elu", true, Operands::Float, &[self.into(), alpha.into()], &|t| elu(&t[0], &t[1]))
    }

    /// `x` above 0, else `alpha * (exp(x / alpha) - 1)`.
    ///
    /// ```
    /// # use tracewright::Tensor;
    /// assert_eq!(Tensor::from([1.0f32, 0.0, f32::NEG_INFINITY]).celu(2.0).to_vec::<f32>()?, [1.0, 0.0, -2.0]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn celu(&self, alpha: impl Into<Arg>) -> Tensor {
        pointwise("celu", true, Operands::Float, &[self.into(), alpha.into()], &|t| {
            elu(&(&t[0] / &t[1]), &prim::full_like(&t[0], 1.0)) * &t[1]
        })
    }

    /// `x` above 0, else `slope * x`.
    ///
    /// ```
    /// # use tracewright::Tensor;
    /// assert_eq!(Tensor::from([1.0f32, -2.0]).leaky_relu(0.25).to_vec::<f32>()?, [1.0, -0.5]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn leaky_relu(&self, slope: impl Into<Arg>) -> Tensor {
        pointwise("leaky_relu", true, Operands::Float, &[self.into(), slope.into()], &|t| {
            t[0].gt(0.0).where_(&t[0], &t[0] * &t[1])
        })
    }

    /// Brought into `low..=high`; its derivative at both is 0.
    ///
    /// ```
    /// # use tracewright::Tensor;
    /// assert_eq!(Tensor::from([-3.0f32, 0.5, 2.0]).hardtanh(-1.0, 1.0).to_vec::<f32>()?, [-1.0, 0.5, 1.0]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn hardtanh(&self, low: impl Into<Arg>, high: impl Into<Arg>) -> Tensor {
        pointwise("hardtanh", true, Operands::Float, &[self.into(), low.into(), high.into()], &|t| {
            t[0].le(&t[1]).where_(&t[1], t[0].ge(&t[2]).where_(&t[2], &t[0]))
        })
    }

    /// Towards 0 by `lambda`, and 0 on the way.
    ///
    /// ```
    /// # use tracewright::Tensor;
    /// assert_eq!(Tensor::from([-3.0f32, 0.5, 2.0]).softshrink(1.0).to_vec::<f32>()?, [-2.0, 0.0, 1.0]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn softshrink(&self, lambda: impl Into<Arg>) -> Tensor {
        pointwise("softshrink", true, Operands::Float, &[self.into(), lambda.into()], &|t| {
            let [x, by] = [&t[0], &t[1]];
            let low = x.lt(-by).where_(x + by, x * 0.0);
            x.gt(by).where_(x - by, low)
        })
    }

    /// 0 within ±`lambda`, else `x`.
    ///
    /// ```
    /// # use tracewright::Tensor;
    /// assert_eq!(Tensor::from([-3.0f32, 0.5, 2.0]).hardshrink(1.0).to_vec::<f32>()?, [-3.0, 0.0, 2.0]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn hardshrink(&self, lambda: impl Into<Arg>) -> Tensor {
        pointwise("hardshrink", true, Operands::Float, &[self.into(), lambda.into()], &|t| {
            t[0].abs().le(&t[1]).where_(0.0, &t[0])
        })
    }

    /// `x` above `threshold`, else `value`.
    ///
    /// ```
    /// # use tracewright::Tensor;
    /// assert_eq!(Tensor::from([-3.0f32, 0.5]).threshold(0.0, 9.0).to_vec::<f32>()?, [9.0, 0.5]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn threshold(&self, threshold: impl Into<Arg>, value: impl Into<Arg>) -> Tensor {
        pointwise("threshold", true, Operands::Float, &[self.into(), threshold.into(), value.into()], &|t| {
            t[0].le(&t[1]).where_(&t[2], &t[0])
        })
    }

    /// `log(1 + exp(beta * x)) / beta`; `x` itself where `beta * x` is above `threshold`.
    ///
    /// ```
    /// # use tracewright::Tensor;
    /// assert_eq!(Tensor::from([0.0f32, 30.0]).softplus_with(2.0, 20.0).to_vec::<f32>()?, [std::f32::consts::LN_2 / 2.0, 30.0]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn softplus_with(&self, beta: impl Into<Arg>, threshold: impl Into<Arg>) -> Tensor {
        pointwise("softplus_with", true, Operands::Float, &[self.into(), beta.into(), threshold.into()], &|t| {
            let scaled = &t[0] * &t[1];
            scaled.gt(&t[2]).where_(&t[0], scaled.softplus() / &t[1])
        })
    }

    /// [`Tensor::leaky_relu`] with one slope, or one for each channel: `weight` has rank 0, or rank 1 along axis 1.
    ///
    /// ```
    /// # use tracewright::Tensor;
    /// let y = Tensor::from([[-1.0f32, -1.0]]).prelu(&Tensor::from([0.5f32, 0.25]));
    /// assert_eq!(y.to_vec::<f32>()?, [-0.5, -0.25]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn prelu(&self, weight: &Tensor) -> Tensor {
        let _here = enter();
        if self.error_ref().is_some() || weight.error_ref().is_some() || weight.rank() != 1 || self.rank() < 2 {
            return self.leaky_relu(weight);
        }
        let mut shape = Shape::from_iter(std::iter::repeat_n(Dim::from(1), self.rank() - 1));
        shape[0] = weight.ty().shape[0].clone();
        self.leaky_relu(weight.reshape(shape))
    }

    /// [`Tensor::leaky_relu`] with the slope in the middle of `low..high`: what a randomised slope is in evaluation.
    ///
    /// ```
    /// # use tracewright::Tensor;
    /// assert_eq!(Tensor::from([-1.0f32, 2.0]).rrelu(0.25, 0.75).to_vec::<f32>()?, [-0.5, 2.0]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn rrelu(&self, low: f64, high: f64) -> Tensor {
        self.leaky_relu((low + high) / 2.0)
    }

    /// The first half along an axis times the sigmoid of the second.
    ///
    /// ```
    /// # use tracewright::Tensor;
    /// assert_eq!(Tensor::from([3.0f32, 0.0]).glu(-1).to_vec::<f32>()?, [1.5]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn glu(&self, axis: isize) -> Tensor {
        let _here = enter();
        if self.error_ref().is_some() {
            return self.clone();
        }
        let at = match resolve(axis, self.rank(), "glu") {
            Ok(at) => at,
            Err(e) => return refuse(e, &[self]),
        };
        let Some(half) = self.ty().shape[at].as_usize().filter(|n| n % 2 == 0).map(|n| n / 2) else {
            let rule = format!("axis {at} has extent {}", self.ty().shape[at]);
            return refuse(Error::new(Code::Shape, "glu", rule, "an even number"), &[self]);
        };
        run_sized(Call::composed("glu", &[at as i64], Extents::Symbolic), &[self], &[half.into()], &|t, half| {
            let x = prim::cast(&t[0], promote::float(t[0].dtype()));
            let part = |start: &Dim| prim::slice(&x, at, start, start + &half[0], 1);
            part(&Dim::from(0)) * part(&half[0]).sigmoid()
        })
    }

    /// [`Tensor::softmax`] of `-x`.
    ///
    /// ```
    /// # use tracewright::Tensor;
    /// assert_eq!(Tensor::from([0.0f32, 0.0]).softmin(0).to_vec::<f32>()?, [0.5, 0.5]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn softmin(&self, axis: isize) -> Tensor {
        (-self).softmax(axis)
    }
}
