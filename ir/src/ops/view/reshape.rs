//! `reshape`.

use super::moved;
use crate::graph::RegionType;
use crate::graph::Value;
use crate::ops::attribute::op_struct;
use crate::ops::batching::{in_front, with_front};
use crate::ops::rules::{arity, one, valid_shape, violation};
use crate::ops::samples::{bad, for_each, sample, values};
use crate::ops::{
    BadSample, Emit, EmitExt, EvalContext, Lowering, OpDef, OpDoc, OpSamples, PerOperand, Primitive, Rewriter, Sample,
    Types, View, VjpContext,
};
use crate::{DType, Dim, EvalError, Literal, NotDifferentiable, Ranges, Shape, Type, Violation};
use smallvec::{SmallVec, smallvec};

op_struct! {
    /// The same elements in row-major order under another shape.
    Reshape = "reshape" {
        /// The shape of the result.
        shape: Shape,
    }
}
impl OpDef for Reshape {
    fn doc(&self) -> OpDoc {
        OpDoc {
            semantics: "The same elements in row-major order under another shape.",
            constraints: &["the number of elements stays"],
            gradient: "The cotangent in the operand's shape.",
            example: "reshape [[1, 2], [3, 4]]:f32[2, 2] {shape = [4]} = [1, 2, 3, 4]",
        }
    }
    fn infer(&self, operands: &[&Type], _: &[RegionType]) -> Result<Types, Violation> {
        arity(self, operands, 1)?;
        valid_shape(self, operands, &self.shape)?;
        let (old, new) = (operands[0].shape.numel(), self.shape.numel());
        if old != new {
            let rule = format!("{old} elements cannot take shape {}, which has {new}", self.shape);
            return Err(violation(self, operands, rule, "the number of elements must stay"));
        }
        one(operands[0].dtype, &self.shape)
    }
    fn lowering(&self) -> Lowering {
        Lowering::View
    }
    fn view(&self, operands: &[&Type], result: &Type, index: &[Dim], ranges: &Ranges) -> View {
        moved(ranges.reshape(index, &result.shape, &operands[0].shape))
    }
    fn eval(&self, operands: &[&Literal], cx: &mut EvalContext<'_>) -> Result<SmallVec<[Literal; 1]>, EvalError> {
        Ok(smallvec![operands[0].reshaped(&cx.results[0])])
    }
    fn vjp(&self, b: &mut dyn Emit, cx: &VjpContext<'_>) -> Result<PerOperand, NotDifferentiable> {
        let shape = b.ty(cx.operands[0]).shape.clone();
        Ok(smallvec![Some(b.reshape(cx.cotangent(), &shape))])
    }
    fn jvp(
        &self,
        b: &mut dyn Emit,
        _: &[Value],
        _: &[Value],
        tangents: &[Option<Value>],
    ) -> Result<Option<Value>, NotDifferentiable> {
        Ok(tangents[0].map(|t| b.emit(self.clone().into(), &[t])))
    }
    fn batch(&self, b: &mut dyn Emit, operands: &[Value], axes: &[Option<usize>], size: &Dim) -> Value {
        let x = in_front(b, operands[0], axes[0], size);
        b.reshape(x, &Shape(with_front(size.clone(), &self.shape)))
    }
    fn canonicalize(&self, b: &mut dyn Rewriter, operands: &[Value], result: &Type) -> Option<Value> {
        let x = operands[0];
        if b.ty(x) == result {
            return Some(x);
        }
        if let Some(value) = b.splat(x) {
            return Some(b.full(value, &result.shape));
        }
        match b.definition(x)? {
            (Primitive::Reshape(_), v) => {
                let inner = v[0];
                Some(b.reshape(inner, &result.shape))
            }
            _ => None,
        }
    }
}

impl OpSamples for Reshape {
    fn samples() -> Vec<Sample> {
        let op = |shape: &[usize]| Reshape { shape: shape.into() };
        let mut all = vec![
            sample(op(&[6]), &[values(DType::F64, &[2, 3])]),
            sample(op(&[3, 2]), &[values(DType::F64, &[2, 3])]),
            sample(op(&[2, 1, 3, 1]), &[values(DType::F64, &[2, 3])]),
            sample(op(&[2, 2, 6]), &[values(DType::F64, &[4, 3, 2])]),
            sample(op(&[]), &[values(DType::F64, &[1, 1])]),
            sample(op(&[1]), &[values(DType::F32, &[])]),
            sample(op(&[3, 0]), &[values(DType::F32, &[0, 5])]),
        ];
        all.extend(for_each(DType::ALL, |_| op(&[3, 4]).into(), &[2, 6]));
        all
    }
    fn bad_samples() -> Vec<BadSample> {
        let op = |shape: &[usize]| Reshape { shape: shape.into() };
        vec![
            bad(Reshape { shape: [-2, -3].into() }, [&[6]], "shape [-2, -3] has the extent -2"),
            bad(op(&[2]), [], "takes 1 operand, not 0"),
            bad(op(&[4]), [&[2, 3]], "6 elements cannot take shape [4], which has 4"),
            bad(op(&[0]), [&[]], "1 elements cannot take shape [0]"),
        ]
    }
}
