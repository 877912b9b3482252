//! Error and gamma functions.

use super::*;
use crate::ops::binary::Direction;

unary! {
    /// Error function.
    Erf = "erf" (float Real erf) {
        semantics: "The error function, `2 / sqrt(pi)` times the integral of `exp(-t * t)` from 0 to `x`, within 4 ulp. \
            Zeros keep their sign.",
        gradient: "`g * 2 / sqrt(pi) * exp(-x * x)`.",
        derivative: Some(|b, x, _, g| {
            let square = b.mul(x, x);
            let exponent = b.neg(square);
            let bell = b.exp(exponent);
            let slope = b.scale(bell, std::f64::consts::FRAC_2_SQRT_PI);
            b.mul(g, slope)
        }),
        simplify: no_rule,
        example: "erf [-0, inf, -inf]:f32[3] = [-0, 1, -1]",
    }
    /// Complementary error function.
    Erfc = "erfc" (float Real erfc) {
        semantics: "`1 - erf(x)`, within 2 ulp, also where it is small.",
        gradient: "`-g * 2 / sqrt(pi) * exp(-x * x)`.",
        derivative: Some(|b, x, _, g| {
            let square = b.mul(x, x);
            let exponent = b.neg(square);
            let bell = b.exp(exponent);
            let slope = b.scale(bell, -std::f64::consts::FRAC_2_SQRT_PI);
            b.mul(g, slope)
        }),
        simplify: no_rule,
        example: "erfc [0, inf, -inf]:f32[3] = [1, 0, 2]",
    }
    /// Inverse error function.
    ErfInv = "erf_inv" (float Real erf_inv) {
        semantics: "The number whose error function is `x`, within 2 ulp: infinite at 1 and -1, NaN beyond. Zeros keep \
            their sign.",
        gradient: "`g * sqrt(pi) / 2 * exp(z * z)` with the result `z`.",
        derivative: Some(|b, _, z, g| {
            let square = b.mul(z, z);
            let bell = b.exp(square);
            let slope = b.scale(bell, 1.0 / std::f64::consts::FRAC_2_SQRT_PI);
            b.mul(g, slope)
        }),
        simplify: no_rule,
        example: "erf_inv [-0, 1, -1, 2]:f32[4] = [-0, inf, -inf, nan]",
    }
    /// Logarithm of the gamma function.
    Lgamma = "lgamma" (float Real lgamma) {
        semantics: "The logarithm of the absolute value of the gamma function, within 2 ulp of f32; in f64 with an error of \
            some 1e-15 near its zeros: inf at 0, at negative \
            integers and at both infinities.",
        gradient: "`g * digamma(x)`.",
        derivative: Some(|b, x, _, g| {
            let slope = b.emit(Digamma {}.into(), &[x]);
            b.mul(g, slope)
        }),
        simplify: no_rule,
        example: "lgamma [1, 0, -2, inf]:f32[4] = [0, inf, inf, inf]",
    }
    /// Derivative of [`Lgamma`].
    Digamma = "digamma" (float Real digamma) {
        semantics: "The derivative of the logarithm of the gamma function, within 2 ulp of f32; in f64 with an error of \
            some 1e-15 near its zeros: infinite at zeros, of the other \
            sign, NaN at negative integers and -inf, as PyTorch and SciPy have it.",
        gradient: "`g` times the trigamma function, as a sum of the terms `1 / (x + k)^2` and the asymptotic series of \
            the rest; by reflection for negative `x`.",
        derivative: Some(|b, x, _, g| {
            let slope = trigamma(b, x);
            b.mul(g, slope)
        }),
        simplify: no_rule,
        example: "digamma [0, -0, -2, inf]:f32[4] = [-inf, inf, nan, inf]",
    }
}

/// The derivative of digamma: `1/x^2 + 1/(x + 1)^2 + …` up to `x + TERMS`, and the asymptotic series from there,
/// Abramowitz and Stegun 6.4.12. Below 1/2 by reflection, 6.4.7.
fn trigamma(b: &mut dyn Emit, x: Value) -> Value {
    const TERMS: usize = 10;
    // The Bernoulli numbers B2 to B16.
    const BERNOULLI: [f64; 8] =
        [1.0 / 6.0, -1.0 / 30.0, 1.0 / 42.0, -1.0 / 30.0, 5.0 / 66.0, -691.0 / 2730.0, 7.0 / 6.0, -3617.0 / 510.0];
    let (half, one) = (b.full_like(x, 0.5), b.full_like(x, 1.0));
    let reflected = b.compare(Direction::Lt, x, half);
    let mirror = b.sub(one, x);
    let y = b.select(reflected, mirror, x);
    let mut sum = b.full_like(x, 0.0);
    let mut at = y;
    for _ in 0..TERMS {
        let inverse = b.div(one, at);
        let square = b.mul(inverse, inverse);
        sum = b.add(sum, square);
        at = b.add(at, one);
    }
    let inverse = b.div(one, at);
    let square = b.mul(inverse, inverse);
    let mut series = b.full_like(x, BERNOULLI[7]);
    for c in BERNOULLI[..7].iter().rev().chain(&[1.0]) {
        let c = b.full_like(x, *c);
        let product = b.mul(series, square);
        series = b.add(product, c);
    }
    let main = b.mul(series, inverse);
    let correction = b.mul(square, half);
    let tail = b.add(main, correction);
    let value = b.add(sum, tail);
    // pi^2 / sin(pi x)^2, with the nearest integer taken from x; 1/2 stands in where it is not used.
    let inside = b.select(reflected, x, half);
    let nearest = b.emit(Round {}.into(), &[inside]);
    let rest = b.sub(inside, nearest);
    let angle = b.scale(rest, std::f64::consts::PI);
    let sine = b.sin(angle);
    let pi = b.full_like(x, std::f64::consts::PI);
    let ratio = b.div(pi, sine);
    let ratio = b.mul(ratio, ratio);
    let other = b.sub(ratio, value);
    b.select(reflected, other, value)
}
