//! `transpose`.

use super::moved;
use crate::graph::RegionType;
use crate::graph::Value;
use crate::ops::attribute::op_struct;
use crate::ops::batching::{in_front, shifted, with_front};
use crate::ops::elements::{offsets, pick, signed_strides};
use crate::ops::rules::{arity, one, valid_axes, violation};
use crate::ops::samples::{bad, for_each, sample, values};
use crate::ops::{
    BadSample, Emit, EmitExt, EvalContext, Lowering, OpDef, OpDoc, OpSamples, PerOperand, Primitive, Rewriter, Sample,
    Types, View, VjpContext,
};
use crate::{Axes, DType, Dim, EvalError, Literal, NotDifferentiable, Ranges, Shape, Type, Violation, ViolationKind};
use smallvec::{SmallVec, smallvec};

op_struct! {
    /// Axis `i` of the result is axis `permutation[i]` of the operand.
    Transpose = "transpose" {
        /// The axes of the operand in their new order.
        permutation: Axes,
    }
}
impl OpDef for Transpose {
    fn doc(&self) -> OpDoc {
        OpDoc {
            semantics: "Reorders axes: axis `i` of the result is axis `permutation[i]` of the operand.",
            constraints: &["`permutation` names every axis of the operand once"],
            gradient: "The cotangent under the inverse permutation.",
            example: "transpose [[1, 2], [3, 4]]:f32[2, 2] {permutation = [1, 0]} = [[1, 3], [2, 4]]",
        }
    }
    fn infer(&self, operands: &[&Type], _: &[RegionType]) -> Result<Types, Violation> {
        arity(self, operands, 1)?;
        let x = operands[0];
        if self.permutation.len() != x.rank() {
            let rule = format!("a permutation of {} axes for {}", self.permutation.len(), x.rank());
            return Err(violation(self, operands, rule, "name every axis once").of(ViolationKind::Rank));
        }
        valid_axes(self, operands, &self.permutation, x.rank())?;
        one(x.dtype, self.permutation.iter().map(|&p| x.shape[p].clone()).collect::<Shape>())
    }
    fn lowering(&self) -> Lowering {
        Lowering::View
    }
    fn view(&self, _: &[&Type], _: &Type, index: &[Dim], _: &Ranges) -> View {
        let mut moved_index: SmallVec<[Dim; 4]> = SmallVec::from_elem(Dim::from(0), index.len());
        for (i, &p) in self.permutation.iter().enumerate() {
            moved_index[p] = index[i].clone();
        }
        moved(moved_index)
    }
    fn eval(&self, operands: &[&Literal], cx: &mut EvalContext<'_>) -> Result<SmallVec<[Literal; 1]>, EvalError> {
        let x = operands[0];
        let old = signed_strides(x.dims());
        let strides: SmallVec<[isize; 4]> = self.permutation.iter().map(|&p| old[p]).collect();
        let dims = &cx.results[0];
        Ok(smallvec![pick(x, dims, offsets(dims, &strides, 0))])
    }
    fn vjp(&self, b: &mut dyn Emit, cx: &VjpContext<'_>) -> Result<PerOperand, NotDifferentiable> {
        let mut inverse = self.permutation.clone();
        for (i, &p) in self.permutation.iter().enumerate() {
            inverse[p] = i;
        }
        Ok(smallvec![Some(b.transpose(cx.cotangent(), &inverse))])
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
        b.transpose(x, &with_front(0, &shifted(&self.permutation)))
    }
    fn canonicalize(&self, b: &mut dyn Rewriter, operands: &[Value], result: &Type) -> Option<Value> {
        let x = operands[0];
        let permutation = match b.definition(x) {
            Some((Primitive::Transpose(inner), v)) => {
                let (x, permutation) = (v[0], self.permutation.iter().map(|&p| inner.permutation[p]).collect::<Axes>());
                return Some(b.transpose(x, &permutation));
            }
            // Of a product that nobody else reads: the product with its sides exchanged.
            Some((Primitive::DotGeneral(product), v)) if b.is_read_once(x) => {
                let (product, v) = (product.clone(), [v[0], v[1]]);
                let ranks = v.map(|v| b.ty(v).rank());
                if product.exchanges_sides(ranks, &self.permutation) {
                    return Some(b.emit(product.exchanged().into(), &[v[1], v[0]]));
                }
                &self.permutation
            }
            _ => &self.permutation,
        };
        if permutation.iter().enumerate().all(|(i, &p)| i == p) {
            return Some(x);
        }
        if let Some(value) = b.splat(x) {
            return Some(b.full(value, &result.shape));
        }
        // Where only axes of extent 1 move, elements stay in row-major order.
        let wide: Axes = permutation.iter().copied().filter(|&p| !b.ty(x).shape[p].is(1)).collect();
        wide.is_sorted().then(|| b.reshape(x, &result.shape))
    }
}

impl OpSamples for Transpose {
    fn samples() -> Vec<Sample> {
        let op = |permutation: &[usize]| Transpose { permutation: permutation.into() };
        let mut all = vec![
            sample(op(&[1, 0]), &[values(DType::F64, &[2, 3])]),
            sample(op(&[2, 0, 1]), &[values(DType::F64, &[2, 3, 4])]),
            sample(op(&[0, 2, 1]), &[values(DType::F64, &[2, 3, 2])]),
            sample(op(&[0, 1]), &[values(DType::F32, &[2, 3])]),
            sample(op(&[1, 2, 0]), &[values(DType::F32, &[1, 3, 2])]),
            sample(op(&[]), &[values(DType::F32, &[])]),
            sample(op(&[1, 0]), &[values(DType::F32, &[0, 3])]),
        ];
        all.extend(for_each(DType::ALL, |_| op(&[1, 0]).into(), &[4, 3]));
        all
    }
    fn bad_samples() -> Vec<BadSample> {
        let op = |permutation: &[usize]| Transpose { permutation: permutation.into() };
        vec![
            bad(op(&[]), [], "takes 1 operand, not 0"),
            bad(op(&[0]), [&[2, 3]], "a permutation of 1 axes for 2"),
            bad(op(&[0, 2]), [&[2, 3]], "axis 2 does not exist"),
            bad(op(&[1, 1]), [&[2, 3]], "axis 1 is named twice"),
        ]
    }
}
