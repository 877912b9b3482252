//! Exponentials, logarithms, hyperbolic functions and roots.

use super::*;

unary! {
    /// Exponential.
    Exp = "exp" (float Real exp) {
        semantics: "e to the power `x`, within 2 ulp: 0 at -inf, inf at inf and above the range.",
        gradient: "`g * z` with the result `z`.",
        derivative: Some(|b, _, z, g| b.mul(g, z)),
        simplify: no_rule,
        example: "exp [0, -inf, inf]:f32[3] = [1, 0, inf]",
    }
    /// Natural logarithm.
    Log = "log" (float Real log) {
        semantics: "The natural logarithm, within 2 ulp: -inf at zeros, NaN below.",
        gradient: "`g / x`.",
        derivative: Some(|b, x, _, g| b.div(g, x)),
        simplify: no_rule,
        example: "log [1, 0, inf]:f32[3] = [0, -inf, inf]",
    }
    /// Hyperbolic tangent.
    Tanh = "tanh" (float Real tanh) {
        semantics: "The hyperbolic tangent, within 2 ulp. Zeros keep their sign.",
        gradient: "`g * (1 - z * z)` with the result `z`.",
        derivative: Some(|b, _, z, g| {
            let (one, square) = (b.full_like(z, 1.0), b.mul(z, z));
            let slope = b.sub(one, square);
            b.mul(g, slope)
        }),
        simplify: no_rule,
        example: "tanh [-0, inf, -inf]:f32[3] = [-0, 1, -1]",
    }
    /// Logistic function.
    Logistic = "logistic" (float Real logistic) {
        semantics: "`1 / (1 + exp(-x))`, within 2 ulp over the whole range.",
        gradient: "`g * (1 - z) * z` with the result `z`.",
        derivative: Some(|b, _, z, g| {
            let one = b.full_like(z, 1.0);
            let rest = b.sub(one, z);
            let g = b.mul(g, rest);
            b.mul(g, z)
        }),
        simplify: no_rule,
        example: "logistic [0, inf, -inf]:f32[3] = [0.5, 1, 0]",
    }
    /// Power of two.
    Exp2 = "exp2" (float Real exp2) {
        semantics: "2 to the power `x`, within 2 ulp, exact for integers: 0 at -inf, inf at inf and above the range.",
        gradient: "`g * z * log(2)` with the result `z`.",
        derivative: Some(|b, _, z, g| {
            let slope = b.scale(z, std::f64::consts::LN_2);
            b.mul(g, slope)
        }),
        simplify: no_rule,
        example: "exp2 [3, -inf, -1]:f32[3] = [8, 0, 0.5]",
    }
    /// Exponential less one.
    Expm1 = "expm1" (float Real expm1) {
        semantics: "`exp(x) - 1`, within 2 ulp, near 0 too. Zeros keep their sign.",
        gradient: "`g * (z + 1)` with the result `z`.",
        derivative: Some(|b, _, z, g| {
            let one = b.full_like(z, 1.0);
            let slope = b.add(z, one);
            b.mul(g, slope)
        }),
        simplify: no_rule,
        example: "expm1 [-0, -inf, inf]:f32[3] = [-0, -1, inf]",
    }
    /// Logarithm of one more.
    Log1p = "log1p" (float Real log1p) {
        semantics: "`log(1 + x)`, within 2 ulp, near 0 too: -inf at -1, NaN below. Zeros keep their sign.",
        gradient: "`g / (x + 1)`.",
        derivative: Some(|b, x, _, g| {
            let one = b.full_like(x, 1.0);
            let sum = b.add(x, one);
            b.div(g, sum)
        }),
        simplify: no_rule,
        example: "log1p [-0, -1, inf]:f32[3] = [-0, -inf, inf]",
    }
    /// Logarithm to base 2.
    Log2 = "log2" (float Real log2) {
        semantics: "The logarithm to base 2, within 2 ulp: -inf at zeros, NaN below.",
        gradient: "`g / (x * log(2))`.",
        derivative: Some(|b, x, _, g| {
            let by = b.scale(x, std::f64::consts::LN_2);
            b.div(g, by)
        }),
        simplify: no_rule,
        example: "log2 [8, 0, inf]:f32[3] = [3, -inf, inf]",
    }
    /// Logarithm to base 10.
    Log10 = "log10" (float Real log10) {
        semantics: "The logarithm to base 10, within 2 ulp: -inf at zeros, NaN below.",
        gradient: "`g / (x * log(10))`.",
        derivative: Some(|b, x, _, g| {
            let by = b.scale(x, std::f64::consts::LN_10);
            b.div(g, by)
        }),
        simplify: no_rule,
        example: "log10 [100, 0, inf]:f32[3] = [2, -inf, inf]",
    }
    /// Cube root.
    Cbrt = "cbrt" (float Real cbrt) {
        semantics: "The cube root, within 2 ulp, of negative numbers too. Zeros keep their sign.",
        gradient: "`g / (3 z * z)` with the result `z`, so infinite at 0.",
        derivative: Some(|b, _, z, g| {
            let square = b.mul(z, z);
            let by = b.scale(square, 3.0);
            b.div(g, by)
        }),
        simplify: no_rule,
        example: "cbrt [27, -8, -0]:f32[3] = [3, -2, -0]",
    }
    /// Hyperbolic sine.
    Sinh = "sinh" (float Real sinh) {
        semantics: "The hyperbolic sine, `(exp(x) - exp(-x)) / 2`, within 2 ulp. Zeros keep their sign.",
        gradient: "`g * cosh(x)`.",
        derivative: Some(|b, x, _, g| {
            let slope = b.emit(Cosh {}.into(), &[x]);
            b.mul(g, slope)
        }),
        simplify: no_rule,
        example: "sinh [-0, inf, -inf]:f32[3] = [-0, inf, -inf]",
    }
    /// Hyperbolic cosine.
    Cosh = "cosh" (float Real cosh) {
        semantics: "The hyperbolic cosine, `(exp(x) + exp(-x)) / 2`, within 2 ulp.",
        gradient: "`g * sinh(x)`.",
        derivative: Some(|b, x, _, g| {
            let slope = b.emit(Sinh {}.into(), &[x]);
            b.mul(g, slope)
        }),
        simplify: |b, x, _| {
            let y = under(b, x, |p| matches!(p, Primitive::Neg(_) | Primitive::Abs(_)))?;
            Some(b.emit(Cosh {}.into(), &[y]))
        },
        example: "cosh [0, inf, -inf]:f32[3] = [1, inf, inf]",
    }
    /// Inverse hyperbolic sine.
    Asinh = "asinh" (float Real asinh) {
        semantics: "The number whose hyperbolic sine is `x`, within 2 ulp. Zeros keep their sign.",
        gradient: "`g / sqrt(x * x + 1)`.",
        derivative: Some(|b, x, _, g| {
            let (one, square) = (b.full_like(x, 1.0), b.mul(x, x));
            let sum = b.add(square, one);
            let root = b.sqrt(sum);
            b.div(g, root)
        }),
        simplify: no_rule,
        example: "asinh [-0, inf, -inf]:f32[3] = [-0, inf, -inf]",
    }
    /// Inverse hyperbolic cosine.
    Acosh = "acosh" (float Real acosh) {
        semantics: "The number, not negative, whose hyperbolic cosine is `x`, within 2 ulp: NaN below 1.",
        gradient: "`g / sqrt((x - 1) * (x + 1))`, so infinite at 1.",
        derivative: Some(|b, x, _, g| {
            let one = b.full_like(x, 1.0);
            let (below, above) = (b.sub(x, one), b.add(x, one));
            let product = b.mul(below, above);
            let root = b.sqrt(product);
            b.div(g, root)
        }),
        simplify: no_rule,
        example: "acosh [1, inf, 0.5]:f32[3] = [0, inf, nan]",
    }
    /// Inverse hyperbolic tangent.
    Atanh = "atanh" (float Real atanh) {
        semantics: "The number whose hyperbolic tangent is `x`, within 2 ulp: infinite at 1 and -1, NaN beyond. Zeros \
            keep their sign.",
        gradient: "`g / ((1 - x) * (1 + x))`.",
        derivative: Some(|b, x, _, g| {
            let product = one_less_square(b, x);
            b.div(g, product)
        }),
        simplify: no_rule,
        example: "atanh [-0, 1, -1, 2]:f32[4] = [-0, inf, -inf, nan]",
    }
}
