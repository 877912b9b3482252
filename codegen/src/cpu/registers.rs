//! How values lie in vector registers.

use super::emit::Emitter;
use cranelift_codegen::ir::types::{F32X4, F64X2, I8X16, I32X4, I64X2};
use cranelift_codegen::ir::{ConstantData, Endianness, InstBuilder, MemFlagsData, Type, Value};
use ir::{DType, Scalar};

/// The register type of values of a dtype.
pub(super) fn register(dtype: DType) -> Type {
    match dtype {
        DType::F32 => F32X4,
        DType::F64 => F64X2,
        DType::I64 | DType::U64 => I64X2,
        _ => I32X4,
    }
}

/// The type of a lane of a register.
pub(super) fn lane_type(dtype: DType) -> Type {
    register(dtype).lane_type()
}

/// The bits of a value in its lane of a register.
pub(super) fn register_bits(s: Scalar) -> u64 {
    match s {
        Scalar::Bool(true) => u32::MAX.into(),
        Scalar::I16(_) | Scalar::I8(_) => s.convert(DType::I32).bits(),
        _ => s.bits(),
    }
}

/// True for the dtypes with 64-bit lanes.
pub(super) fn is_wide(dtype: DType) -> bool {
    dtype.size() == 8
}

/// Iterations in one vector.
pub(super) fn lanes_of(dtype: DType) -> usize {
    if is_wide(dtype) { 2 } else { 4 }
}

impl Emitter<'_, '_> {
    /// A constant in every lane.
    pub(super) fn constant(&mut self, s: Scalar) -> Value {
        self.bits(register(s.dtype()), register_bits(s))
    }

    /// A vector whose lanes all have those bits.
    pub(super) fn bits(&mut self, ty: Type, bits: u64) -> Value {
        if let Some(hoisted) = self.indices.constant(ty, bits) {
            return hoisted;
        }
        let bytes: Vec<u8> = match ty.lane_bits() {
            32 => (bits as u32).to_le_bytes().repeat(4),
            _ => bits.to_le_bytes().repeat(2),
        };
        let constant = self.b.func.dfg.constants.insert(ConstantData::from(bytes));
        self.b.ins().vconst(ty, constant)
    }

    /// The same register as another type.
    pub(super) fn cast(&mut self, ty: Type, v: Value) -> Value {
        if self.b.func.dfg.value_type(v) == ty {
            return v;
        }
        self.b.ins().bitcast(ty, MemFlagsData::new().with_endianness(Endianness::Little), v)
    }

    /// Bytes of two vectors in a new order: 0 to 15 are of the first, 16 to 31 of the second.
    pub(super) fn shuffle(&mut self, ty: Type, x: Value, y: Value, bytes: [u8; 16]) -> Value {
        let mask = self.b.func.dfg.immediates.push(ConstantData::from(&bytes[..]));
        let (x, y) = (self.cast(I8X16, x), self.cast(I8X16, y));
        let out = self.b.ins().shuffle(x, y, mask);
        self.cast(ty, out)
    }

    /// The 32-bit lanes of two vectors in a new order: 0 to 3 are of the first, 4 to 7 of the second.
    pub(super) fn shuffle32(&mut self, ty: Type, x: Value, y: Value, lanes: [u8; 4]) -> Value {
        let bytes = std::array::from_fn(|i| lanes[i / 4] * 4 + (i % 4) as u8);
        self.shuffle(ty, x, y, bytes)
    }
}
