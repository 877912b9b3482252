//! Windows for signals, such as Hann's: vectors that are largest in the middle.
//!
//! A `periodic` window is one period of a longer one, as the analysis of spectra takes it; the others are symmetric.

use crate::create::sequence;
use crate::dispatch::{enter, refuse};
use crate::error::{Code, Error};
use crate::tensor::Tensor;
use ir::DType;
use std::f64::consts::{PI, TAU};

/// A window of `n` elements from its value at `i` of `last + 1` places.
#[track_caller]
fn window(name: &'static str, n: usize, periodic: bool, dtype: DType, f: &dyn Fn(f64, f64) -> f64) -> Tensor {
    let _here = enter();
    if !dtype.is_float() {
        let rule = format!("the dtype is {dtype}");
        return refuse(Error::new(Code::DType, name, rule, "a float dtype"), &[]);
    }
    let last = if periodic { n as f64 } else { n.saturating_sub(1) as f64 };
    let value = |i: usize| if n == 1 { 1.0 } else { f(i as f64, last) };
    sequence(name, n, dtype, value)
}

/// The sum over `i` of `(-1)^i weights[i] cos(2π i x)`, with `x` from 0 to 1.
///
/// ```
/// use tracewright::{DType, signal};
/// assert_eq!(signal::general_cosine(3, &[0.75, 0.25], false, DType::F32).to_vec::<f32>()?, [0.5, 1.0, 0.5]);
/// # Ok::<(), tracewright::Error>(())
/// ```
#[track_caller]
pub fn general_cosine(n: usize, weights: &[f64], periodic: bool, dtype: DType) -> Tensor {
    window("general_cosine", n, periodic, dtype, &|i, last| cosines(weights, i / last))
}

fn cosines(weights: &[f64], x: f64) -> f64 {
    let term = |(k, w): (usize, &f64)| if k % 2 == 0 { *w } else { -w } * (TAU * k as f64 * x).cos();
    weights.iter().enumerate().map(term).sum()
}

macro_rules! cosine_windows {
    ($($(#[$doc:meta])* $name:ident $weights:expr;)*) => { $(
        $(#[$doc])*
        #[track_caller]
        pub fn $name(n: usize, periodic: bool, dtype: DType) -> Tensor {
            window(stringify!($name), n, periodic, dtype, &|i, last| cosines(&$weights, i / last))
        }
    )* };
}

cosine_windows! {
    /// Hann's window, a squared sine.
    ///
    /// ```
    /// use tracewright::{DType, signal};
    /// assert_eq!(signal::hann(3, false, DType::F32).to_vec::<f32>()?, [0.0, 1.0, 0.0]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    hann [0.5, 0.5];
    /// Hamming's window.
    ///
    /// ```
    /// use tracewright::{DType, signal};
    /// assert_eq!(signal::hamming(3, false, DType::F32).to_vec::<f32>()?, [0.08, 1.0, 0.08]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    hamming [0.54, 0.46];
    /// Blackman's window.
    ///
    /// ```
    /// use tracewright::{DType, signal};
    /// assert_eq!(signal::blackman(3, false, DType::F32).to_vec::<f32>()?[1], 1.0);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    blackman [0.42, 0.5, 0.08];
    /// Nuttall's window of four terms (1981).
    ///
    /// ```
    /// use tracewright::{DType, signal};
    /// assert_eq!(signal::nuttall(3, false, DType::F32).to_vec::<f32>()?[1], 1.0);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    nuttall [0.3635819, 0.4891775, 0.1365995, 0.0106411];
}

/// `alpha - (1 - alpha) cos(2π x)`, with `x` from 0 to 1.
///
/// ```
/// use tracewright::{DType, signal};
/// assert_eq!(signal::general_hamming(3, 0.75, false, DType::F32).to_vec::<f32>()?, [0.5, 1.0, 0.5]);
/// # Ok::<(), tracewright::Error>(())
/// ```
#[track_caller]
pub fn general_hamming(n: usize, alpha: f64, periodic: bool, dtype: DType) -> Tensor {
    window("general_hamming", n, periodic, dtype, &|i, last| cosines(&[alpha, 1.0 - alpha], i / last))
}

/// Bartlett's window, a triangle.
///
/// ```
/// use tracewright::{DType, signal};
/// assert_eq!(signal::bartlett(5, false, DType::F32).to_vec::<f32>()?, [0.0, 0.5, 1.0, 0.5, 0.0]);
/// # Ok::<(), tracewright::Error>(())
/// ```
#[track_caller]
pub fn bartlett(n: usize, periodic: bool, dtype: DType) -> Tensor {
    window("bartlett", n, periodic, dtype, &|i, last| 1.0 - (2.0 * i / last - 1.0).abs())
}

/// Half a period of a sine.
///
/// ```
/// use tracewright::{DType, signal};
/// assert_eq!(signal::cosine(3, false, DType::F32).to_vec::<f32>()?, [0.5, 1.0, 0.5]);
/// # Ok::<(), tracewright::Error>(())
/// ```
#[track_caller]
pub fn cosine(n: usize, periodic: bool, dtype: DType) -> Tensor {
    window("cosine", n, periodic, dtype, &|i, last| (PI * (i + 0.5) / (last + 1.0)).sin())
}

/// `exp(-d / tau)` at distance `d` from the middle.
///
/// ```
/// use tracewright::{DType, signal};
/// assert_eq!(signal::exponential(3, 1.0, false, DType::F64).to_vec::<f64>()?, [(-1.0f64).exp(), 1.0, (-1.0f64).exp()]);
/// # Ok::<(), tracewright::Error>(())
/// ```
#[track_caller]
pub fn exponential(n: usize, tau: f64, periodic: bool, dtype: DType) -> Tensor {
    window("exponential", n, periodic, dtype, &|i, last| (-(i - last / 2.0).abs() / tau).exp())
}

/// `exp(-d² / (2 deviation²))` at distance `d` from the middle.
///
/// ```
/// use tracewright::{DType, signal};
/// assert_eq!(signal::gaussian(3, 1.0, false, DType::F64).to_vec::<f64>()?, [(-0.5f64).exp(), 1.0, (-0.5f64).exp()]);
/// # Ok::<(), tracewright::Error>(())
/// ```
#[track_caller]
pub fn gaussian(n: usize, deviation: f64, periodic: bool, dtype: DType) -> Tensor {
    window("gaussian", n, periodic, dtype, &|i, last| (-((i - last / 2.0) / deviation).powi(2) / 2.0).exp())
}

/// Kaiser's window, of the Bessel function [`Tensor::i0`]; the larger `beta`, the narrower.
///
/// ```
/// use tracewright::{DType, signal};
/// let y = signal::kaiser(3, 1.0, false, DType::F64).to_vec::<f64>()?;
/// assert!((y[0] - 0.7898483148251121).abs() < 1e-15 && y[1] == 1.0);
/// # Ok::<(), tracewright::Error>(())
/// ```
///
/// # Errors
/// If `beta` is not from 0 to 500.
#[track_caller]
pub fn kaiser(n: usize, beta: f64, periodic: bool, dtype: DType) -> Tensor {
    let _here = enter();
    if !(0.0..=500.0).contains(&beta) {
        let rule = format!("beta is {beta}");
        return refuse(Error::new(Code::Argument, "kaiser", rule, "a number from 0 to 500"), &[]);
    }
    let height = |x: f64| (1.0 - x * x).max(0.0).sqrt();
    window("kaiser", n, periodic, dtype, &|i, last| bessel_i0(beta * height(2.0 * i / last - 1.0)) / bessel_i0(beta))
}

/// The power series, all of whose terms are positive.
fn bessel_i0(x: f64) -> f64 {
    let (mut term, mut sum) = (1.0, 1.0);
    for k in 1..1000 {
        term *= (x / 2.0 / k as f64).powi(2);
        sum += term;
        if term < sum * 1e-17 {
            break;
        }
    }
    sum
}
