//! sin and cos: the argument less a multiple of π in f64, then one odd polynomial for both.
//!
//! Up to 2^25 the reduction is Cody and Waite's with π in two parts. Above, and only if some lane is there, a cold loop
//! over the lanes multiplies the significand by the bits of 1/π that matter (Payne and Hanek, "Radian reduction for
//! trigonometric functions", 1983) in 64-bit integers.

use super::lanes::Lanes;
use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::types::{F32, F32X4, F64, I32, I64};
use cranelift_codegen::ir::{InstBuilder, MemFlagsData, StackSlotData, StackSlotKind, Value};

/// Adding it rounds a small f64 to an integer, which is then in the low bits.
const ROUND: f64 = 6_755_399_441_055_744.0;
/// π with 27 bits, so that products with numbers of 25 bits and a half are exact.
const PI_HIGH: f64 = 3.141592651605606;
const PI_LOW: f64 = 1.984187159361081e-9;
/// Multiples of π below this magnitude fit the two parts.
const LARGE: f32 = 33_554_432.0;
/// `sin(r) = r + r^3 q(r^2)` for `|r| <= π/2`, relative error 2^-27.3.
const SIN_Q: [f32; 4] = [2.6060957e-6, -0.00019809777, 0.008333069, -0.1666666];
/// `floor(2^193 / π)`, 64 bits a word, lowest first.
const INVERSE_PI: [u64; 3] = [0xdb62_9599_3c43_9041, 0xfc27_57d1_f534_ddc0, 0xa2f9_836e_4e44_1529];

pub(super) fn sin(l: &mut Lanes, x: Value) -> Value {
    let r = reduce(l, x, false);
    sin_reduced(l, r)
}

pub(super) fn cos(l: &mut Lanes, x: Value) -> Value {
    let r = reduce(l, x, true);
    sin_reduced(l, r)
}

/// sin of a value within ±π/2.
fn sin_reduced(l: &mut Lanes, r: Value) -> Value {
    let square = l.mul(r, r);
    let q = l.poly_f32(square, &SIN_Q);
    let a = l.abs(r);
    let cube = l.mul(a, square);
    let y = l.mul_add(cube, q, a);
    let one = l.f32(1.0);
    let y = l.at_most(y, one);
    let sign = l.sign(r);
    l.or(y, sign)
}

/// A value within ±π/2 whose sine is the sine of `x`, or of `x + π/2` for cos.
pub(super) fn reduce(l: &mut Lanes, x: Value, is_cos: bool) -> Value {
    let halves = l.widen(x).map(|x| {
        let inverse = l.f64(std::f64::consts::FRAC_1_PI);
        let round = l.f64(ROUND);
        let (t, n) = if is_cos {
            let half = l.f64(0.5);
            let t = l.mul_add(x, inverse, half);
            let t = l.add(t, round);
            let n = l.sub(t, round);
            (t, l.sub(n, half))
        } else {
            let t = l.mul_add(x, inverse, round);
            (t, l.sub(t, round))
        };
        let high = l.f64(PI_HIGH);
        let low = l.f64(PI_LOW);
        let r = l.sub_mul(x, n, high);
        let r = l.sub_mul(r, n, low);
        // Odd multiples of π change the sign.
        let t = l.bits(t);
        let odd = l.shl(t, 63);
        let odd = l.f64_from_bits(odd);
        l.xor(r, odd)
    });
    let r = l.narrow(halves);

    let a = l.abs(x);
    let large = l.f32(LARGE);
    let is_large = l.compare(FloatCC::GreaterThanOrEqual, a, large);
    let any_large = l.b.ins().vany_true(is_large);
    let [cold, done] = [(); 2].map(|()| l.b.create_block());
    let result = l.b.append_block_param(done, F32X4);
    l.b.set_cold_block(cold);
    l.b.ins().brif(any_large, cold, &[], done, &[r.into()]);

    l.b.seal_block(cold);
    l.b.switch_to_block(cold);
    let far = reduce_large(l, x, is_cos);
    // NaN for infinities.
    let nothing = l.sub(x, x);
    let far = l.add(far, nothing);
    let r = l.pick(is_large, far, r);
    l.b.ins().jump(done, &[r.into()]);

    l.b.seal_block(done);
    l.b.switch_to_block(done);
    result
}

/// As [`reduce`] for finite lanes of at least [`LARGE`]; any number for the others.
fn reduce_large(l: &mut Lanes, x: Value, is_cos: bool) -> Value {
    let b = &mut *l.b;
    let slot = |b: &mut cranelift_frontend::FunctionBuilder, size| {
        b.create_sized_stack_slot(StackSlotData::new(StackSlotKind::ExplicitSlot, size, 4))
    };
    let table = slot(b, 24);
    for (i, &word) in INVERSE_PI.iter().enumerate() {
        let word = b.ins().iconst(I64, word as i64);
        b.ins().stack_store(I64, word, table, 8 * i as i32);
    }
    let lanes = slot(b, 16);
    b.ins().stack_store(I64, x, lanes, 0);
    let table = b.ins().stack_addr(I64, table, 0);
    let lanes_at = b.ins().stack_addr(I64, lanes, 0);

    let [head, done] = [(); 2].map(|()| b.create_block());
    b.set_cold_block(head);
    b.set_cold_block(done);
    let lane = b.append_block_param(head, I64);
    let first = b.ins().iconst(I64, 0);
    b.ins().jump(head, &[first.into()]);
    b.switch_to_block(head);
    let flags = MemFlagsData::new().with_notrap();
    let at = b.ins().iadd(lanes_at, lane);
    let bits = b.ins().load(I32, flags, at, 0);
    let bits = b.ins().uextend(I64, bits);
    // |x| = m 2^(e + 2); the clamp keeps the loads in the table for the lanes whose result is not used.
    let exponent = b.ins().ushr_imm_u(bits, 23);
    let exponent = b.ins().band_imm_u(exponent, 0xff);
    let e = b.ins().iadd_imm_s(exponent, -152);
    let most = b.ins().iconst(I64, 103);
    let e = b.ins().umin(e, most);
    let m = b.ins().band_imm_u(bits, 0x7f_ffff);
    let m = b.ins().bor_imm_u(m, 0x80_0000);
    let bit = b.ins().band_imm_u(e, 7);
    let m = b.ins().ishl(m, bit);
    // |x| / π modulo 2 in units of 2^-63: the significand times 96 bits of 1/π.
    let byte = b.ins().ushr_imm_u(e, 3);
    let window = b.ins().isub(table, byte);
    let low = b.ins().load(I32, flags, window, 12);
    let low = b.ins().uextend(I64, low);
    let high = b.ins().load(I64, flags, window, 16);
    let low = b.ins().imul(m, low);
    let low = b.ins().ushr_imm_u(low, 32);
    let high = b.ins().imul(m, high);
    let turns = b.ins().iadd(high, low);
    let half = b.ins().iconst(I64, 1 << 62);
    let turns = if is_cos { b.ins().iadd(turns, half) } else { turns };
    let rounded = b.ins().iadd(turns, half);
    let odd = b.ins().ushr_imm_u(rounded, 63);
    let odd = b.ins().ishl_imm_u(odd, 63);
    let rest = b.ins().isub(turns, odd);
    let rest = b.ins().fcvt_from_sint(F64, rest);
    let unit = b.ins().f64const(std::f64::consts::PI / (1u64 << 63) as f64);
    let r = b.ins().fmul(rest, unit);
    let r = b.ins().bitcast(I64, MemFlagsData::new(), r);
    let sign = if is_cos {
        odd
    } else {
        let sign = b.ins().ushr_imm_u(bits, 31);
        let sign = b.ins().ishl_imm_u(sign, 63);
        b.ins().bxor(sign, odd)
    };
    let r = b.ins().bxor(r, sign);
    let r = b.ins().bitcast(F64, MemFlagsData::new(), r);
    let r = b.ins().fdemote(F32, r);
    b.ins().store(flags, r, at, 0);
    let next = b.ins().iadd_imm_s(lane, 4);
    let more = b.ins().icmp_imm_u(IntCC::UnsignedLessThan, next, 16);
    b.ins().brif(more, head, &[next.into()], done, &[]);
    b.seal_block(head);
    b.seal_block(done);
    b.switch_to_block(done);
    b.ins().stack_load(I64, F32X4, lanes, 0)
}
