//! log: exponent and mantissa apart, then a polynomial around 1.

use super::arithmetic::Arithmetic;
use cranelift_codegen::ir::condcodes::FloatCC;

/// The bits of 2/3: mantissas are taken from `[2/3, 4/3)`, so that log 1 has exponent zero and no cancellation.
const TWO_THIRDS: u32 = 0x3f2a_aaab;
/// The high part has 15 bits, so that its product with an exponent is exact.
const LN2_HIGH: f32 = 0.693_145_75;
const LN2_LOW: f32 = 1.428_606_8e-6;
/// `log(1 + f) = f - f^2/2 + f^3 p(f)` for `|f| <= 1/3`, relative error 2^-27.7.
const LOG_P: [f32; 8] = [
    -0.128_823_22,
    0.139_852_52,
    -0.121_868_79,
    0.140_056_24,
    -0.166_802_48,
    0.200_104_31,
    -0.249_998_05,
    0.333_332_15,
];

#[inline(always)]
pub(super) fn log<A: Arithmetic>(l: &mut A, x: A::V) -> A::V {
    let least = l.f32(f32::MIN_POSITIVE);
    let denormal = l.compare(FloatCC::LessThan, x, least);
    let scale = l.f32(8_388_608.0);
    let scaled = l.mul(x, scale);
    let scaled = l.pick(denormal, scaled, x);
    let minus_23 = l.f32(-23.0);
    let zero = l.f32(0.0);
    let offset = l.pick(denormal, minus_23, zero);

    let bits = l.bits(scaled);
    let two_thirds = l.i32(TWO_THIRDS);
    let e = l.isub(bits, two_thirds);
    let e = l.sar(e, 23);
    let exponent = l.shl(e, 23);
    let mantissa = l.isub(bits, exponent);
    let mantissa = l.f32_from_bits(mantissa);
    let e = l.f32_from_int(e);
    let e = l.add(e, offset);

    let one = l.f32(1.0);
    let f = l.sub(mantissa, one);
    let square = l.mul(f, f);
    let [p7, p6, p5, p4, p3, p2, p1, p0] = LOG_P;
    let q = l.poly_f32(f, &[p7, p6, p5, p4, p3, p2, p1, p0, -0.5]);
    let low = l.f32(LN2_LOW);
    let high = l.f32(LN2_HIGH);
    let y = l.mul(e, low);
    let y = l.mul_add(square, q, y);
    let y = l.add(f, y);
    let y = l.mul_add(e, high, y);

    let infinity = l.f32(f32::INFINITY);
    let endless = l.compare(FloatCC::Equal, x, infinity);
    let y = l.pick(endless, x, y);
    let none = l.compare(FloatCC::Equal, x, zero);
    let minus_infinity = l.f32(f32::NEG_INFINITY);
    let nan = l.f32(f32::NAN);
    let outside = l.pick(none, minus_infinity, nan);
    let positive = l.compare(FloatCC::GreaterThan, x, zero);
    l.pick(positive, y, outside)
}
