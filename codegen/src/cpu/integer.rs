//! Integer arithmetic on vectors.
//!
//! Integers below 32 bits live in 32-bit lanes, extended with their sign or with zeros; what may leave their range is
//! [wrapped](Emitter::wrap). Among the extended ones, signed operations are right for both kinds.

use super::emit::{Emitter, Result};
use super::registers::{lane_type, lanes_of, register};
use super::routines::Routine;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{I32, I32X4, I64};
use cranelift_codegen::ir::{InstBuilder, Value};
use ir::kernel::{BinaryOp, UnaryOp};
use ir::{DType, Scalar};

/// True for the dtypes that need operations of their own for being unsigned.
pub(super) fn is_unsigned_lane(dtype: DType) -> bool {
    matches!(dtype, DType::U32 | DType::U64)
}

impl Emitter<'_, '_> {
    /// What is left of a 32-bit lane in the range of a narrower integer.
    pub(super) fn wrap(&mut self, dtype: DType, v: Value) -> Value {
        match dtype {
            DType::U8 | DType::U16 => {
                let low = self.bits(I32X4, Scalar::highest(dtype).bits());
                self.b.ins().band(v, low)
            }
            DType::I8 | DType::I16 => {
                let unused = self.b.ins().iconst(I32, 32 - dtype.bits() as i64);
                let high = self.b.ins().ishl(v, unused);
                self.b.ins().sshr(high, unused)
            }
            _ => v,
        }
    }

    pub(super) fn integer_unary(&mut self, op: UnaryOp, dtype: DType, x: Value, uniform: bool) -> Result<Value> {
        let zero = self.bits(register(dtype), 0);
        let out = match op {
            UnaryOp::Neg => self.b.ins().ineg(x),
            UnaryOp::Not => self.b.ins().bnot(x),
            UnaryOp::Abs if dtype.is_unsigned() => return Ok(x),
            UnaryOp::Abs => self.b.ins().iabs(x),
            // Masks are -1 where true.
            UnaryOp::Sign if dtype.is_unsigned() => {
                let some = self.b.ins().icmp(IntCC::NotEqual, x, zero);
                self.b.ins().ineg(some)
            }
            UnaryOp::Sign => {
                let negative = self.b.ins().icmp(IntCC::SignedLessThan, x, zero);
                let positive = self.b.ins().icmp(IntCC::SignedGreaterThan, x, zero);
                self.b.ins().isub(negative, positive)
            }
            UnaryOp::Popcnt => {
                // The copies of the sign above a narrow integer do not count.
                let x = match dtype {
                    DType::I8 => self.wrap(DType::U8, x),
                    DType::I16 => self.wrap(DType::U16, x),
                    _ => x,
                };
                return self.by_lane(dtype, uniform, lanes_of(dtype), |e, lane| {
                    let x = e.b.ins().extractlane(x, lane);
                    Ok(e.b.ins().popcnt(x))
                });
            }
            _ => return self.unsupported(op.name(), dtype),
        };
        Ok(self.wrap(dtype, out))
    }

    pub(super) fn integer_binary(
        &mut self,
        op: BinaryOp,
        dtype: DType,
        [x, y]: [Value; 2],
        known: Option<Scalar>,
        uniform: bool,
    ) -> Result<Value> {
        use BinaryOp::*;
        let unsigned = is_unsigned_lane(dtype);
        let out = match op {
            Add => self.b.ins().iadd(x, y),
            Sub => self.b.ins().isub(x, y),
            Mul => self.b.ins().imul(x, y),
            And => self.b.ins().band(x, y),
            Or => self.b.ins().bor(x, y),
            Xor => self.b.ins().bxor(x, y),
            Max | Min if lane_type(dtype) == I64 => {
                let cc = if unsigned { IntCC::UnsignedGreaterThan } else { IntCC::SignedGreaterThan };
                let greater = self.b.ins().icmp(cc, x, y);
                let (x, y) = if op == Max { (x, y) } else { (y, x) };
                self.b.ins().bitselect(greater, x, y)
            }
            Max if unsigned => self.b.ins().umax(x, y),
            Min if unsigned => self.b.ins().umin(x, y),
            Max => self.b.ins().smax(x, y),
            Min => self.b.ins().smin(x, y),
            Atan2 | LogGammaSlope => return self.unsupported(op.name(), dtype),
            Shl | Shr => self.shift(op, dtype, [x, y], known, uniform)?,
            Div | Rem => self.by_lane(dtype, uniform, lanes_of(dtype), |e, lane| {
                let x = e.b.ins().extractlane(x, lane);
                let y = e.b.ins().extractlane(y, lane);
                Ok(if unsigned {
                    e.divide_unsigned(op, dtype, x, y, known.map(|c| c.bits()))
                } else {
                    e.divide(op, dtype, x, y, known.map(Scalar::as_i64))
                })
            })?,
            Pow => self.by_lane(dtype, uniform, lanes_of(dtype), |e, lane| {
                let (x, y) = (e.b.ins().extractlane(x, lane), e.b.ins().extractlane(y, lane));
                let [x, y] = [x, y].map(|v| match (lane_type(dtype), unsigned) {
                    (I64, _) => v,
                    (_, true) => e.b.ins().uextend(I64, v),
                    (_, false) => e.b.ins().sextend(I64, v),
                });
                let routine = if dtype.is_unsigned() { Routine::PowUint } else { Routine::PowInt };
                let r = e.routine(routine, &[x, y], Some(I64))?;
                let r = r.ok_or_else(|| e.malformed("a routine without a result"))?;
                Ok(if lane_type(dtype) == I64 { r } else { e.b.ins().ireduce(I32, r) })
            })?,
        };
        Ok(self.wrap(dtype, out))
    }

    fn shift(
        &mut self,
        op: BinaryOp,
        dtype: DType,
        [x, y]: [Value; 2],
        known: Option<Scalar>,
        uniform: bool,
    ) -> Result<Value> {
        let (left, signed) = (op == BinaryOp::Shl, dtype.is_signed());
        let bits = dtype.bits() as i64;
        // The sign again is all that comes in where nothing stays.
        let beyond = if left || !signed { None } else { Some(bits - 1) };
        if let Some(by) = known {
            let by = by.as_i128().unwrap_or(-1);
            let Some(by) = i64::try_from(by).ok().filter(|by| (0..bits).contains(by)).or(beyond) else {
                return Ok(self.bits(register(dtype), 0));
            };
            let by = self.b.ins().iconst(I32, by);
            return Ok(match (left, signed) {
                (true, _) => self.b.ins().ishl(x, by),
                (false, true) => self.b.ins().sshr(x, by),
                (false, false) => self.b.ins().ushr(x, by),
            });
        }
        self.by_lane(dtype, uniform, lanes_of(dtype), |e, lane| {
            let (x, y) = (e.b.ins().extractlane(x, lane), e.b.ins().extractlane(y, lane));
            let inside = e.b.ins().icmp_imm_s(IntCC::UnsignedLessThan, y, bits);
            let ty = lane_type(dtype);
            let other = e.b.ins().iconst(ty, beyond.unwrap_or(0));
            // The machine takes the amount modulo the size of the lane.
            let by = e.b.ins().select(inside, y, other);
            let moved = match (left, signed) {
                (true, _) => e.b.ins().ishl(x, by),
                (false, true) => e.b.ins().sshr(x, by),
                (false, false) => e.b.ins().ushr(x, by),
            };
            let zero = e.b.ins().iconst(ty, 0);
            Ok(if beyond.is_some() { moved } else { e.b.ins().select(inside, moved, zero) })
        })
    }

    /// Quotient or remainder of signed scalars that never traps.
    fn divide(&mut self, op: BinaryOp, dtype: DType, x: Value, y: Value, known: Option<i64>) -> Value {
        let ty = lane_type(dtype);
        let quotient = op == BinaryOp::Div;
        // The machine may divide by anything but these; unsigned ones are extended with zeros, so -1 is none of them.
        let zero = self.b.ins().iconst(ty, 0);
        let one = self.b.ins().iconst(ty, 1);
        let safe = match known {
            Some(0 | -1) => one,
            Some(c) => self.b.ins().iconst(ty, c),
            None => {
                // y is 0 or -1 just where y + 1 is at most 1, unsigned.
                let next = self.b.ins().iadd(y, one);
                let risky = self.b.ins().icmp(IntCC::UnsignedLessThanOrEqual, next, one);
                self.b.ins().select(risky, one, y)
            }
        };
        let plain = if quotient { self.b.ins().sdiv(x, safe) } else { self.b.ins().srem(x, safe) };
        if known.is_some_and(|n| n != 0 && n != -1) {
            return plain;
        }
        let by_zero = if quotient { zero } else { x };
        let by_minus_one = if quotient { self.b.ins().ineg(x) } else { zero };
        let is_zero = self.b.ins().icmp(IntCC::Equal, y, zero);
        let negative = self.b.ins().icmp_imm_s(IntCC::Equal, y, -1);
        let out = self.b.ins().select(negative, by_minus_one, plain);
        self.b.ins().select(is_zero, by_zero, out)
    }

    /// The same of unsigned scalars.
    fn divide_unsigned(&mut self, op: BinaryOp, dtype: DType, x: Value, y: Value, known: Option<u64>) -> Value {
        let ty = lane_type(dtype);
        let quotient = op == BinaryOp::Div;
        let zero = self.b.ins().iconst(ty, 0);
        let one = self.b.ins().iconst(ty, 1);
        let is_zero = self.b.ins().icmp(IntCC::Equal, y, zero);
        let safe = match known {
            Some(0) => one,
            Some(c) => self.b.ins().iconst(ty, c as i64),
            None => self.b.ins().select(is_zero, one, y),
        };
        let plain = if quotient { self.b.ins().udiv(x, safe) } else { self.b.ins().urem(x, safe) };
        if known.is_some_and(|n| n != 0) {
            return plain;
        }
        self.b.ins().select(is_zero, if quotient { zero } else { x }, plain)
    }
}
