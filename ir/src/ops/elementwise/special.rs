//! Special functions that the `libm` crate lacks, for the reference evaluation.

/// NaN below 1, where `libm::acosh` has numbers.
pub(super) fn acosh(x: f64) -> f64 {
    if x < 1.0 { f64::NAN } else { libm::acosh(x) }
}

/// The inverse of `libm::erf`, by bisection over the floats: plain, and as exact as `erf` and `erfc` are.
pub(super) fn erf_inv(x: f64) -> f64 {
    let a = x.abs();
    if a.is_nan() || a > 1.0 {
        return f64::NAN;
    }
    if a == 0.0 || a == 1.0 {
        return if a == 0.0 { x } else { f64::INFINITY.copysign(x) };
    }
    // Whether y is too small; the complement keeps its precision where the function is near 1.
    let below = |y: f64| if a < 0.5 { libm::erf(y) < a } else { libm::erfc(y) > 1.0 - a };
    let (mut low, mut high) = (0u64, 6f64.to_bits());
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        *if below(f64::from_bits(middle)) { &mut low } else { &mut high } = middle;
    }
    f64::from_bits(high).copysign(x)
}

/// The digamma function: `digamma(x + 1) - 1 / x` until `x` is large enough for the asymptotic series, Abramowitz and
/// Stegun 6.3.5 and 6.3.18; by reflection, 6.3.7, for negative numbers.
pub(super) fn digamma(x: f64) -> f64 {
    if x == 0.0 {
        return f64::NEG_INFINITY.copysign(-x);
    }
    if x < 0.0 {
        let rest = x - libm::trunc(x);
        if rest == 0.0 || x == f64::NEG_INFINITY {
            return f64::NAN;
        }
        let angle = std::f64::consts::PI * (rest - libm::rint(rest));
        return digamma(1.0 - x) - std::f64::consts::PI * libm::cos(angle) / libm::sin(angle);
    }
    let (mut y, mut sum) = (x, 0.0);
    while y < 20.0 {
        sum += 1.0 / y;
        y += 1.0;
    }
    let z = 1.0 / (y * y);
    // B2 / 2, B4 / 4, …
    let series = z * (1.0 / 12.0 - z * (1.0 / 120.0 - z * (1.0 / 252.0 - z * (1.0 / 240.0 - z * (1.0 / 132.0)))));
    libm::log(y) - 0.5 / y - series - sum
}
