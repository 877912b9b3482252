//! pow: `2^(y log2 |x|)` in f64, so that the product's error stays small in the result, then signs and special cases.

use super::lanes::Lanes;
use cranelift_codegen::ir::condcodes::FloatCC;
use cranelift_codegen::ir::types::F32X4;
use cranelift_codegen::ir::{InstBuilder, Value};

/// The bits of `1/√2`: mantissas are taken from there to `√2`.
const HALF_ROOT: u32 = 0x3f35_04f3;
/// Adding it rounds a small f64 to an integer, which is then in the low bits.
const ROUND: f64 = 6_755_399_441_055_744.0;
/// From here each f32 is an integer.
const INTEGERS: f32 = 8_388_608.0;
/// From here each f32 is an even integer.
const EVEN: f32 = 16_777_216.0;
/// A power of that size leaves f32 for every base but 1 and -1, and times 0 is not NaN.
const LARGE: f32 = 1_099_511_627_776.0;
/// `2^w` leaves f32, denormals included, outside of ± this.
const WIDEST: f64 = 200.0;
/// `log2(m) = s p(s^2)` with `s = (m - 1) / (m + 1)`, relative error 2^-37.8.
const LOG2_P: [f64; 5] =
    [0.3407301066402296, 0.4116727187051493, 0.5770835849779727, 0.9617966733416518, 2.8853900817900864];
/// `2^r` for `|r| <= 1/2`, relative error 2^-28.9, exact at 0.
const EXP2: [f64; 7] = [
    0.00015353362948930885,
    0.0013398874392726305,
    0.009618437353878802,
    0.05550332471126628,
    0.2402264791365591,
    0.6931472028551298,
    1.0,
];

pub(super) fn pow(l: &mut Lanes, x: Value, y: Value) -> Value {
    let a = l.abs(x);
    let magnitude = magnitude(l, a, y);

    // Which y are integers, and which of those odd.
    let ay = l.abs(y);
    let even = l.f32(EVEN);
    let ay = l.at_most(ay, even);
    let integers = l.f32(INTEGERS);
    let t = l.add(ay, integers);
    let rounded = l.sub(t, integers);
    let is_rounded = l.compare(FloatCC::Equal, rounded, ay);
    let is_large = l.compare(FloatCC::GreaterThanOrEqual, ay, integers);
    let is_integer = l.or(is_rounded, is_large);
    let unit = l.pick(is_large, ay, t);
    let unit = l.bits(unit);
    let odd = l.shl(unit, 31);
    let odd = l.and(odd, is_integer);
    let odd = l.f32_from_bits(odd);
    let sign = l.sign(x);
    let sign = l.and(sign, odd);
    let power = l.or(magnitude, sign);

    let zero = l.f32(0.0);
    let one = l.f32(1.0);
    let minus_infinity = l.f32(f32::NEG_INFINITY);
    let nan = l.f32(f32::NAN);
    let below = l.compare(FloatCC::LessThan, x, zero);
    let above = l.compare(FloatCC::GreaterThan, x, minus_infinity);
    let negative = l.and(below, above);
    let fraction = l.b.ins().bnot(is_integer);
    let undefined = l.and(negative, fraction);
    let power = l.pick(undefined, nan, power);
    let no_power = l.compare(FloatCC::Equal, y, zero);
    let of_one = l.compare(FloatCC::Equal, x, one);
    let is_one = l.or(no_power, of_one);
    l.pick(is_one, one, power)
}

/// `a^y` for `a` not negative; NaN for some of the cases whose result is 1 whatever the other operand.
fn magnitude(l: &mut Lanes, a: Value, y: Value) -> Value {
    let least = l.f32(f32::MIN_POSITIVE);
    let denormal = l.compare(FloatCC::LessThan, a, least);
    let scale = l.f32(8_388_608.0);
    let scaled = l.mul(a, scale);
    let scaled = l.pick(denormal, scaled, a);
    let zero = l.f32(0.0);
    let minus_23 = l.f32(-23.0);
    let offset = l.pick(denormal, minus_23, zero);

    let bits = l.bits(scaled);
    let half_root = l.i32(HALF_ROOT);
    let e = l.isub(bits, half_root);
    let e = l.sar(e, 23);
    let exponent = l.shl(e, 23);
    let mantissa = l.isub(bits, exponent);
    let mantissa = l.f32_from_bits(mantissa);
    let e = l.b.ins().fcvt_from_sint(F32X4, e);
    let e = l.add(e, offset);
    // The logarithms of zero, infinity and NaN go in as exponents; the mantissas are finite then.
    let is_zero = l.compare(FloatCC::Equal, a, zero);
    let minus_infinity = l.f32(f32::NEG_INFINITY);
    let e = l.pick(is_zero, minus_infinity, e);
    let infinity = l.f32(f32::INFINITY);
    let finite = l.compare(FloatCC::LessThan, a, infinity);
    let e = l.pick(finite, e, a);

    let large = l.f32(LARGE);
    let minus_large = l.f32(-LARGE);
    let y = l.at_most(y, large);
    let y = l.at_least(y, minus_large);

    let mantissas = l.widen(mantissa);
    let exponents = l.widen(e);
    let ys = l.widen(y);
    let powers = [0, 1].map(|i| {
        let one = l.f64(1.0);
        let above = l.sub(mantissas[i], one);
        let sum = l.add(mantissas[i], one);
        let s = l.div(above, sum);
        let square = l.mul(s, s);
        let p = l.poly_f64(square, &LOG2_P);
        let log = l.mul_add(s, p, exponents[i]);
        let w = l.mul(ys[i], log);
        let widest = l.f64(WIDEST);
        let lowest = l.f64(-WIDEST);
        let w = l.at_most(w, widest);
        let w = l.at_least(w, lowest);
        let round = l.f64(ROUND);
        let t = l.add(w, round);
        let n = l.sub(t, round);
        let r = l.sub(w, n);
        let p = l.poly_f64(r, &EXP2);
        let p = l.bits(p);
        let t = l.bits(t);
        let n = l.shl(t, 52);
        let power = l.iadd(p, n);
        l.f64_from_bits(power)
    });
    l.narrow(powers)
}
