//! erf: an odd polynomial for small arguments, `1 - 2^g(|x|)` above.

use super::arithmetic::Arithmetic;
use cranelift_codegen::ir::condcodes::FloatCC;

/// Adding it rounds a small f32 to an integer, which is then in the low bits, plus the exponent's bias.
const ROUND_BIASED: f32 = 12_582_912.0 + 127.0;
/// Where the two forms meet.
const MIDDLE: f32 = 0.95;
/// From here erf rounds to 1.
const ERF_ONE: f32 = 3.93;
/// `erf(x) = x + x p(x^2)` up to [`MIDDLE`], relative error 2^-25.1.
const ERF_P: [f32; 6] = [-0.0005808046, 0.004955341, -0.02673929, 0.112810135, -0.3761241, 0.12837914];
/// `erfc(x) = 2^g(x)` from [`MIDDLE`] to [`ERF_ONE`], absolute error 2^-25.5.
const ERFC_G: [f32; 6] = [-0.0017318706, 0.02189907, -0.12968485, -0.94145393, -1.6141988, -0.0032461255];
/// `2^r` for `|r| <= 1/2`, relative error 2^-23.
const EXP2: [f32; 6] = [0.0013402271, 0.009679481, 0.05550277, 0.24021985, 0.69314724, 1.0000001];

#[inline(always)]
pub(super) fn erf<A: Arithmetic>(l: &mut A, x: A::V) -> A::V {
    let a = l.abs(x);
    let square = l.mul(x, x);
    let p = l.poly_f32(square, &ERF_P);
    let small = l.mul_add(a, p, a);

    let limit = l.f32(ERF_ONE);
    let y = l.at_most(a, limit);
    let g = l.poly_f32(y, &ERFC_G);
    let round = l.f32(ROUND_BIASED);
    let t = l.add(g, round);
    let n = l.sub(t, round);
    let r = l.sub(g, n);
    let p = l.poly_f32(r, &EXP2);
    let t = l.bits(t);
    let power = l.shl(t, 23);
    let power = l.f32_from_bits(power);
    let one = l.f32(1.0);
    let large = l.sub_mul(one, p, power);

    let middle = l.f32(MIDDLE);
    let is_small = l.compare(FloatCC::LessThan, a, middle);
    let y = l.pick(is_small, small, large);
    let sign = l.sign(x);
    l.or(y, sign)
}
