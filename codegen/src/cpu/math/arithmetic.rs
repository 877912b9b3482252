//! What the functions of f32 are written in, so that the same text is emitted as code and compiled ahead.

use super::lanes::Lanes;
use cranelift_codegen::ir::InstBuilder;
use cranelift_codegen::ir::Value;
use cranelift_codegen::ir::condcodes::FloatCC;
use cranelift_codegen::ir::types::F32X4;

/// Arithmetic on vectors of f32 and of their bits.
pub(super) trait Arithmetic {
    /// A vector of f32, or of 32-bit integers.
    type V: Copy;

    /// Copies of an f32.
    fn f32(&mut self, x: f32) -> Self::V;
    /// Copies of an integer.
    fn i32(&mut self, x: u32) -> Self::V;
    fn add(&mut self, x: Self::V, y: Self::V) -> Self::V;
    fn sub(&mut self, x: Self::V, y: Self::V) -> Self::V;
    fn mul(&mut self, x: Self::V, y: Self::V) -> Self::V;
    fn div(&mut self, x: Self::V, y: Self::V) -> Self::V;
    /// `x * y + z`, rounded once where the target can.
    fn mul_add(&mut self, x: Self::V, y: Self::V, z: Self::V) -> Self::V;
    /// `z - x * y`, rounded once where the target can.
    fn sub_mul(&mut self, z: Self::V, x: Self::V, y: Self::V) -> Self::V;
    fn neg(&mut self, x: Self::V) -> Self::V;
    fn abs(&mut self, x: Self::V) -> Self::V;
    /// All ones in the lanes where the comparison holds.
    fn compare(&mut self, how: FloatCC, x: Self::V, y: Self::V) -> Self::V;
    /// `x` where the mask is all ones, else `y`.
    fn pick(&mut self, mask: Self::V, x: Self::V, y: Self::V) -> Self::V;
    /// The bits of f32 lanes as integers.
    fn bits(&mut self, x: Self::V) -> Self::V;
    /// The inverse.
    fn f32_from_bits(&mut self, x: Self::V) -> Self::V;
    /// Signed integers, rounded to f32.
    fn f32_from_int(&mut self, x: Self::V) -> Self::V;
    fn isub(&mut self, x: Self::V, y: Self::V) -> Self::V;
    fn shl(&mut self, x: Self::V, by: i64) -> Self::V;
    fn shr(&mut self, x: Self::V, by: i64) -> Self::V;
    fn sar(&mut self, x: Self::V, by: i64) -> Self::V;
    fn and(&mut self, x: Self::V, y: Self::V) -> Self::V;
    fn or(&mut self, x: Self::V, y: Self::V) -> Self::V;

    /// The polynomial with these coefficients, highest power first.
    #[inline(always)]
    fn poly_f32(&mut self, x: Self::V, coefficients: &[f32]) -> Self::V {
        let mut y = self.f32(coefficients[0]);
        for &c in &coefficients[1..] {
            let c = self.f32(c);
            y = self.mul_add(y, x, c);
        }
        y
    }

    /// `limit` where `x` is above it, else `x`: NaN stays.
    #[inline(always)]
    fn at_most(&mut self, x: Self::V, limit: Self::V) -> Self::V {
        let less = self.compare(FloatCC::LessThan, limit, x);
        self.pick(less, limit, x)
    }

    /// `limit` where `x` is below it, else `x`: NaN stays.
    #[inline(always)]
    fn at_least(&mut self, x: Self::V, limit: Self::V) -> Self::V {
        let less = self.compare(FloatCC::LessThan, x, limit);
        self.pick(less, limit, x)
    }

    /// The sign bit of every lane.
    #[inline(always)]
    fn sign(&mut self, x: Self::V) -> Self::V {
        let mask = self.f32(-0.0);
        self.and(x, mask)
    }
}

macro_rules! as_emitted {
    ($($name:ident($($x:ident: $t:ty),*);)*) => {
        $(fn $name(&mut self, $($x: $t),*) -> Value { Lanes::$name(self, $($x),*) })*
    };
}
impl Arithmetic for Lanes<'_, '_> {
    type V = Value;

    as_emitted! {
        f32(x: f32);
        i32(x: u32);
        add(x: Value, y: Value);
        sub(x: Value, y: Value);
        mul(x: Value, y: Value);
        div(x: Value, y: Value);
        mul_add(x: Value, y: Value, z: Value);
        sub_mul(z: Value, x: Value, y: Value);
        neg(x: Value);
        abs(x: Value);
        compare(how: FloatCC, x: Value, y: Value);
        pick(mask: Value, x: Value, y: Value);
        bits(x: Value);
        f32_from_bits(x: Value);
        isub(x: Value, y: Value);
        shl(x: Value, by: i64);
        shr(x: Value, by: i64);
        sar(x: Value, by: i64);
        and(x: Value, y: Value);
        or(x: Value, y: Value);
    }

    fn f32_from_int(&mut self, x: Value) -> Value {
        self.b.ins().fcvt_from_sint(F32X4, x)
    }
}
