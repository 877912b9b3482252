//! Modified Bessel functions of the first kind, by Chebyshev series in two ranges.
//!
//! `scripts/fit_bessel.py` derives the coefficients. The series are summed by the recurrence of C. W. Clenshaw, "A note on the
//! summation of Chebyshev series", 1955. Gradients are those of the series.

use super::broadcast::{Operands, pointwise};
use crate::tensor::Tensor;

// `exp(-x) I(x)` for x from 0 to 8 by `x / 4 - 1`, of I1 divided by x; `sqrt(x) exp(-x) I(x)` from there on by `16 / x - 1`.
const I0_SMALL: [f64; 30] = [
    0.33839763720473803,
    -0.3046826723431984,
    0.17162090152220877,
    -0.09490109704804764,
    0.04930528423967071,
    -0.02373741480589947,
    0.010546460394594998,
    -0.004324309995050576,
    0.0016394756169413357,
    -0.0005763755745385824,
    0.00018850288509584165,
    -5.754195010082104e-05,
    1.6448448070728896e-05,
    -4.4167383584587505e-06,
    1.1173875391201037e-06,
    -2.670793853940612e-07,
    6.046995022541919e-08,
    -1.300025009986248e-08,
    2.6598237246823866e-09,
    -5.189795601635263e-10,
    9.675809035373237e-11,
    -1.726826291441556e-11,
    2.95505266312964e-12,
    -4.856446783111929e-13,
    7.676185498604936e-14,
    -1.1685332877993451e-14,
    1.715391285555133e-15,
    -2.431279846547955e-16,
    3.3307945188222384e-17,
    -4.4153416464793395e-18,
];
const I0_LARGE: [f64; 25] = [
    0.4022452055070544,
    0.0033691164782556943,
    6.889758346916825e-05,
    2.8913705208347567e-06,
    2.0489185894690638e-07,
    2.266668990498178e-08,
    3.3962320257083865e-09,
    4.94060238822497e-10,
    1.1889147107846439e-11,
    -3.1499165279632416e-11,
    -1.3215811840447713e-11,
    -1.7941785315068062e-12,
    7.180124451383666e-13,
    3.8527783827421426e-13,
    1.54008621752141e-14,
    -4.150569347287222e-14,
    -9.554846698828307e-15,
    3.8116806693526224e-15,
    1.7725601330565263e-15,
    -3.425485619677219e-16,
    -2.8276239805165836e-16,
    3.461222867697461e-17,
    4.46562142029676e-17,
    -4.830504485944182e-18,
    -7.233180487874754e-18,
];
const I1_SMALL: [f64; 28] = [
    0.12629359322181682,
    -0.17641651835783406,
    0.1026436586898471,
    -0.05294598120809499,
    0.024726449030626516,
    -0.010564084894626197,
    0.004156422944312888,
    -0.0015135724506312532,
    0.0005122859561685758,
    -0.00016176081582589674,
    4.781565107550054e-05,
    -1.3273163656039436e-05,
    3.4702513081376785e-06,
    -8.568720264695455e-07,
    2.0032947535521353e-07,
    -4.445059128796328e-08,
    9.381537386495773e-09,
    -1.8872497517228294e-09,
    3.625590281552117e-10,
    -6.663489723502027e-11,
    1.1736186298890901e-11,
    -1.9839743977649436e-12,
    3.223793365945575e-13,
    -5.042185504727912e-14,
    7.600684294735408e-15,
    -1.1055969477353862e-15,
    1.5536319577362005e-16,
    -2.111421214358166e-17,
];
const I1_LARGE: [f64; 25] = [
    0.38928811750914005,
    -0.009761097491361469,
    -0.00011058893876262371,
    -3.882564808877691e-06,
    -2.512236237870209e-07,
    -2.6314688468895196e-08,
    -3.835380385964237e-09,
    -5.589743462196584e-10,
    -1.8974958123505413e-11,
    3.2526035830154884e-11,
    1.4125807436613782e-11,
    2.0356285441470896e-12,
    -7.198551776245908e-13,
    -4.0835511110921974e-13,
    -2.1015418427726643e-14,
    4.272440016711951e-14,
    1.0420276984128802e-14,
    -3.8144030724370075e-15,
    -1.8803547755107825e-15,
    3.3082023109209285e-16,
    2.96262899764595e-16,
    -3.209525921993424e-17,
    -4.6503053684893586e-17,
    4.414348323071708e-18,
    7.517296310842105e-18,
];

/// Where one series ends and the other begins.
const BETWEEN: f64 = 8.0;

fn series(coefficients: &[f64], t: &Tensor) -> Tensor {
    let twice = t * 2.0;
    let (mut next, mut after) = (t * 0.0, t * 0.0);
    for &c in coefficients[1..].iter().rev() {
        (next, after) = (&twice * &next - &after + c, next);
    }
    t * next - after + coefficients[0]
}

/// `exp(-|x|) I(|x|)`, of I1 divided by `|x|` as far as the first series goes; and where that is.
fn scaled(x: &Tensor, small: &[f64], large: &[f64]) -> (Tensor, Tensor, Tensor) {
    let size = x.abs();
    // Each series sees its own range only, so that the gradient of the other is finite.
    let (near, far) = (size.minimum(BETWEEN), size.maximum(BETWEEN));
    let large = series(large, &(16.0 / &far - 1.0)) / far.sqrt();
    (size.lt(BETWEEN), series(small, &(near * 0.25 - 1.0)), large)
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

macro_rules! bessel {
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
}
