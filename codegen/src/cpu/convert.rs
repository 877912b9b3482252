//! Conversions between dtypes.

use super::emit::{Emitter, Result, Vecs};
use super::registers::{is_wide, lanes_of, register};
use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::types::{self, F32X4, F64X2, I32X4, I64X2};
use cranelift_codegen::ir::{InstBuilder, Value};
use ir::{DType, Scalar};
use smallvec::smallvec;

impl Emitter<'_, '_> {
    /// Converts vectors; `want` is the number of vectors of the outcome, 1 for a uniform value.
    pub(super) fn convert(&mut self, x: &Vecs, from: DType, to: DType, want: usize) -> Result<Vecs> {
        use DType::*;
        let mut out = match (from, to) {
            _ if from == to => x.clone(),
            (Bool, _) if is_wide(to) => {
                let masks = self.widen_masks(x, want);
                let one = self.bits(I64X2, Scalar::one(to).bits());
                masks.into_iter().map(|m| self.b.ins().band(m, one)).collect()
            }
            (Bool, _) => {
                let one = self.bits(I32X4, Scalar::one(to).bits());
                x.iter().map(|&m| self.b.ins().band(m, one)).collect()
            }
            (F16 | BF16, Bool) => {
                let (magnitude, zero) = (self.bits(I32X4, 0x7fff), self.bits(I32X4, 0));
                self.each(x, |e, v| {
                    let v = e.b.ins().band(v, magnitude);
                    e.b.ins().icmp(IntCC::NotEqual, v, zero)
                })
            }
            (_, Bool) => {
                let zero = smallvec![self.constant(Scalar::zero(from))];
                self.compare_vectors(ir::kernel::CompareOp::Ne, from, x, &zero)?
            }
            (F16 | BF16, F32) => self.each(x, |e, v| e.widen_half(from, v)),
            (F16 | BF16, _) => {
                let single = self.each(x, |e, v| e.widen_half(from, v));
                self.convert(&single, F32, to, want)?
            }
            (F32, F16 | BF16) => self.each(x, |e, v| e.narrow_half(to, v)),
            (_, F16 | BF16) => {
                // In two steps, as the kernel IR has it.
                let single = self.convert(x, from, F32, want)?;
                self.each(&single, |e, v| e.narrow_half(to, v))
            }
            (F32, F64) => {
                let mut out = Vecs::new();
                for &v in x {
                    out.push(self.b.ins().fvpromote_low(v));
                    if out.len() < want {
                        let high = self.shuffle32(F32X4, v, v, [2, 3, 2, 3]);
                        out.push(self.b.ins().fvpromote_low(high));
                    }
                }
                out
            }
            (F64, F32) => self.demote(x),
            (F32, U32) => self.each(x, |e, v| e.b.ins().fcvt_to_uint_sat(I32X4, v)),
            (F32, _) if !is_wide(to) => {
                let ints = self.each(x, |e, v| e.b.ins().fcvt_to_sint_sat(I32X4, v));
                self.clamp(to, &ints)
            }
            (F64, U32) => self.scalars(x, from, to, want, |e, v| e.b.ins().fcvt_to_uint_sat(types::I32, v)),
            (F64, _) if !is_wide(to) => {
                let ints = self.scalars(x, from, I32, want, |e, v| e.b.ins().fcvt_to_sint_sat(types::I32, v));
                self.clamp(to, &ints)
            }
            (F32 | F64, U64) => self.scalars(x, from, to, want, |e, v| e.b.ins().fcvt_to_uint_sat(types::I64, v)),
            (F32 | F64, _) => self.scalars(x, from, to, want, |e, v| e.b.ins().fcvt_to_sint_sat(types::I64, v)),
            (U64, F64) => self.scalars(x, from, to, want, |e, v| e.b.ins().fcvt_from_uint(types::F64, v)),
            (U64, F32) => {
                self.scalars(x, from, to, x.len().div_ceil(2), |e, v| e.b.ins().fcvt_from_uint(types::F32, v))
            }
            (I64, F32) => {
                self.scalars(x, from, to, x.len().div_ceil(2), |e, v| e.b.ins().fcvt_from_sint(types::F32, v))
            }
            (I64, F64) => self.each(x, |e, v| e.b.ins().fcvt_from_sint(F64X2, v)),
            (U32, F32) => self.each(x, |e, v| e.b.ins().fcvt_from_uint(F32X4, v)),
            (_, F32) => self.each(x, |e, v| e.b.ins().fcvt_from_sint(F32X4, v)),
            (_, F64) => {
                let wide = self.widen_ints(from, x, want);
                wide.into_iter().map(|v| self.b.ins().fcvt_from_sint(F64X2, v)).collect()
            }
            // Integers: the low bits, or more of them.
            _ => match (is_wide(from), is_wide(to)) {
                (true, true) => x.clone(),
                (false, true) => self.widen_ints(from, x, want),
                (true, false) => {
                    let low = self.narrow(x);
                    self.each(&low, |e, v| e.wrap(to, v))
                }
                (false, false) => self.each(x, |e, v| e.wrap(to, v)),
            },
        };
        out.truncate(want);
        let ty = register(to);
        Ok(out.into_iter().map(|v| self.cast(ty, v)).collect())
    }

    fn each(&mut self, x: &Vecs, mut f: impl FnMut(&mut Self, Value) -> Value) -> Vecs {
        x.iter().map(|&v| f(self, v)).collect()
    }

    /// The same bits; narrow ones are extended as their dtype wants it.
    pub(super) fn bitcast(&mut self, from: DType, to: DType, x: &Vecs) -> Vecs {
        let narrow = to.size() < 4 && from.is_signed() != to.is_signed();
        let extended = |e: &mut Self, v| match to {
            _ if !narrow => v,
            DType::F16 | DType::BF16 => e.wrap(DType::U16, v),
            int => e.wrap(int, v),
        };
        let vecs = self.each(x, extended);
        self.each(&vecs, |e, v| e.cast(register(to), v))
    }

    /// Converts lane by lane; a uniform value once.
    fn scalars(
        &mut self,
        x: &Vecs,
        from: DType,
        to: DType,
        want: usize,
        mut f: impl FnMut(&mut Self, Value) -> Value,
    ) -> Vecs {
        // One side has 64-bit lanes, so a varying value has at least two vectors there.
        let uniform = x.len() == 1 && want == 1;
        if uniform {
            let lane = self.b.ins().extractlane(x[0], 0);
            let out = f(self, lane);
            return smallvec![self.b.ins().splat(register(to), out)];
        }
        let mut out = Vec::new();
        for &v in x {
            for lane in 0..lanes_of(from) {
                let lane = self.b.ins().extractlane(v, lane as u8);
                out.push(f(self, lane));
            }
        }
        self.gather(to, &out)
    }

    /// Extends 32-bit lanes to 64 bits.
    fn widen_ints(&mut self, from: DType, x: &Vecs, want: usize) -> Vecs {
        let mut out = Vecs::new();
        let extend = |e: &mut Self, v| match from {
            DType::U32 => e.b.ins().uwiden_low(v),
            _ => e.b.ins().swiden_low(v),
        };
        for &v in x {
            out.push(extend(self, v));
            if out.len() < want {
                let high = self.shuffle32(I32X4, v, v, [2, 3, 2, 3]);
                out.push(extend(self, high));
            }
        }
        out
    }

    /// Signed 32-bit lanes in the range of a narrower integer.
    fn clamp(&mut self, to: DType, x: &Vecs) -> Vecs {
        if to == DType::I32 {
            return x.clone();
        }
        let [low, high] =
            [Scalar::lowest(to), Scalar::highest(to)].map(|s| self.bits(I32X4, s.convert(DType::I32).bits()));
        self.each(x, |e, v| {
            let v = e.b.ins().smax(v, low);
            e.b.ins().smin(v, high)
        })
    }

    fn demote(&mut self, x: &Vecs) -> Vecs {
        let halves: Vecs = self.each(x, |e, v| e.b.ins().fvdemote(v));
        let pairs = halves.chunks(2);
        pairs.map(|p| self.shuffle32(F32X4, p[0], *p.last().unwrap_or(&p[0]), [0, 1, 4, 5])).collect()
    }

    /// Bits of a 16-bit float to f32.
    pub(super) fn widen_half(&mut self, from: DType, bits: Value) -> Value {
        if from == DType::BF16 {
            let high = self.shift_left(bits, 16);
            return self.cast(F32X4, high);
        }
        // The exponent and fraction, in f32's place, are the value times 2^-112, denormals too.
        let (magnitude, sign) = (self.bits(I32X4, 0x7fff), self.bits(I32X4, 0x8000));
        let low = self.b.ins().band(bits, magnitude);
        let shifted = self.shift_left(low, 13);
        let scaled = self.cast(F32X4, shifted);
        let scale = self.constant(Scalar::F32(f32::from_bits((112 + 127) << 23)));
        let value = self.b.ins().fmul(scaled, scale);
        let value = self.cast(I32X4, value);
        let last = self.bits(I32X4, 0x7bff);
        let special = self.b.ins().icmp(IntCC::SignedGreaterThan, low, last);
        let infinity = self.bits(I32X4, 0x7f80_0000);
        let special = self.b.ins().band(special, infinity);
        let value = self.b.ins().bor(value, special);
        let sign = self.b.ins().band(bits, sign);
        let sign = self.shift_left(sign, 16);
        let value = self.b.ins().bor(value, sign);
        self.cast(F32X4, value)
    }

    /// f32 to the bits of a 16-bit float, rounded to nearest even.
    fn narrow_half(&mut self, to: DType, x: Value) -> Value {
        let bits = self.cast(I32X4, x);
        let x = self.cast(F32X4, x);
        let nan = self.b.ins().fcmp(FloatCC::Unordered, x, x);
        let one = self.bits(I32X4, 1);
        if to == DType::BF16 {
            let high = self.shift_right(bits, 16);
            let even = self.b.ins().band(high, one);
            let half = self.bits(I32X4, 0x7fff);
            let half = self.b.ins().iadd(half, even);
            let rounded = self.b.ins().iadd(bits, half);
            let rounded = self.shift_right(rounded, 16);
            let quiet = self.bits(I32X4, 0x40);
            let quiet = self.b.ins().bor(high, quiet);
            return self.b.ins().bitselect(nan, quiet, rounded);
        }
        let magnitude = self.bits(I32X4, 0x7fff_ffff);
        let size = self.b.ins().band(bits, magnitude);
        // Normal: rebias the exponent, add just below half a unit and one more if odd, and drop 13 bits. A carry out
        // of the fraction belongs in the exponent, up to infinity.
        let fraction = self.shift_right(size, 13);
        let odd = self.b.ins().band(fraction, one);
        let bias = self.bits(I32X4, 0xfffu32.wrapping_sub((127 - 15) << 23) as u64);
        let normal = self.b.ins().iadd(size, bias);
        let normal = self.b.ins().iadd(normal, odd);
        let normal = self.shift_right(normal, 13);
        // Denormal: 0.5 has a unit of 2^-24, that of f16's denormals, so the addition rounds as wanted.
        let half = self.constant(Scalar::F32(0.5));
        let magnitude = self.cast(F32X4, size);
        let small = self.b.ins().fadd(magnitude, half);
        let small = self.cast(I32X4, small);
        let half = self.cast(I32X4, half);
        let small = self.b.ins().isub(small, half);
        let least = self.bits(I32X4, (127 - 14) << 23);
        let denormal = self.b.ins().icmp(IntCC::SignedLessThan, size, least);
        let value = self.b.ins().bitselect(denormal, small, normal);
        let most = self.bits(I32X4, ((127 + 16) << 23) - 1);
        let over = self.b.ins().icmp(IntCC::SignedGreaterThan, size, most);
        let infinity = self.bits(I32X4, 0x7c00);
        let value = self.b.ins().bitselect(over, infinity, value);
        let (payload, quiet) = (self.bits(I32X4, 0x3ff), self.bits(I32X4, 0x7e00));
        let payload = self.b.ins().band(fraction, payload);
        let quiet = self.b.ins().bor(payload, quiet);
        let value = self.b.ins().bitselect(nan, quiet, value);
        let sign = self.shift_right(bits, 16);
        let high = self.bits(I32X4, 0x8000);
        let sign = self.b.ins().band(sign, high);
        self.b.ins().bor(value, sign)
    }

    fn shift_left(&mut self, x: Value, by: i64) -> Value {
        let by = self.b.ins().iconst(types::I32, by);
        self.b.ins().ishl(x, by)
    }

    /// Shifts zeros in.
    fn shift_right(&mut self, x: Value, by: i64) -> Value {
        let by = self.b.ins().iconst(types::I32, by);
        self.b.ins().ushr(x, by)
    }
}
