//! Functions that the standard library lacks, in f64, by other algorithms than those of the reference evaluation.

use std::f64::consts::{FRAC_2_SQRT_PI, LN_2, PI};

/// The error function, within 4 units in the last place of f64: the series of positive terms, Abramowitz and Stegun
/// 7.1.6, below 1, where few of them count and little error gathers; the continued fraction of its complement, 7.1.14,
/// above.
pub fn erf(x: f64) -> f64 {
    let a = x.abs();
    if a < 1.0 {
        // erf x = 2/√π e^(-x²) Σ 2ⁿ x^(2n+1) / (1·3·…·(2n+1))
        let (mut term, mut sum, mut odd) = (x, x, 1.0);
        while term.abs() > sum.abs() * 1e-17 {
            odd += 2.0;
            term *= 2.0 * x * x / odd;
            sum += term;
        }
        FRAC_2_SQRT_PI * (-x * x).exp() * sum
    } else if a < 6.0 {
        (1.0 - erfc(a)).copysign(x)
    } else if a.is_nan() {
        x
    } else {
        1f64.copysign(x)
    }
}

/// The complement of [`erf`]: from that below 1, by the continued fraction 7.1.14 above.
pub fn erfc(x: f64) -> f64 {
    if x.is_nan() || x < 1.0 {
        return 1.0 - erf(x);
    }
    // √π e^(x²) erfc x = 1/(x + (1/2)/(x + 1/(x + (3/2)/(x + …)))), from the inside out
    let tail = (1..=200).rev().fold(x, |inner, n| x + n as f64 / 2.0 / inner);
    // The square in two parts, the first of them exact.
    let high = (x.min(40.0) * 1024.0).round() / 1024.0;
    let bell = (-high * high).exp() * (-(x.min(40.0) - high) * (x.min(40.0) + high)).exp();
    bell / (tail * PI.sqrt())
}

/// The inverse of [`erf`] by Newton's method: on `erf`, or on the logarithm of its complement. Both are concave, so that
/// it converges from one side.
pub fn erf_inv(x: f64) -> f64 {
    let a = x.abs();
    if a.is_nan() || a >= 1.0 || a == 0.0 {
        return if a == 1.0 {
            f64::INFINITY.copysign(x)
        } else if a == 0.0 {
            x
        } else {
            f64::NAN
        };
    }
    let mut y = a / FRAC_2_SQRT_PI;
    for _ in 0..40 {
        let slope = FRAC_2_SQRT_PI * (-y * y).exp();
        let step = if a < 0.5 {
            (a - erf(y)) / slope
        } else {
            let rest = erfc(y);
            (rest / (1.0 - a)).ln() * rest / slope
        };
        y += step;
        if step.abs() <= y * 1e-17 {
            break;
        }
    }
    y.copysign(x)
}

/// The inverse hyperbolic sine, without overflow.
pub fn asinh(x: f64) -> f64 {
    if x.abs() > 1e150 { (x.abs().ln() + LN_2).copysign(x) } else { x.asinh() }
}

/// The inverse hyperbolic cosine, accurate near 1 too.
pub fn acosh(x: f64) -> f64 {
    if x < 1.0 {
        return f64::NAN;
    }
    let above = x - 1.0;
    if x > 1e150 { x.ln() + LN_2 } else { (above + (above * (above + 2.0)).sqrt()).ln_1p() }
}

/// Riemann's zeta function less 1 at 2, 3, …
const ZETA: [f64; 28] = [
    0.6449340668482264,
    0.2020569031595943,
    0.08232323371113819,
    0.03692775514336993,
    0.01734306198444914,
    0.008349277381922827,
    0.00407735619794434,
    0.0020083928260822143,
    0.0009945751278180853,
    0.0004941886041194645,
    0.0002460865533080483,
    0.00012271334757848915,
    6.124813505870483e-05,
    3.058823630702049e-05,
    1.528225940865187e-05,
    7.637197637899763e-06,
    3.81729326499984e-06,
    1.908212716553939e-06,
    9.539620338727962e-07,
    4.769329867878064e-07,
    2.38450502727733e-07,
    1.1921992596531106e-07,
    5.960818905125948e-08,
    2.980350351465228e-08,
    1.4901554828365043e-08,
    7.45071178983543e-09,
    3.725334024788457e-09,
    1.862659723513049e-09,
];

/// The logarithm of the absolute value of the gamma function: the series of `lgamma(1 + z)`, Abramowitz and Stegun
/// 6.1.33, about 1 and 2; Stirling's, 6.1.40, from 16; between them products; reflection, 6.1.17, below 0.
pub fn lgamma(x: f64) -> f64 {
    // The series without its first term: of lgamma(2 + z).
    let series = |z: f64| {
        let terms =
            ZETA.iter().enumerate().rev().map(|(i, zeta)| if i % 2 == 0 { *zeta } else { -zeta } / (i + 2) as f64);
        z * terms.fold(0.0, |sum, term| sum * z + term) * z + z * 0.42278433509846713
    };
    if x.is_nan() {
        x
    } else if x.is_infinite() || (x <= 0.0 && x.fract() == 0.0) {
        f64::INFINITY
    } else if x.abs() < 1e-17 {
        -x.abs().ln()
    } else if x < 0.0 {
        let sine = (PI * (x - x.round())).sin().abs();
        (PI / (sine * -x)).ln() - lgamma(-x)
    } else if x < 0.5 {
        series(x) - x.ln_1p() - x.ln()
    } else if x < 1.5 {
        series(x - 1.0) - (x - 1.0).ln_1p()
    } else if x < 16.0 {
        let (mut y, mut product) = (x, 1.0);
        while y > 2.5 {
            y -= 1.0;
            product *= y;
        }
        series(y - 2.0) + f64::ln(product)
    } else {
        let z = 1.0 / (x * x);
        let terms =
            [1.0 / 12.0, -1.0 / 360.0, 1.0 / 1260.0, -1.0 / 1680.0, 1.0 / 1188.0, -691.0 / 360360.0, 1.0 / 156.0];
        let rest = terms.iter().rev().fold(0.0, |sum, term| sum * z + term) / x;
        (x - 0.5) * x.ln() - x + 0.5 * (2.0 * PI).ln() + rest
    }
}

/// The derivative of [`lgamma`]: the asymptotic series, Abramowitz and Stegun 6.3.18, at `x + n`, less the sum of the
/// reciprocals in between; reflection below 0.
pub fn digamma(x: f64) -> f64 {
    if x == 0.0 {
        return 1.0 / -x;
    }
    if x < 0.0 {
        let near = x - x.round();
        return if near == 0.0 || x.is_infinite() { f64::NAN } else { digamma(1.0 - x) - PI / (PI * near).tan() };
    }
    let shift = (10.0 - x).ceil().max(0.0);
    let y = x + shift;
    let terms = [1.0 / 12.0, -1.0 / 120.0, 1.0 / 252.0, -1.0 / 240.0, 1.0 / 132.0, -691.0 / 32760.0, 1.0 / 12.0];
    let rest = terms.iter().rev().fold(0.0, |sum, term| (sum + term) / (y * y));
    let between: f64 = (0..shift as usize).map(|n| 1.0 / (x + n as f64)).sum();
    y.ln() - 0.5 / y - rest - between
}
