//! Conversion between dtypes.

use super::attribute::op_struct;
use super::elementwise::{self, Evaluated};
use super::rules::{arity, one, violation};
use super::samples::bad_types;
use super::{
    BadSample, Conversion, Emit, EmitExt, EvalContext, Lowering, OpDef, OpDoc, OpSamples, PerOperand, Primitive,
    Rewriter, Sample, Types, VjpContext, pointwise, pointwise_samples,
};
use crate::graph::{RegionType, Value};
use crate::kernel::{KernelBuilder, Var};
use crate::{DType, Dim, Literal, NotDifferentiable, Scalar, Type, Violation};
use smallvec::smallvec;

/// What these ops are.
pub(super) const FAMILY: &str = "Conversion between dtypes";

op_struct! {
    /// Converts each element, as [`Scalar::convert`](crate::Scalar::convert) does.
    Convert = "convert" {
        /// The dtype of the result.
        dtype: DType,
    }
}
impl OpDef for Convert {
    fn doc(&self) -> OpDoc {
        OpDoc {
            semantics: "The value in another dtype. To a float: rounded to nearest even, to 16-bit floats through f32. \
                Float to integer: truncated towards 0, saturated at the range, NaN becomes 0. Integer to a narrower \
                integer: the low bits. To bool: whether it is not 0, so true for NaN.",
            constraints: &["takes 1 operand"],
            gradient: "`g` converted back, between floats; 0 to and from integers and bool.",
            example: "convert [1.9, -3, 300, nan]:f32[4] {dtype = u8} = [1, 0, 255, 0]",
        }
    }
    fn infer(&self, operands: &[&Type], _: &[RegionType]) -> Result<Types, Violation> {
        arity(self, operands, 1)?;
        one(self.dtype, &operands[0].shape)
    }
    fn eval(&self, operands: &[&Literal], _: &mut EvalContext<'_>) -> Evaluated {
        elementwise::convert(operands[0], self.dtype)
    }
    fn vjp(&self, b: &mut dyn Emit, cx: &VjpContext<'_>) -> Result<PerOperand, NotDifferentiable> {
        let from = b.ty(cx.operands[0]).dtype;
        let flows = cx.wanted[0] && from.is_float() && self.dtype.is_float();
        Ok(smallvec![flows.then(|| b.convert(cx.cotangent(), from))])
    }
    fn jvp(
        &self,
        b: &mut dyn Emit,
        operands: &[Value],
        _: &[Value],
        tangents: &[Option<Value>],
    ) -> Result<Option<Value>, NotDifferentiable> {
        let flows = b.ty(operands[0]).dtype.is_float() && self.dtype.is_float();
        Ok(tangents[0].filter(|_| flows).map(|t| b.convert(t, self.dtype)))
    }
    fn batch(&self, b: &mut dyn Emit, operands: &[Value], axes: &[Option<usize>], size: &Dim) -> Value {
        pointwise::batch(b, self.clone(), operands, axes, size)
    }
    fn conversion(&self) -> Option<Conversion> {
        Some(Conversion::Value)
    }
    fn lowering(&self) -> Lowering {
        Lowering::Pointwise
    }
    fn scalar(&self, k: &mut KernelBuilder, operands: &[Var]) -> Var {
        k.convert(operands[0], self.dtype)
    }
    fn canonicalize(&self, b: &mut dyn Rewriter, operands: &[Value], _: &Type) -> Option<Value> {
        let x = operands[0];
        if b.ty(x).dtype == self.dtype {
            return Some(x);
        }
        let (Primitive::Convert(inner), &[source]) = b.definition(x)? else { return None };
        let (from, via) = (b.ty(source).dtype, inner.dtype);
        // From a float an integer saturates, but from a wider integer it wraps: the way through a float stays where
        // the integer may be out of range.
        let same_range = !(from.is_int() && via.is_float() && self.dtype.is_int()) || is_exact(from, self.dtype);
        (is_exact(from, via) && same_range).then(|| b.convert(source, self.dtype))
    }
}

op_struct! {
    /// The same bits as another dtype of the same size.
    BitcastConvert = "bitcast_convert" {
        /// The dtype of the result.
        dtype: DType,
    }
}
impl OpDef for BitcastConvert {
    fn doc(&self) -> OpDoc {
        OpDoc {
            semantics: "The bits of each element, read as another dtype of the same size. Which of its many bit patterns a NaN has is not specified.",
            constraints: &[
                "takes 1 operand",
                "both dtypes have the same size",
                "the dtypes differ",
                "neither dtype is bool",
            ],
            gradient: "0 everywhere, as JAX has it.",
            example: "bitcast_convert [1, -0]:f32[2] {dtype = i32} = [1065353216, -2147483648]",
        }
    }
    fn infer(&self, operands: &[&Type], _: &[RegionType]) -> Result<Types, Violation> {
        arity(self, operands, 1)?;
        let from = operands[0].dtype;
        if [from, self.dtype].contains(&DType::Bool) || from == self.dtype || from.size() != self.dtype.size() {
            let rule = format!("{from} read as {}", self.dtype);
            return Err(violation(self, operands, rule, "they have the same size and differ, and neither is bool"));
        }
        one(self.dtype, &operands[0].shape)
    }
    fn eval(&self, operands: &[&Literal], _: &mut EvalContext<'_>) -> Evaluated {
        let x = operands[0];
        Ok(smallvec![Literal::from_fn(x.dims(), self.dtype, |i| Scalar::from_bits(self.dtype, x.get(i).bits()))])
    }
    fn vjp(&self, _: &mut dyn Emit, _: &VjpContext<'_>) -> Result<PerOperand, NotDifferentiable> {
        Ok(smallvec![None])
    }
    fn jvp(
        &self,
        _: &mut dyn Emit,
        _: &[Value],
        _: &[Value],
        _: &[Option<Value>],
    ) -> Result<Option<Value>, NotDifferentiable> {
        Ok(None)
    }
    fn batch(&self, b: &mut dyn Emit, operands: &[Value], axes: &[Option<usize>], size: &Dim) -> Value {
        pointwise::batch(b, self.clone(), operands, axes, size)
    }
    fn conversion(&self) -> Option<Conversion> {
        Some(Conversion::Bits)
    }
    fn lowering(&self) -> Lowering {
        Lowering::Pointwise
    }
    fn scalar(&self, k: &mut KernelBuilder, operands: &[Var]) -> Var {
        k.bitcast(operands[0], self.dtype)
    }
    fn canonicalize(&self, b: &mut dyn Rewriter, operands: &[Value], _: &Type) -> Option<Value> {
        let (Primitive::BitcastConvert(_), &[source]) = b.definition(operands[0])? else { return None };
        let same = b.ty(source).dtype == self.dtype;
        Some(if same { source } else { b.emit(self.clone().into(), &[source]) })
    }
}

impl OpSamples for BitcastConvert {
    fn samples() -> Vec<Sample> {
        let pairs = DType::ALL.into_iter().flat_map(|from| DType::ALL.map(|to| (from, to)));
        let legal = |d: &DType| *d != DType::Bool;
        let pairs = pairs.filter(|(from, to)| from != to && legal(from) && legal(to) && from.size() == to.size());
        let shaped = pairs.flat_map(|(from, dtype)| pointwise_samples::unary_of(BitcastConvert { dtype }, from));
        // Which bits a NaN has is open.
        let number = |x: &Literal| (0..x.numel()).all(|i| !x.get(i).as_f64().is_nan());
        shaped.filter(|s| number(&s.operands[0])).collect()
    }
    fn bad_samples() -> Vec<BadSample> {
        let op = |dtype| BitcastConvert { dtype };
        let some = |d| vec![Type::new(d, [2])];
        vec![
            bad_types(op(DType::F32), vec![], "takes 1 operand, not 0"),
            bad_types(op(DType::F32), some(DType::F64), "f64 read as f32; they have the same size and differ"),
            bad_types(
                op(DType::Bool),
                some(DType::U8),
                "u8 read as bool; they have the same size and differ, and neither is bool",
            ),
            bad_types(op(DType::U8), some(DType::Bool), "bool read as u8"),
        ]
    }
}

/// True if every value of one dtype is a value of the other.
fn is_exact(from: DType, to: DType) -> bool {
    // Powers of two that bound integers; bits of the significand for floats.
    let int_bits = |d: DType| match d {
        DType::Bool => 1,
        d => d.bits() - d.is_signed() as usize,
    };
    let significand = |d| match d {
        DType::BF16 => 8,
        DType::F16 => 11,
        DType::F32 => 24,
        _ => 53,
    };
    match (from.is_float(), to.is_float()) {
        (true, true) => from == to || (from.is_half() && !to.is_half()) || (from, to) == (DType::F32, DType::F64),
        (true, false) => false,
        (false, true) => int_bits(from) <= significand(to),
        // An unsigned type holds no negative number.
        (false, false) => int_bits(from) <= int_bits(to) && (to.is_signed() || !from.is_signed()),
    }
}

impl OpSamples for Convert {
    fn samples() -> Vec<Sample> {
        DType::ALL.into_iter().flat_map(|dtype| pointwise_samples::unary(Convert { dtype }, pointwise::any)).collect()
    }
    fn bad_samples() -> Vec<BadSample> {
        pointwise_samples::bad_unary(Convert { dtype: DType::F32 }, pointwise::any)
    }
}
