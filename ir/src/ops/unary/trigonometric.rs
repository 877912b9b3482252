//! Trigonometric functions and their inverses.

use super::*;

unary! {
    /// Sine.
    Sin = "sin" (float Real sin) {
        semantics: "The sine of an angle in radians, within 2 ulp over the whole range. NaN at infinities; zeros keep \
            their sign.",
        gradient: "`g * cos(x)`.",
        derivative: Some(|b, x, _, g| {
            let slope = b.cos(x);
            b.mul(g, slope)
        }),
        simplify: no_rule,
        example: "sin [-0, inf]:f32[2] = [-0, nan]",
    }
    /// Cosine.
    Cos = "cos" (float Real cos) {
        semantics: "The cosine of an angle in radians, within 2 ulp over the whole range. NaN at infinities.",
        gradient: "`-g * sin(x)`.",
        derivative: Some(|b, x, _, g| {
            let slope = b.sin(x);
            let product = b.mul(g, slope);
            b.neg(product)
        }),
        // The sign is dropped before the cosine looks at anything else.
        simplify: |b, x, _| {
            let y = under(b, x, |p| matches!(p, Primitive::Neg(_) | Primitive::Abs(_)))?;
            Some(b.cos(y))
        },
        example: "cos [0, inf]:f32[2] = [1, nan]",
    }
    /// Tangent.
    Tan = "tan" (float Real tan) {
        semantics: "The tangent of an angle in radians, within 4 ulp over the whole range. NaN at infinities; zeros keep \
            their sign.",
        gradient: "`g * (1 + z * z)` with the result `z`.",
        derivative: Some(|b, _, z, g| {
            let (one, square) = (b.full_like(z, 1.0), b.mul(z, z));
            let slope = b.add(one, square);
            b.mul(g, slope)
        }),
        simplify: no_rule,
        example: "tan [-0, inf]:f32[2] = [-0, nan]",
    }
    /// Inverse sine.
    Asin = "asin" (float Real asin) {
        semantics: "The angle within ±pi/2 whose sine is `x`, within 2 ulp: NaN beyond 1. Zeros keep their sign.",
        gradient: "`g / sqrt((1 - x) * (1 + x))`, so infinite at 1 and -1.",
        derivative: Some(|b, x, _, g| {
            let product = one_less_square(b, x);
            let root = b.sqrt(product);
            b.div(g, root)
        }),
        simplify: no_rule,
        example: "asin [-0, 2, nan]:f32[3] = [-0, nan, nan]",
    }
    /// Inverse cosine.
    Acos = "acos" (float Real acos) {
        semantics: "The angle from 0 to pi whose cosine is `x`, within 2 ulp: NaN beyond 1.",
        gradient: "`-g / sqrt((1 - x) * (1 + x))`, so infinite at 1 and -1.",
        derivative: Some(|b, x, _, g| {
            let product = one_less_square(b, x);
            let root = b.sqrt(product);
            let quotient = b.div(g, root);
            b.neg(quotient)
        }),
        simplify: no_rule,
        example: "acos [1, 2, nan]:f32[3] = [0, nan, nan]",
    }
    /// Inverse tangent.
    Atan = "atan" (float Real atan) {
        semantics: "The angle within ±pi/2 whose tangent is `x`, within 2 ulp. Zeros keep their sign.",
        gradient: "`g / (x * x + 1)`.",
        derivative: Some(|b, x, _, g| {
            let (one, square) = (b.full_like(x, 1.0), b.mul(x, x));
            let sum = b.add(square, one);
            b.div(g, sum)
        }),
        simplify: no_rule,
        example: "atan [-0, nan]:f32[2] = [-0, nan]",
    }
}
