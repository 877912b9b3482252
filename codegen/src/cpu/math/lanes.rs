//! A thin layer over [`FunctionBuilder`] for straight-line arithmetic on four lanes.

use cranelift_codegen::ir::condcodes::FloatCC;
use cranelift_codegen::ir::types::{F32X4, F64X2, I8X16, I32X4, I64X2};
use cranelift_codegen::ir::{ConstantData, Endianness, InstBuilder, MemFlagsData, Type, Value};
use cranelift_frontend::FunctionBuilder;

/// Emits arithmetic on 128-bit vectors. Names follow the operation; operands have one vector type.
pub(super) struct Lanes<'a, 'f> {
    pub(super) b: &'a mut FunctionBuilder<'f>,
    has_fma: bool,
}

impl<'a, 'f> Lanes<'a, 'f> {
    pub(super) fn new(b: &'a mut FunctionBuilder<'f>, has_fma: bool) -> Self {
        Lanes { b, has_fma }
    }

    fn vconst(&mut self, ty: Type, bytes: Vec<u8>) -> Value {
        let data = self.b.func.dfg.constants.insert(ConstantData::from(bytes));
        self.b.ins().vconst(ty, data)
    }

    /// Four copies of an f32.
    pub(super) fn f32(&mut self, x: f32) -> Value {
        self.vconst(F32X4, x.to_le_bytes().repeat(4))
    }

    /// Two copies of an f64.
    pub(super) fn f64(&mut self, x: f64) -> Value {
        self.vconst(F64X2, x.to_le_bytes().repeat(2))
    }

    /// Two copies of an i64.
    pub(super) fn i64(&mut self, x: u64) -> Value {
        self.vconst(I64X2, x.to_le_bytes().repeat(2))
    }

    /// Four copies of an i32.
    pub(super) fn i32(&mut self, x: u32) -> Value {
        self.vconst(I32X4, x.to_le_bytes().repeat(4))
    }

    pub(super) fn add(&mut self, x: Value, y: Value) -> Value {
        self.b.ins().fadd(x, y)
    }

    pub(super) fn sub(&mut self, x: Value, y: Value) -> Value {
        self.b.ins().fsub(x, y)
    }

    pub(super) fn mul(&mut self, x: Value, y: Value) -> Value {
        self.b.ins().fmul(x, y)
    }

    pub(super) fn div(&mut self, x: Value, y: Value) -> Value {
        self.b.ins().fdiv(x, y)
    }

    /// `x * y + z`, rounded once where the target can.
    pub(super) fn mul_add(&mut self, x: Value, y: Value, z: Value) -> Value {
        if self.has_fma {
            return self.b.ins().fma(x, y, z);
        }
        let product = self.b.ins().fmul(x, y);
        self.b.ins().fadd(product, z)
    }

    /// `z - x * y`, rounded once where the target can.
    pub(super) fn sub_mul(&mut self, z: Value, x: Value, y: Value) -> Value {
        if self.has_fma {
            let minus = self.b.ins().fneg(x);
            return self.b.ins().fma(minus, y, z);
        }
        let product = self.b.ins().fmul(x, y);
        self.b.ins().fsub(z, product)
    }

    /// The f32 polynomial with these coefficients, highest power first.
    pub(super) fn poly_f32(&mut self, x: Value, coefficients: &[f32]) -> Value {
        let mut y = self.f32(coefficients[0]);
        for &c in &coefficients[1..] {
            let c = self.f32(c);
            y = self.mul_add(y, x, c);
        }
        y
    }

    /// The f64 polynomial with these coefficients, highest power first.
    pub(super) fn poly_f64(&mut self, x: Value, coefficients: &[f64]) -> Value {
        let mut y = self.f64(coefficients[0]);
        for &c in &coefficients[1..] {
            let c = self.f64(c);
            y = self.mul_add(y, x, c);
        }
        y
    }

    /// `limit` where `x` is above it, else `x`: NaN stays.
    pub(super) fn at_most(&mut self, x: Value, limit: Value) -> Value {
        let less = self.compare(FloatCC::LessThan, limit, x);
        self.pick(less, limit, x)
    }

    /// `limit` where `x` is below it, else `x`: NaN stays.
    pub(super) fn at_least(&mut self, x: Value, limit: Value) -> Value {
        let less = self.compare(FloatCC::LessThan, x, limit);
        self.pick(less, limit, x)
    }

    /// All ones in the lanes where the comparison holds, as an integer vector.
    pub(super) fn compare(&mut self, how: FloatCC, x: Value, y: Value) -> Value {
        self.b.ins().fcmp(how, x, y)
    }

    /// `x` where the mask is all ones, else `y`.
    pub(super) fn pick(&mut self, mask: Value, x: Value, y: Value) -> Value {
        let ty = self.b.func.dfg.value_type(x);
        let mask = self.cast(ty, mask);
        self.b.ins().bitselect(mask, x, y)
    }

    /// The bits of f32 lanes as i32, or of f64 lanes as i64.
    pub(super) fn bits(&mut self, x: Value) -> Value {
        let ty = if self.b.func.dfg.value_type(x) == F64X2 { I64X2 } else { I32X4 };
        self.cast(ty, x)
    }

    /// i32 lanes as f32.
    pub(super) fn f32_from_bits(&mut self, x: Value) -> Value {
        self.cast(F32X4, x)
    }

    /// i64 lanes as f64.
    pub(super) fn f64_from_bits(&mut self, x: Value) -> Value {
        self.cast(F64X2, x)
    }

    /// The first two and the last two f32 lanes as f64.
    pub(super) fn widen(&mut self, x: Value) -> [Value; 2] {
        let low = self.b.ins().fvpromote_low(x);
        let upper = self.shuffle(x, x, [8, 9, 10, 11, 12, 13, 14, 15, 8, 9, 10, 11, 12, 13, 14, 15]);
        [low, self.b.ins().fvpromote_low(upper)]
    }

    /// The inverse of [`Lanes::widen`], rounding.
    pub(super) fn narrow(&mut self, [low, high]: [Value; 2]) -> Value {
        let low = self.b.ins().fvdemote(low);
        let high = self.b.ins().fvdemote(high);
        self.shuffle(low, high, [0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23])
    }

    /// Bytes picked from two F32X4.
    fn shuffle(&mut self, x: Value, y: Value, bytes: [u8; 16]) -> Value {
        let little = MemFlagsData::new().with_endianness(Endianness::Little);
        let x = self.b.ins().bitcast(I8X16, little, x);
        let y = self.b.ins().bitcast(I8X16, little, y);
        let mask = self.b.func.dfg.immediates.push(ConstantData::from(&bytes[..]));
        let picked = self.b.ins().shuffle(x, y, mask);
        self.b.ins().bitcast(F32X4, little, picked)
    }

    fn cast(&mut self, to: Type, x: Value) -> Value {
        if self.b.func.dfg.value_type(x) == to {
            return x;
        }
        self.b.ins().bitcast(to, MemFlagsData::new(), x)
    }

    pub(super) fn iadd(&mut self, x: Value, y: Value) -> Value {
        self.b.ins().iadd(x, y)
    }

    pub(super) fn isub(&mut self, x: Value, y: Value) -> Value {
        self.b.ins().isub(x, y)
    }

    pub(super) fn shl(&mut self, x: Value, by: i64) -> Value {
        self.b.ins().ishl_imm_u(x, by)
    }

    pub(super) fn shr(&mut self, x: Value, by: i64) -> Value {
        self.b.ins().ushr_imm_u(x, by)
    }

    pub(super) fn sar(&mut self, x: Value, by: i64) -> Value {
        self.b.ins().sshr_imm_u(x, by)
    }

    pub(super) fn and(&mut self, x: Value, y: Value) -> Value {
        self.b.ins().band(x, y)
    }

    pub(super) fn or(&mut self, x: Value, y: Value) -> Value {
        self.b.ins().bor(x, y)
    }

    pub(super) fn xor(&mut self, x: Value, y: Value) -> Value {
        self.b.ins().bxor(x, y)
    }

    pub(super) fn sqrt(&mut self, x: Value) -> Value {
        self.b.ins().sqrt(x)
    }

    /// The sign bit of every f32 lane.
    pub(super) fn sign(&mut self, x: Value) -> Value {
        let mask = self.f32(-0.0);
        self.and(x, mask)
    }

    pub(super) fn neg(&mut self, x: Value) -> Value {
        self.b.ins().fneg(x)
    }

    pub(super) fn abs(&mut self, x: Value) -> Value {
        self.b.ins().fabs(x)
    }
}
