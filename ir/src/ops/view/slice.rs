//! `slice`.

use super::moved;
use super::pad::spread;
use super::{LARGEST_STEP, Pad, emit_same};
use crate::graph::RegionType;
use crate::graph::Value;
use crate::ops::attribute::op_struct;
use crate::ops::batching::{in_front, with_front};
use crate::ops::elements::{dims_of, offsets, pick, signed_strides};
use crate::ops::rules::{arity, one, violation};
use crate::ops::samples::{bad, for_each, sample, values};
use crate::ops::{
    BadSample, DimValues, Emit, EmitExt, EvalContext, Lowering, OpDef, OpDoc, OpSamples, PerOperand, Primitive,
    Rewriter, Sample, Types, View, VjpContext,
};
use crate::{
    Axes, DType, Dim, EvalError, Literal, NotDifferentiable, Ranges, Scalar, Shape, Type, Violation, ViolationKind,
};
use smallvec::{SmallVec, smallvec};
use std::fmt::Display;

op_struct! {
    /// Elements `starts[i], starts[i] + strides[i], …` below `limits[i]` of each axis.
    Slice = "slice" {
        /// First index of each axis.
        starts: Shape,
        /// End of each axis, exclusive.
        limits: Shape,
        /// Positive step of each axis.
        strides: Axes,
    }
}
impl OpDef for Slice {
    fn doc(&self) -> OpDoc {
        OpDoc {
            semantics: "The elements at `starts[i]`, `starts[i] + strides[i]`, … below `limits[i]` of each axis. Bounds that are symbolic are checked when they have values.",
            constraints: &[
                "`starts`, `limits` and `strides` have one entry per axis",
                "`0 <= starts[i] <= limits[i] <=` the extent of axis `i`",
                "strides are positive",
            ],
            gradient: "The cotangent with zeros put back around and between its elements (`pad`).",
            example: "slice [1, 2, 3, 4]:f32[4] {starts = [1], limits = [4], strides = [2]} = [2, 4]",
        }
    }
    fn infer(&self, operands: &[&Type], _: &[RegionType]) -> Result<Types, Violation> {
        arity(self, operands, 1)?;
        let x = operands[0];
        if [self.starts.rank(), self.limits.rank(), self.strides.len()] != [x.rank(); 3] {
            let rule = "starts, limits and strides do not fit the rank";
            return Err(violation(self, operands, rule, "one entry per axis").of(ViolationKind::Rank));
        }
        let mut shape = Shape::scalar();
        for i in 0..x.rank() {
            let (start, limit, extent) = (&self.starts[i], &self.limits[i], &x.shape[i]);
            if !(1..=LARGEST_STEP).contains(&self.strides[i]) {
                let rule = format!("stride {} on axis {i}", self.strides[i]);
                return Err(violation(self, operands, rule, format!("strides go from 1 to {LARGEST_STEP}")));
            }
            // What is symbolic is for `check`.
            let ordered = |a: &Dim, b: &Dim| (b - a).known().is_none_or(|d| d >= 0);
            if !(ordered(&Dim::from(0), start) && ordered(start, limit) && ordered(limit, extent)) {
                return Err(self.outside(operands, i, [start, limit, extent]));
            }
            shape.push((limit - start).ceil_div(&Dim::from(self.strides[i])));
        }
        one(x.dtype, shape)
    }
    fn lowering(&self) -> Lowering {
        Lowering::View
    }
    fn view(&self, _: &[&Type], _: &Type, index: &[Dim], _: &Ranges) -> View {
        moved(index.iter().enumerate().map(|(i, d)| d * self.strides[i] + &self.starts[i]))
    }
    fn check(&self, operands: &[&Type], dim: DimValues<'_>) -> Result<(), EvalError> {
        for (i, extent) in operands[0].shape.iter().enumerate() {
            let (start, limit, extent) = (dim(&self.starts[i])?, dim(&self.limits[i])?, dim(extent)?);
            if !(0 <= start && start <= limit && limit <= extent) {
                return Err(self.outside(operands, i, [start, limit, extent]).into());
            }
        }
        Ok(())
    }
    fn eval(&self, operands: &[&Literal], cx: &mut EvalContext<'_>) -> Result<SmallVec<[Literal; 1]>, EvalError> {
        let x = operands[0];
        let starts = dims_of(&self.starts, cx.dim)?;
        let mut strides = signed_strides(x.dims());
        let mut base = 0;
        for i in 0..x.dims().len() {
            base += starts[i] as usize * strides[i] as usize;
            // A stride of more than the axis is never taken.
            strides[i] = if cx.results[0][i] > 1 { strides[i] * self.strides[i] as isize } else { 0 };
        }
        let dims = &cx.results[0];
        Ok(smallvec![pick(x, dims, offsets(dims, &strides, base))])
    }
    fn vjp(&self, b: &mut dyn Emit, cx: &VjpContext<'_>) -> Result<PerOperand, NotDifferentiable> {
        let x = b.ty(cx.operands[0]).clone();
        let mut high = Shape::scalar();
        for (i, count) in b.ty(cx.cotangent()).shape.iter().enumerate() {
            let spread = spread(count, self.strides[i] - 1);
            high.push(&x.shape[i] - &self.starts[i] - spread);
        }
        let interior = self.strides.iter().map(|s| s - 1).collect();
        let pad = Pad { value: Scalar::of(x.dtype, 0.0), low: self.starts.clone(), high, interior };
        Ok(smallvec![Some(b.emit(pad.into(), &[cx.cotangent()]))])
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
        let op = Slice {
            starts: Shape(with_front(Dim::from(0), &self.starts)),
            limits: Shape(with_front(size.clone(), &self.limits)),
            strides: with_front(1, &self.strides),
        };
        b.emit(op.into(), &[x])
    }
    fn canonicalize(&self, b: &mut dyn Rewriter, operands: &[Value], result: &Type) -> Option<Value> {
        let x = operands[0];
        let unit = self.strides.iter().all(|&s| s == 1);
        if unit && self.limits == b.ty(x).shape && self.starts.iter().all(|s| s.is(0)) {
            return Some(x);
        }
        if let Some(value) = b.splat(x) {
            return Some(b.full(value, &result.shape));
        }
        match b.definition(x)? {
            (Primitive::Slice(inner), v) => {
                let rank = self.strides.len();
                let (mut starts, mut limits) = (Shape::scalar(), Shape::scalar());
                for i in 0..rank {
                    let stride = Dim::from(inner.strides[i]);
                    let known = [&inner.starts[i], &inner.limits[i], &self.starts[i], &self.limits[i]];
                    if stride.is(1) || known.iter().all(|d| d.is_static()) {
                        starts.push(&inner.starts[i] + &self.starts[i] * &stride);
                        limits.push(&inner.starts[i] + (&self.limits[i] - 1) * stride + 1);
                    } else if self.starts[i].is(0) && self.limits[i] == b.ty(x).shape[i] {
                        starts.push(inner.starts[i].clone());
                        limits.push(inner.limits[i].clone());
                    } else {
                        // Where nothing is left, the bounds could lie outside of the axis.
                        return None;
                    }
                }
                let op = Slice {
                    starts,
                    limits,
                    strides: (0..rank).map(|i| inner.strides[i].saturating_mul(self.strides[i])).collect(),
                };
                let inner = v[0];
                emit_same(b, op, &[inner], result)
            }
            (Primitive::Concatenate(concat), v) => {
                // All of it inside one operand.
                let (axis, mut start) = (concat.axis, Dim::from(0));
                let not_negative = |d: Dim| d.known().is_some_and(|n| n >= 0);
                for &piece in v {
                    let end = &start + &b.ty(piece).shape[axis];
                    if not_negative(&self.starts[axis] - &start) && not_negative(&end - &self.limits[axis]) {
                        let op = Slice {
                            starts: self.starts.with_axis(axis, &self.starts[axis] - &start),
                            limits: self.limits.with_axis(axis, &self.limits[axis] - &start),
                            strides: self.strides.clone(),
                        };
                        return emit_same(b, op, &[piece], result);
                    }
                    start = end;
                }
                None
            }
            _ => None,
        }
    }
}

impl Slice {
    fn outside(&self, operands: &[&Type], axis: usize, [start, limit, extent]: [impl Display; 3]) -> Violation {
        let rule = format!("slice {start}..{limit} of axis {axis}, which has extent {extent}");
        violation(self, operands, rule, "0 <= start <= limit <= extent").of(ViolationKind::Index)
    }
}

impl OpSamples for Slice {
    fn samples() -> Vec<Sample> {
        let op = |starts: &[usize], limits: &[usize], strides: &[usize]| Slice {
            starts: starts.into(),
            limits: limits.into(),
            strides: strides.into(),
        };
        let mut all = vec![
            sample(op(&[1], &[4], &[1]), &[values(DType::F64, &[5])]),
            sample(op(&[1], &[5], &[2]), &[values(DType::F64, &[6])]),
            sample(op(&[0, 1], &[2, 4], &[1, 2]), &[values(DType::F64, &[3, 5])]),
            sample(op(&[0, 0, 0], &[2, 3, 1], &[1, 3, 1]), &[values(DType::F64, &[2, 3, 1])]),
            sample(op(&[2], &[2], &[3]), &[values(DType::F64, &[4])]),
            sample(op(&[0, 0], &[2, 3], &[1, 1]), &[values(DType::F32, &[2, 3])]),
            sample(op(&[], &[], &[]), &[values(DType::F32, &[])]),
            sample(op(&[0], &[0], &[1]), &[values(DType::F32, &[0])]),
        ];
        all.extend(for_each(DType::ALL, |_| op(&[1], &[12], &[3]).into(), &[12]));
        all
    }
    fn bad_samples() -> Vec<BadSample> {
        let op = |starts: &[i64], limits: &[i64], strides: &[usize]| Slice {
            starts: starts.iter().copied().collect(),
            limits: limits.iter().copied().collect(),
            strides: strides.into(),
        };
        vec![
            bad(op(&[], &[], &[]), [], "takes 1 operand, not 0"),
            bad(op(&[0], &[2], &[1]), [&[2, 3]], "do not fit the rank"),
            bad(op(&[0], &[2], &[0]), [&[2]], "stride 0 on axis 0"),
            bad(op(&[0], &[2], &[usize::MAX]), [&[2]], "strides go from 1 to"),
            bad(op(&[-1], &[2], &[1]), [&[2]], "slice -1..2 of axis 0, which has extent 2"),
            bad(op(&[0], &[3], &[1]), [&[2]], "slice 0..3 of axis 0, which has extent 2"),
            bad(op(&[2], &[1], &[1]), [&[2]], "slice 2..1 of axis 0, which has extent 2"),
        ]
    }
}
