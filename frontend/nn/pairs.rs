//! Squared error, divergences and other losses of two tensors of one shape; all are means over everything.

use super::loss::averaged;
use crate::dispatch::{enter, refuse};
use crate::error::{Code, Error};
use crate::tensor::Tensor;

/// An error value if a parameter is not as it must be.
fn positive(name: &'static str, parameter: &str, value: f64, operands: &[&Tensor]) -> Option<Tensor> {
    (value.is_nan() || value <= 0.0).then(|| {
        let rule = format!("{parameter} is {value}");
        refuse(Error::new(Code::Argument, name, rule, "a number above 0"), operands)
    })
}

/// The mean of the squared differences of tensors of one shape.
///
/// ```
/// use tracewright::{Tensor, nn};
/// let loss = nn::mse_loss(&Tensor::from([1.0f32, 2.0]), &Tensor::from([1.0f32, 4.0]));
/// assert_eq!(loss.item::<f32>()?, 2.0);
/// # Ok::<(), tracewright::Error>(())
/// ```
#[track_caller]
pub fn mse_loss(x: &Tensor, y: &Tensor) -> Tensor {
    averaged("mse_loss", &[x, y], &[], &|t| (&t[0] - &t[1]).square())
}

/// The mean of the absolute differences of tensors of one shape; the gradient of a difference of 0 is 0.
///
/// ```
/// use tracewright::{Tensor, nn};
/// let loss = nn::l1_loss(&Tensor::from([1.0f32, 2.0]), &Tensor::from([1.0f32, 5.0]));
/// assert_eq!(loss.item::<f32>()?, 1.5);
/// # Ok::<(), tracewright::Error>(())
/// ```
#[track_caller]
pub fn l1_loss(x: &Tensor, y: &Tensor) -> Tensor {
    averaged("l1_loss", &[x, y], &[], &|t| (&t[0] - &t[1]).abs())
}

/// The mean over the differences `d` of `d² / (2 beta)` where `|d|` is below `beta`, else `|d| - beta / 2`.
///
/// ```
/// use tracewright::{Tensor, nn};
/// let loss = nn::smooth_l1_loss(&Tensor::from([1.0f32, 2.0]), &Tensor::from([0.0f32, 6.0]), 2.0);
/// assert_eq!(loss.item::<f32>()?, (0.25 + 3.0) / 2.0);
/// # Ok::<(), tracewright::Error>(())
/// ```
///
/// # Errors
/// If `beta` is not above 0.
#[track_caller]
pub fn smooth_l1_loss(x: &Tensor, y: &Tensor, beta: f64) -> Tensor {
    let _here = enter();
    positive("smooth_l1_loss", "beta", beta, &[x, y]).unwrap_or_else(|| {
        averaged("smooth_l1_loss", &[x, y], &[beta], &|t| {
            let d = (&t[0] - &t[1]).abs();
            d.lt(beta).where_(d.square() * (0.5 / beta), &d - 0.5 * beta)
        })
    })
}

/// The mean over the differences `d` of `d² / 2` where `|d|` is below `delta`, else `delta (|d| - delta / 2)`.
///
/// ```
/// use tracewright::{Tensor, nn};
/// let loss = nn::huber_loss(&Tensor::from([1.0f32, 2.0]), &Tensor::from([0.0f32, 6.0]), 2.0);
/// assert_eq!(loss.item::<f32>()?, (0.5 + 6.0) / 2.0);
/// # Ok::<(), tracewright::Error>(())
/// ```
///
/// # Errors
/// If `delta` is not above 0.
#[track_caller]
pub fn huber_loss(x: &Tensor, y: &Tensor, delta: f64) -> Tensor {
    let _here = enter();
    positive("huber_loss", "delta", delta, &[x, y]).unwrap_or_else(|| {
        averaged("huber_loss", &[x, y], &[delta], &|t| {
            let d = (&t[0] - &t[1]).abs();
            d.lt(delta).where_(d.square() * 0.5, (&d - 0.5 * delta) * delta)
        })
    })
}

/// The mean of `-(y log(p) + (1 - y) log(1 - p))` over probabilities and targets between 0 and 1. Logarithms are -100 at
/// least, as in PyTorch; [`binary_cross_entropy_with_logits`] needs no such bound.
///
/// ```
/// use tracewright::{Tensor, nn};
/// let loss = nn::binary_cross_entropy(&Tensor::from([0.5f32, 1.0]), &Tensor::from([1.0f32, 1.0]));
/// assert!((loss.item::<f32>()? - 2.0f32.ln() / 2.0).abs() < 1e-6);
/// # Ok::<(), tracewright::Error>(())
/// ```
#[track_caller]
pub fn binary_cross_entropy(probabilities: &Tensor, targets: &Tensor) -> Tensor {
    averaged("binary_cross_entropy", &[probabilities, targets], &[], &|t| {
        let [p, y] = [&t[0], &t[1]];
        // Where the bound holds, the slope of the logarithm is that of PyTorch's: 1e12 at most.
        let log = |p: &Tensor| {
            let small = p.lt(1e-12);
            small.where_(
                p.log().clamp_min(-100.0).stop_gradient() + (p - p.stop_gradient()) * 1e12,
                small.where_(1.0, p).log(),
            )
        };
        -(y * log(p) + (1.0 - y) * log(&(1.0 - p)))
    })
}

/// [`binary_cross_entropy`] of `sigmoid(logits)`, without overflow: the mean of `(1 - y) x - log(sigmoid(x))`.
///
/// ```
/// use tracewright::{Tensor, nn};
/// let loss = nn::binary_cross_entropy_with_logits(&Tensor::from([0.0f32, 200.0]), &Tensor::from([1.0f32, 1.0]));
/// assert!((loss.item::<f32>()? - 2.0f32.ln() / 2.0).abs() < 1e-6);
/// # Ok::<(), tracewright::Error>(())
/// ```
#[track_caller]
pub fn binary_cross_entropy_with_logits(logits: &Tensor, targets: &Tensor) -> Tensor {
    averaged("binary_cross_entropy_with_logits", &[logits, targets], &[], &|t| {
        (1.0 - &t[1]) * &t[0] - t[0].log_sigmoid()
    })
}

/// The mean of `y (log(y) - x)` over targets `y` and log-probabilities `x`, 0 where `y` is 0.
///
/// ```
/// use tracewright::{Tensor, nn};
/// let loss = nn::kl_div(&Tensor::from([-1.0f32, -2.0]), &Tensor::from([1.0f32, 0.0]));
/// assert_eq!(loss.item::<f32>()?, 0.5);
/// # Ok::<(), tracewright::Error>(())
/// ```
#[track_caller]
pub fn kl_div(log_probabilities: &Tensor, targets: &Tensor) -> Tensor {
    averaged("kl_div", &[log_probabilities, targets], &[], &|t| t[1].xlogy(&t[1]) - &t[1] * &t[0])
}

/// The mean of `exp(x) - y x` over logarithms of rates `x` and counts `y`.
///
/// ```
/// use tracewright::{Tensor, nn};
/// let loss = nn::poisson_nll_loss(&Tensor::from([0.0f32, 0.0]), &Tensor::from([3.0f32, 4.0]));
/// assert_eq!(loss.item::<f32>()?, 1.0);
/// # Ok::<(), tracewright::Error>(())
/// ```
#[track_caller]
pub fn poisson_nll_loss(log_rates: &Tensor, counts: &Tensor) -> Tensor {
    averaged("poisson_nll_loss", &[log_rates, counts], &[], &|t| t[0].exp() - &t[1] * &t[0])
}

/// The mean of `(log(v) + (x - y)² / v) / 2` over means `x`, observations `y` and variances `v`, which count as `eps` at
/// least; the gradient by a smaller one is that at `eps`, as in PyTorch, which has 1e-6 for `eps`.
///
/// ```
/// use tracewright::{Tensor, nn};
/// let [x, y, v] = [0.0f32, 2.0, 1.0].map(|x| Tensor::from([x]));
/// assert_eq!(nn::gaussian_nll_loss(&x, &y, &v, 1e-6).item::<f32>()?, 2.0);
/// # Ok::<(), tracewright::Error>(())
/// ```
#[track_caller]
pub fn gaussian_nll_loss(means: &Tensor, observations: &Tensor, variances: &Tensor, eps: f64) -> Tensor {
    averaged("gaussian_nll_loss", &[means, observations, variances], &[eps], &|t| {
        let v = &t[2] + (t[2].clamp_min(eps) - &t[2]).stop_gradient();
        (v.log() + (&t[0] - &t[1]).square() / &v) * 0.5
    })
}

/// The mean of `log(1 + exp(-y x))` over scores `x` and signs `y`, which are 1 or -1.
///
/// ```
/// use tracewright::{Tensor, nn};
/// let loss = nn::soft_margin_loss(&Tensor::from([0.0f32, 200.0]), &Tensor::from([1.0f32, 1.0]));
/// assert!((loss.item::<f32>()? - 2.0f32.ln() / 2.0).abs() < 1e-6);
/// # Ok::<(), tracewright::Error>(())
/// ```
#[track_caller]
pub fn soft_margin_loss(scores: &Tensor, signs: &Tensor) -> Tensor {
    averaged("soft_margin_loss", &[scores, signs], &[], &|t| (-(&t[1] * &t[0])).softplus())
}

/// The mean over distances `x` and signs `y` of `x` where `y` is 1, and of `max(0, margin - x)` where it is -1.
///
/// ```
/// use tracewright::{Tensor, nn};
/// let loss = nn::hinge_embedding_loss(&Tensor::from([2.0f32, 0.5]), &Tensor::from([1.0f32, -1.0]), 1.0);
/// assert_eq!(loss.item::<f32>()?, 1.25);
/// # Ok::<(), tracewright::Error>(())
/// ```
#[track_caller]
pub fn hinge_embedding_loss(distances: &Tensor, signs: &Tensor, margin: f64) -> Tensor {
    averaged("hinge_embedding_loss", &[distances, signs], &[margin], &|t| {
        let [x, y] = [&t[0], &t[1]];
        y.ne(1.0).where_((margin - x).relu(), 0.0) + y.ne(-1.0).where_(x, 0.0)
    })
}

/// The mean of `max(0, margin - y (x1 - x2))`: `x1` should be larger where `y` is 1, smaller where it is -1.
///
/// ```
/// use tracewright::{Tensor, nn};
/// let [a, b, y] = [1.0f32, 3.0, 1.0].map(|x| Tensor::from([x]));
/// assert_eq!(nn::margin_ranking_loss(&a, &b, &y, 0.5).item::<f32>()?, 2.5);
/// # Ok::<(), tracewright::Error>(())
/// ```
#[track_caller]
pub fn margin_ranking_loss(x1: &Tensor, x2: &Tensor, signs: &Tensor, margin: f64) -> Tensor {
    averaged("margin_ranking_loss", &[x1, x2, signs], &[margin], &|t| (margin - &t[2] * (&t[0] - &t[1])).relu())
}
