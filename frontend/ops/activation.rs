//! Activations and what goes with them; all are compositions.

use super::axes::{keepdims, resolve};
use super::broadcast::{Operands, pointwise};
use super::prim;
use crate::dispatch::{Call, Extents, refuse, run};
use crate::promote;
use crate::tensor::Tensor;
use crate::trace::record;
use ir::Axes;
use ir::ops::reduce::ReduceMax;
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

/// The largest element along an axis, which stays with extent 1; -inf where the axis is empty. No gradient flows
/// through it: what it shifts does not depend on the shift.
fn top(x: &Tensor, axis: isize) -> Tensor {
    record(ReduceMax { axes: Axes::from_slice(&[axis as usize]) }, &[x]).unsqueeze(axis).stop_gradient()
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
            body(&prim::cast(&t[0], promote::float(t[0].dtype())), axis)
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

    /// `log(sum(exp(x)))` along an axis, which falls away; without overflow.
    ///
    /// ```
    /// use tracewright::Tensor;
    /// assert_eq!(Tensor::from([1000.0f32, 0.0]).logsumexp(0).item::<f32>()?, 1000.0);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn logsumexp(&self, axis: isize) -> Tensor {
        self.along("logsumexp", axis, |x, axis| {
            let top = top(x, axis);
            // All -inf: the difference would be NaN.
            let finite = top.eq(f64::NEG_INFINITY).where_(0.0, &top);
            let sum = (x - &finite).exp().sum(keepdims(axis)).log();
            (sum + finite).squeeze(axis)
        })
    }
}
