//! `reverse`.

use super::moved;
use crate::graph::RegionType;
use crate::graph::Value;
use crate::ops::attribute::op_struct;
use crate::ops::batching::{in_front, shifted};
use crate::ops::elements::{offsets, pick, signed_strides};
use crate::ops::rules::{arity, one, valid_axes};
use crate::ops::samples::{bad, for_each, sample, values};
use crate::ops::{
    BadSample, Emit, EvalContext, Lowering, OpDef, OpDoc, OpSamples, PerOperand, Primitive, Rewriter, Sample, Types,
    View, VjpContext,
};
use crate::{Axes, DType, Dim, EvalError, Literal, NotDifferentiable, Ranges, Type, Violation};
use smallvec::{SmallVec, smallvec};

op_struct! {
    /// Elements in reverse order along axes.
    Reverse = "reverse" {
        /// The axes.
        axes: Axes,
    }
}
impl OpDef for Reverse {
    fn doc(&self) -> OpDoc {
        OpDoc {
            semantics: "Elements in reverse order along `axes`.",
            constraints: &["`axes` exist and are distinct"],
            gradient: "The cotangent, reversed the same way.",
            example: "reverse [1, 2, 3]:f32[3] {axes = [0]} = [3, 2, 1]",
        }
    }
    fn infer(&self, operands: &[&Type], _: &[RegionType]) -> Result<Types, Violation> {
        arity(self, operands, 1)?;
        valid_axes(self, operands, &self.axes, operands[0].rank())?;
        one(operands[0].dtype, &operands[0].shape)
    }
    fn lowering(&self) -> Lowering {
        Lowering::View
    }
    fn view(&self, operands: &[&Type], _: &Type, index: &[Dim], _: &Ranges) -> View {
        let x = &operands[0].shape;
        moved(index.iter().enumerate().map(|(i, d)| if self.axes.contains(&i) { &x[i] - 1 - d } else { d.clone() }))
    }
    fn eval(&self, operands: &[&Literal], _cx: &mut EvalContext<'_>) -> Result<SmallVec<[Literal; 1]>, EvalError> {
        let x = operands[0];
        let mut strides = signed_strides(x.dims());
        let mut base = 0;
        for &axis in &self.axes {
            base += x.dims()[axis].saturating_sub(1) * strides[axis] as usize;
            strides[axis] = -strides[axis];
        }
        Ok(smallvec![pick(x, x.dims(), offsets(x.dims(), &strides, base))])
    }
    fn vjp(&self, b: &mut dyn Emit, cx: &VjpContext<'_>) -> Result<PerOperand, NotDifferentiable> {
        Ok(smallvec![Some(b.emit(self.clone().into(), &[cx.cotangent()]))])
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
        b.emit(Reverse { axes: shifted(&self.axes) }.into(), &[x])
    }
    fn canonicalize(&self, b: &mut dyn Rewriter, operands: &[Value], result: &Type) -> Option<Value> {
        let x = operands[0];
        if b.splat(x).is_some() || self.axes.iter().all(|&a| result.shape[a].is(1)) {
            return Some(x);
        }
        match b.definition(x)? {
            (Primitive::Reverse(inner), v) => {
                let inner_only = inner.axes.iter().filter(|a| !self.axes.contains(a));
                let mut axes: Axes =
                    self.axes.iter().filter(|a| !inner.axes.contains(a)).chain(inner_only).copied().collect();
                axes.sort_unstable();
                let x = v[0];
                Some(if axes.is_empty() { x } else { b.emit(Reverse { axes }.into(), &[x]) })
            }
            _ => None,
        }
    }
}

impl OpSamples for Reverse {
    fn samples() -> Vec<Sample> {
        let op = |axes: &[usize]| Reverse { axes: axes.into() };
        let mut all = vec![
            sample(op(&[0]), &[values(DType::F64, &[4])]),
            sample(op(&[1]), &[values(DType::F64, &[2, 3])]),
            sample(op(&[2, 0]), &[values(DType::F64, &[2, 2, 3])]),
            sample(op(&[]), &[values(DType::F64, &[2])]),
            sample(op(&[]), &[values(DType::F32, &[])]),
            sample(op(&[0, 1]), &[values(DType::F32, &[0, 3])]),
        ];
        all.extend(for_each(DType::ALL, |_| op(&[0]).into(), &[12]));
        all
    }
    fn bad_samples() -> Vec<BadSample> {
        let op = |axes: &[usize]| Reverse { axes: axes.into() };
        vec![
            bad(op(&[]), [], "takes 1 operand, not 0"),
            bad(op(&[1]), [&[2]], "axis 1 does not exist"),
            bad(op(&[0, 0]), [&[2]], "axis 0 is named twice"),
        ]
    }
}
