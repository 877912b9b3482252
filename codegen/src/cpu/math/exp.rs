//! exp, logistic and tanh: reduction by multiples of ln 2, a polynomial, and powers of two made in the exponent bits.

use super::arithmetic::Arithmetic;
use cranelift_codegen::ir::condcodes::FloatCC;

/// Adding it rounds a small f32 to an integer, which is then in the low bits.
const ROUND: f32 = 12_582_912.0;
const LOG2_E: f32 = std::f32::consts::LOG2_E;
/// The high part has 15 bits, so that its product with an exponent is exact.
const LN2_HIGH: f32 = 0.693_145_75;
const LN2_LOW: f32 = 1.428_606_8e-6;
/// `exp(r) = 1 + r + r^2 q(r)` for `|r| <= ln(2)/2`, relative error 2^-28.2.
const EXP_Q: [f32; 5] = [0.001_382_008_2, 0.008_368_684, 0.041_668_274, 0.166_665_21, 0.499_999_94];
/// Below it exp is less than half the least denormal.
const EXP_LOWEST: f32 = -104.0;
/// Above it exp is infinite.
const EXP_HIGHEST: f32 = 89.0;
/// `tanh(x) = x + x^3 p(x^2)` for `|x| <= 0.56`, relative error 2^-29.4.
const TANH_P: [f32; 5] = [-0.006_169_614, 0.021_000_376, -0.053_835_757, 0.133_324_37, -0.333_333_13];
/// Just above atanh(1/2): from here `1 - tanh` is the smaller part.
const TANH_SMALL: f32 = 0.55;
/// From here tanh rounds to 1.
const TANH_ONE: f32 = 9.02;

/// `x = n ln 2 + r` with `n` the integer nearest to `x / ln 2` (or one of the nearest two): the float whose low bits
/// hold `n + bias`, and `r`.
#[inline(always)]
fn reduce<A: Arithmetic>(l: &mut A, x: A::V, bias: f32) -> (A::V, A::V) {
    let log2_e = l.f32(LOG2_E);
    let round = l.f32(ROUND + bias);
    let t = l.mul_add(x, log2_e, round);
    let n = l.sub(t, round);
    let high = l.f32(LN2_HIGH);
    let low = l.f32(LN2_LOW);
    let r = l.sub_mul(x, n, high);
    (l.bits(t), l.sub_mul(r, n, low))
}

/// `exp(r) - 1` for a reduced argument.
#[inline(always)]
fn expm1_reduced<A: Arithmetic>(l: &mut A, r: A::V) -> A::V {
    let q = l.poly_f32(r, &EXP_Q);
    let square = l.mul(r, r);
    l.mul_add(square, q, r)
}

/// Two powers of two whose product is `2^n`, from low bits that hold `n + 254`. The product may be infinite or denormal.
#[inline(always)]
fn powers<A: Arithmetic>(l: &mut A, t: A::V) -> (A::V, A::V) {
    let half = l.shr(t, 1);
    let rest = l.isub(t, half);
    let half = l.shl(half, 23);
    let rest = l.shl(rest, 23);
    (l.f32_from_bits(half), l.f32_from_bits(rest))
}

#[inline(always)]
pub(super) fn exp<A: Arithmetic>(l: &mut A, x: A::V) -> A::V {
    let highest = l.f32(EXP_HIGHEST);
    let lowest = l.f32(EXP_LOWEST);
    let x = l.at_most(x, highest);
    let x = l.at_least(x, lowest);
    let (t, r) = reduce(l, x, 254.0);
    let [c6, c5, c4, c3, c2] = EXP_Q;
    let p = l.poly_f32(r, &[c6, c5, c4, c3, c2, 1.0, 1.0]);
    // Two factors, the last product the only one that rounds.
    let (half, rest) = powers(l, t);
    let p = l.mul(p, half);
    l.mul(p, rest)
}

/// With `s = 2^n` and `exp(-x) = exp(r) / s`, `logistic(x) = s / (s + exp(r))` for negative `x`; by symmetry otherwise.
#[inline(always)]
pub(super) fn logistic<A: Arithmetic>(l: &mut A, x: A::V) -> A::V {
    let minus = l.f32(-0.0);
    let y = l.or(x, minus);
    let lowest = l.f32(EXP_LOWEST);
    let y = l.at_least(y, lowest);
    let (t, r) = reduce(l, y, 254.0);
    // exp(-r) - 1, as the reduction was of -|x|.
    let r = l.neg(r);
    let p = expm1_reduced(l, r);
    let (half, rest) = powers(l, t);
    let s = l.mul(half, rest);
    let one = l.f32(1.0);
    let denominator = l.add(s, p);
    let denominator = l.add(denominator, one);
    let small = l.div(s, denominator);
    let large = l.sub(one, small);
    let zero = l.f32(0.0);
    let negative = l.compare(FloatCC::LessThan, x, zero);
    l.pick(negative, small, large)
}

/// `1 - 2 s / (s + exp(r))` with `exp(-2 |x|) = s / exp(r)`, a polynomial for small arguments; the sign of `x`.
#[inline(always)]
pub(super) fn tanh<A: Arithmetic>(l: &mut A, x: A::V) -> A::V {
    let a = l.abs(x);
    let square = l.mul(x, x);
    let p = l.poly_f32(square, &TANH_P);
    let cube = l.mul(square, a);
    let small = l.mul_add(cube, p, a);

    let limit = l.f32(TANH_ONE);
    let y = l.at_most(a, limit);
    let y = l.add(y, y);
    let y = l.neg(y);
    let (t, r) = reduce(l, y, 127.0);
    let r = l.neg(r);
    let p = expm1_reduced(l, r);
    let s = l.shl(t, 23);
    let s = l.f32_from_bits(s);
    let one = l.f32(1.0);
    let denominator = l.add(s, one);
    let denominator = l.add(denominator, p);
    let quotient = l.div(s, denominator);
    let two = l.f32(2.0);
    let large = l.sub_mul(one, quotient, two);

    let limit = l.f32(TANH_SMALL);
    let is_small = l.compare(FloatCC::LessThan, a, limit);
    let y = l.pick(is_small, small, large);
    let sign = l.sign(x);
    l.or(y, sign)
}
