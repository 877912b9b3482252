//! erfc, the inverse of erf, and cbrt, in f64.

use super::lanes::Lanes;
use super::wide::{self, in_f64};
use cranelift_codegen::ir::condcodes::FloatCC;
use cranelift_codegen::ir::types::{F32X4, I32X4};
use cranelift_codegen::ir::{InstBuilder, Value};

/// From here erfc is less than half the least denormal.
const ERFC_ZERO: f64 = 10.1;
/// `erfc(x) = exp(-x^2) t p(t)` with `t = 2 / (2 + x)`, for `x` up to [`ERFC_ZERO`], relative error 2^-35.8.
const ERFC_P: [f64; 14] = [
    0.03027092497292509,
    -0.23449807744605822,
    0.7898875521180408,
    -1.4857261600436749,
    1.6539219509365413,
    -1.0669093301493928,
    0.42263281528537944,
    -0.2022475526900922,
    0.024848761984932664,
    0.0803749392692847,
    0.1763929191583689,
    0.24686585606321265,
    0.28209042891315944,
    0.28209497164457004,
];
/// `erf_inv(x) = x p(w - 3)` with `w = -log(1 - x^2)` up to 6, relative error 2^-28.5.
const ERF_INV_P: [f64; 12] = [
    3.533576363844884e-11,
    6.795428545685201e-10,
    -6.304589825291229e-09,
    -1.9524596881660522e-08,
    4.554261614801829e-07,
    -1.7667274491818973e-06,
    -1.2734096624067348e-05,
    0.0001950994394711499,
    -0.0008361567806734596,
    -0.005738163463318597,
    0.2416303939130792,
    1.6235420098158198,
];
/// `erf_inv(x) = x q(sqrt(w) - 3.2)` for `w` from 6 to 17, relative error 2^-27.4.
const ERF_INV_Q: [f64; 10] = [
    6.330904583173238e-05,
    -7.88437404183883e-05,
    -0.0003093069862094857,
    0.0011109585437483866,
    -0.0020157139043398588,
    0.0029437029822032413,
    -0.004290332007230738,
    0.005973781418198921,
    1.0046922716610627,
    3.033636564896129,
];
/// The bits of `2^(2/3 * 127)`, moved so that the estimate errs as much above as below: the constant of fdlibm's cbrt.
const CBRT_BIAS: u32 = 709_958_130;

pub(super) fn erfc(l: &mut Lanes, x: Value) -> Value {
    in_f64(l, x, |l, x| {
        let a = l.abs(x);
        let most = l.f64(ERFC_ZERO);
        let a = l.at_most(a, most);
        let square = l.mul(a, a);
        let minus = l.neg(square);
        let bell = wide::exp(l, minus);
        let (zero, two) = (l.f64(0.0), l.f64(2.0));
        let sum = l.add(a, two);
        let t = l.div(two, sum);
        let p = l.poly_f64(t, &ERFC_P);
        let p = l.mul(p, t);
        let right = l.mul(bell, p);
        let left = l.sub(two, right);
        let negative = l.compare(FloatCC::LessThan, x, zero);
        l.pick(negative, left, right)
    })
}

/// As Giles has it ("Approximating the erfinv function", 2010), with polynomials for f64.
pub(super) fn erf_inv(l: &mut Lanes, x: Value) -> Value {
    in_f64(l, x, |l, x| {
        let (one, zero) = (l.f64(1.0), l.f64(0.0));
        let (below, above) = (l.sub(one, x), l.add(one, x));
        let u = l.mul(below, above);
        let square = l.mul(x, x);
        let f = l.neg(square);
        let log = wide::log(l, u, f);
        let w = l.sub(zero, log);
        let three = l.f64(3.0);
        let near = l.sub(w, three);
        let near = l.poly_f64(near, &ERF_INV_P);
        let root = l.sqrt(w);
        let middle = l.f64(3.2);
        let far = l.sub(root, middle);
        let far = l.poly_f64(far, &ERF_INV_Q);
        let six = l.f64(6.0);
        let is_near = l.compare(FloatCC::LessThan, w, six);
        let slope = l.pick(is_near, near, far);
        let infinity = l.f64(f64::INFINITY);
        let at_one = l.compare(FloatCC::Equal, u, zero);
        let slope = l.pick(at_one, infinity, slope);
        l.mul(x, slope)
    })
}

/// A third of the exponent for a start, within 4 %, then two of Halley's steps, each of which triples the digits.
pub(super) fn cbrt(l: &mut Lanes, x: Value) -> Value {
    let a = l.abs(x);
    let (least, scale, zero) = (l.f32(f32::MIN_POSITIVE), l.f32(16_777_216.0), l.f32(0.0));
    let denormal = l.compare(FloatCC::LessThan, a, least);
    let scaled = l.mul(a, scale);
    let scaled = l.pick(denormal, scaled, a);
    let (unscale, one) = (l.f32(1.0 / 256.0), l.f32(1.0));
    let unscale = l.pick(denormal, unscale, one);

    let bits = l.bits(scaled);
    let bits = l.b.ins().fcvt_from_sint(F32X4, bits);
    let third = l.f32(1.0 / 3.0);
    let bits = l.mul(bits, third);
    let bits = l.b.ins().fcvt_to_sint_sat(I32X4, bits);
    let bias = l.i32(CBRT_BIAS);
    let bits = l.iadd(bits, bias);
    let start = l.f32_from_bits(bits);

    let (starts, numbers) = (l.widen(start), l.widen(scaled));
    let roots = [0, 1].map(|i| {
        let (mut t, a) = (starts[i], numbers[i]);
        for _ in 0..2 {
            let square = l.mul(t, t);
            let cube = l.mul(square, t);
            let sum = l.add(cube, a);
            let (above, below) = (l.add(sum, a), l.add(sum, cube));
            let ratio = l.div(above, below);
            t = l.mul(t, ratio);
        }
        t
    });
    let root = l.narrow(roots);
    let root = l.mul(root, unscale);
    let infinity = l.f32(f32::INFINITY);
    let positive = l.compare(FloatCC::GreaterThan, a, zero);
    let finite = l.compare(FloatCC::LessThan, a, infinity);
    let ordinary = l.and(positive, finite);
    let root = l.pick(ordinary, root, a);
    let sign = l.sign(x);
    l.or(root, sign)
}
