//! Pieces in f64, two lanes at a time: results that are rounded from it to f32 are within little more than half an ulp,
//! whatever cancels on the way.

use super::lanes::Lanes;
use cranelift_codegen::ir::Value;
use cranelift_codegen::ir::condcodes::FloatCC;

/// Adding it rounds a small f64 to an integer, which is then in the low bits.
const ROUND: f64 = 6_755_399_441_055_744.0;
/// The two parts of fdlibm; the first has 32 bits, so that its product with an exponent is exact.
const LN2_HIGH: f64 = 0.6931471803691238;
const LN2_LOW: f64 = 1.9082149292705877e-10;
/// `exp(r) = 1 + r + r^2 q(r)` for `|r| <= ln(2)/2`, error 2^-45.9.
const EXP_Q: [f64; 8] = [
    2.76441203905656e-06,
    2.488241994797933e-05,
    0.0001984116209489982,
    0.001388880729588957,
    0.008333333389331718,
    0.041666666990701845,
    0.16666666666566224,
    0.4999999999960142,
];
/// `log(1 + f) = s p(s^2)` with `s = f / (2 + f)`, `1 + f` between `1/√2` and `√2`, relative error 2^-52.
const LOG_P: [f64; 7] = [
    0.1683870824436579,
    0.18121843018592124,
    0.22223437536063487,
    0.28571415976088704,
    0.4000000006204803,
    0.6666666666655215,
    2.0000000000000004,
];
/// `atan(t) = t p(t^2)` for `|t| <= tan(π/8)`, relative error 2^-40.3.
const ATAN_P: [f64; 8] = [
    -0.037711259998635505,
    0.06977586506472375,
    -0.08993356677665801,
    0.11103551493685497,
    -0.1428539227157222,
    0.19999993218321804,
    -0.33333333278705585,
    0.9999999999992764,
];
const TAN_EIGHTH: f64 = std::f64::consts::SQRT_2 - 1.0;

/// Applies a function of f64 lanes to f32 lanes.
pub(super) fn in_f64(l: &mut Lanes, x: Value, f: impl Fn(&mut Lanes, Value) -> Value) -> Value {
    let halves = l.widen(x).map(|x| f(l, x));
    l.narrow(halves)
}

/// `2^n` and `exp(r) - 1` with `x = n ln 2 + r`. NaN gives NaN; the argument must be within ±700.
pub(super) fn exp_parts(l: &mut Lanes, x: Value) -> (Value, Value) {
    let (inverse, round) = (l.f64(std::f64::consts::LOG2_E), l.f64(ROUND));
    let t = l.mul_add(x, inverse, round);
    let n = l.sub(t, round);
    let (high, low) = (l.f64(LN2_HIGH), l.f64(LN2_LOW));
    let r = l.sub_mul(x, n, high);
    let r = l.sub_mul(r, n, low);
    let q = l.poly_f64(r, &EXP_Q);
    let square = l.mul(r, r);
    let p = l.mul_add(square, q, r);
    (power_of_two(l, t), p)
}

/// `2^n` from a sum of `n` and [`ROUND`].
fn power_of_two(l: &mut Lanes, t: Value) -> Value {
    let t = l.bits(t);
    let n = l.shl(t, 52);
    let one = l.f64(1.0);
    let one = l.bits(one);
    let power = l.iadd(n, one);
    l.f64_from_bits(power)
}

/// `exp(x)` with `x` brought into ±700 first; NaN stays.
pub(super) fn exp(l: &mut Lanes, x: Value) -> Value {
    let x = bounded(l, x, 700.0);
    let (s, p) = exp_parts(l, x);
    l.mul_add(s, p, s)
}

/// `exp(x) - 1`, as accurate near 0, with `x` brought into ±700 first.
pub(super) fn expm1(l: &mut Lanes, x: Value) -> Value {
    let x = bounded(l, x, 700.0);
    let (s, p) = exp_parts(l, x);
    let one = l.f64(1.0);
    let rest = l.sub(s, one);
    l.mul_add(s, p, rest)
}

fn bounded(l: &mut Lanes, x: Value, by: f64) -> Value {
    let (most, least) = (l.f64(by), l.f64(-by));
    let x = l.at_most(x, most);
    l.at_least(x, least)
}

/// Exponent and logarithm of the mantissa of `u`, a positive normal number: its logarithm is `e ln 2` more than the
/// second. `f` is `u - 1`, known better than by that difference where `u` is near 1. -inf for 0 and inf for inf come as
/// exponents, NaN for negative numbers and NaN as well.
pub(super) fn log_parts(l: &mut Lanes, u: Value, f: Value) -> (Value, Value) {
    let bits = l.bits(u);
    let root = l.f64(std::f64::consts::FRAC_1_SQRT_2);
    let root = l.bits(root);
    let from = l.isub(bits, root);
    // The exponent plus 1024, which is positive; below 2^52 it becomes a float under the exponent of that.
    let raised = l.i64(0x4000_0000_0000_0000);
    let from = l.iadd(from, raised);
    let e = l.shr(from, 52);
    let magic = l.i64(0x4330_0000_0000_0000);
    let e_float = l.or(e, magic);
    let e_float = l.f64_from_bits(e_float);
    let offset = l.f64(4_503_599_627_370_496.0 + 1024.0);
    let e_float = l.sub(e_float, offset);
    let whole = l.i64(0x400);
    let n = l.isub(e, whole);
    let shift = l.shl(n, 52);
    let mantissa = l.isub(bits, shift);
    let mantissa = l.f64_from_bits(mantissa);

    let (zero, one, two) = (l.f64(0.0), l.f64(1.0), l.f64(2.0));
    let near = l.compare(FloatCC::Equal, e_float, zero);
    let from_mantissa = l.sub(mantissa, one);
    let f = l.pick(near, f, from_mantissa);
    let sum = l.add(f, two);
    let s = l.div(f, sum);
    let square = l.mul(s, s);
    let p = l.poly_f64(square, &LOG_P);
    let log = l.mul(s, p);

    // What is no positive finite number.
    let (infinity, lowest, nan) = (l.f64(f64::INFINITY), l.f64(f64::NEG_INFINITY), l.f64(f64::NAN));
    let endless = l.compare(FloatCC::Equal, u, infinity);
    let e_float = l.pick(endless, infinity, e_float);
    let log = l.pick(endless, zero, log);
    let positive = l.compare(FloatCC::GreaterThan, u, zero);
    let is_zero = l.compare(FloatCC::Equal, u, zero);
    let outside = l.pick(is_zero, lowest, nan);
    (l.pick(positive, e_float, outside), l.pick(positive, log, zero))
}

/// `log(u)`, with `f = u - 1` as in [`log_parts`].
pub(super) fn log(l: &mut Lanes, u: Value, f: Value) -> Value {
    let (e, log) = log_parts(l, u, f);
    let ln2 = l.f64(std::f64::consts::LN_2);
    l.mul_add(e, ln2, log)
}

/// `log(1 + f)`.
pub(super) fn log1p(l: &mut Lanes, f: Value) -> Value {
    let one = l.f64(1.0);
    let u = l.add(f, one);
    log(l, u, f)
}

/// The angle of the point `(x, y)`, signs of zeros and infinities as IEEE 754 has them; NaN if either is.
pub(super) fn atan2(l: &mut Lanes, y: Value, x: Value) -> Value {
    let (ax, ay) = (l.abs(x), l.abs(y));
    // Infinities become numbers that no f32 is near.
    let huge = l.f64(1e200);
    let (ax, ay) = (l.at_most(ax, huge), l.at_most(ay, huge));
    let steep = l.compare(FloatCC::GreaterThan, ay, ax);
    let (low, high) = (l.pick(steep, ax, ay), l.pick(steep, ay, ax));
    // tan(a - π/4) = (tan(a) - 1) / (tan(a) + 1)
    let eighth = l.f64(TAN_EIGHTH);
    let limit = l.mul(high, eighth);
    let above = l.compare(FloatCC::GreaterThan, low, limit);
    let (difference, sum) = (l.sub(low, high), l.add(low, high));
    let (numerator, denominator) = (l.pick(above, difference, low), l.pick(above, sum, high));
    let zero = l.f64(0.0);
    let one = l.f64(1.0);
    let nothing = l.compare(FloatCC::Equal, denominator, zero);
    let denominator = l.pick(nothing, one, denominator);
    let t = l.div(numerator, denominator);
    let square = l.mul(t, t);
    let p = l.poly_f64(square, &ATAN_P);
    let quarter = l.f64(std::f64::consts::FRAC_PI_4);
    let offset = l.pick(above, quarter, zero);
    let angle = l.mul_add(t, p, offset);

    let half = l.f64(std::f64::consts::FRAC_PI_2);
    let turned = l.sub(half, angle);
    let angle = l.pick(steep, turned, angle);
    let minus = l.f64(-0.0);
    let (sign_x, sign_y) = (l.and(x, minus), l.and(y, minus));
    let signed = l.or(one, sign_x);
    let left = l.compare(FloatCC::LessThan, signed, zero);
    let pi = l.f64(std::f64::consts::PI);
    let turned = l.sub(pi, angle);
    let angle = l.pick(left, turned, angle);
    let angle = l.or(angle, sign_y);
    let nan = l.f64(f64::NAN);
    let unordered = l.compare(FloatCC::Unordered, x, y);
    l.pick(unordered, nan, angle)
}
