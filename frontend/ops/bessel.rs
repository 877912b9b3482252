//! Modified Bessel functions of both kinds: by Chebyshev series in two ranges. Gradients are those of the series.

use super::broadcast::{Operands, pointwise};
use super::chebyshev::{I0_LARGE, I0_SMALL, I1_LARGE, I1_SMALL, K0_LARGE, K0_SMALL, K1_LARGE, K1_SMALL, series};
use super::prim;
use crate::tensor::Tensor;

/// Where one series of the first kind ends and the other begins.
const BETWEEN: f64 = 8.0;

/// What is below a limit, and elements for each of two series, which sees its own range only: the gradient of the other
/// stays finite.
fn ranges(x: &Tensor, limit: f64) -> (Tensor, Tensor, Tensor) {
    let is_small = x.lt(limit);
    let (near, far) = (is_small.where_(x, limit), is_small.where_(limit, x));
    (is_small, near, far)
}

/// `exp(-|x|) I(|x|)`, of I1 divided by `|x|` as far as the first series goes; and where that is.
fn scaled(x: &Tensor, small: &[f64], large: &[f64]) -> (Tensor, Tensor, Tensor) {
    let size = x.abs();
    let (is_small, near, far) = ranges(&size, BETWEEN);
    let large = series(large, &(16.0 / &far - 1.0)) / far.sqrt();
    (is_small, series(small, &(near * 0.25 - 1.0)), large)
}

fn i0e(x: &Tensor) -> Tensor {
    let (is_small, small, large) = scaled(x, &I0_SMALL, &I0_LARGE);
    is_small.where_(small, large)
}

fn i1e(x: &Tensor) -> Tensor {
    let (is_small, small, large) = scaled(x, &I1_SMALL, &I1_LARGE);
    is_small.where_(x * small, large * x.sign())
}

/// A function without its scale; infinite where that is.
fn unscaled(x: &Tensor, scaled: Tensor, at_infinity: Tensor) -> Tensor {
    x.is_inf().where_(at_infinity, scaled * x.abs().exp())
}

/// Where one series of the second kind ends and the other begins.
const BETWEEN_SECOND: f64 = 2.0;

/// A function of the second kind, times `exp(x)` if `scaled`.
fn second(x: &Tensor, small: fn(&Tensor) -> Tensor, large: &[f64], scaled: bool) -> Tensor {
    let (is_small, near, far) = ranges(x, BETWEEN_SECOND);
    let large = series(large, &(4.0 / &far - 1.0)) / far.sqrt();
    let small = small(&near);
    let both = if scaled { (small * near.exp(), large) } else { (small, large * (-&far).exp()) };
    is_small.where_(both.0, both.1)
}

fn k0_small(x: &Tensor) -> Tensor {
    series(&K0_SMALL, &(x.square() * 0.5 - 1.0)) - (x * 0.5).log() * unscaled(x, i0e(x), x.abs())
}

fn k1_small(x: &Tensor) -> Tensor {
    series(&K1_SMALL, &(x.square() * 0.5 - 1.0)) / x + unscaled(x, i1e(x), x.clone()).xlogy(x * 0.5)
}

macro_rules! bessel {
    ($($(#[$doc:meta])* $method:ident => $body:expr;)*) => {
        impl Tensor { $(
            $(#[$doc])*
            #[track_caller]
            pub fn $method(&self) -> Tensor {
                let body: fn(&Tensor) -> Tensor = $body;
                pointwise(stringify!($method), true, Operands::Float, &[self.into()], &|t| {
                    let dtype = t[0].dtype();
                    prim::cast(&body(&prim::cast(&t[0], dtype.accumulator())), dtype)
                })
            }
        )* }
    };
}

bessel! {
    /// Modified Bessel function of the first kind, of order 0.
    ///
    /// ```
    /// # use tracewright::Tensor;
    /// let y = Tensor::from([0.0f64, 1.0]).i0().to_vec::<f64>()?;
    /// assert!((y[0] - 1.0).abs() < 1e-15 && (y[1] - 1.2660658777520084).abs() < 1e-15);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    i0 => |x| unscaled(x, i0e(x), x.abs());
    /// `exp(-|x|)` times [`Tensor::i0`], which does not overflow.
    ///
    /// ```
    /// # use tracewright::Tensor;
    /// let y = Tensor::from([1000.0f64]).i0e().to_vec::<f64>()?;
    /// assert!((y[0] - 0.012617240455891257).abs() < 1e-16);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    i0e => i0e;
    /// Modified Bessel function of the first kind, of order 1.
    ///
    /// ```
    /// # use tracewright::Tensor;
    /// let y = Tensor::from([0.0f64, -1.0]).i1().to_vec::<f64>()?;
    /// assert!(y[0] == 0.0 && (y[1] + 0.565159103992485).abs() < 1e-15);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    i1 => |x| unscaled(x, i1e(x), x.clone());
    /// `exp(-|x|)` times [`Tensor::i1`], which does not overflow.
    ///
    /// ```
    /// # use tracewright::Tensor;
    /// let y = Tensor::from([1000.0f64]).i1e().to_vec::<f64>()?;
    /// assert!((y[0] - 0.012610930256928629).abs() < 1e-16);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    i1e => i1e;
    /// Modified Bessel function of the second kind, of order 0; infinite at 0, NaN below.
    ///
    /// ```
    /// # use tracewright::Tensor;
    /// let y = Tensor::from([0.0f64, 1.0]).k0().to_vec::<f64>()?;
    /// assert!(y[0] == f64::INFINITY && (y[1] - 0.42102443824070834).abs() < 1e-15);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    k0 => |x| second(x, k0_small, &K0_LARGE, false);
    /// `exp(x)` times [`Tensor::k0`], which does not vanish.
    ///
    /// ```
    /// # use tracewright::Tensor;
    /// let y = Tensor::from([1.0f64]).k0e().to_vec::<f64>()?;
    /// assert!((y[0] - 1.1444630798068947).abs() < 1e-15);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    k0e => |x| second(x, k0_small, &K0_LARGE, true);
    /// Modified Bessel function of the second kind, of order 1; infinite at 0, NaN below.
    ///
    /// ```
    /// # use tracewright::Tensor;
    /// let y = Tensor::from([0.0f64, 1.0]).k1().to_vec::<f64>()?;
    /// assert!(y[0] == f64::INFINITY && (y[1] - 0.6019072301972346).abs() < 1e-15);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    k1 => |x| second(x, k1_small, &K1_LARGE, false);
    /// `exp(x)` times [`Tensor::k1`], which does not vanish.
    ///
    /// ```
    /// # use tracewright::Tensor;
    /// let y = Tensor::from([1.0f64]).k1e().to_vec::<f64>()?;
    /// assert!((y[0] - 1.636153486263258).abs() < 1e-15);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    k1e => |x| second(x, k1_small, &K1_LARGE, true);
}
