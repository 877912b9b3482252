//! `concatenate`.

use super::{Slice, zeros};
use crate::graph::RegionType;
use crate::graph::Value;
use crate::ops::attribute::op_struct;
use crate::ops::batching::in_front;
use crate::ops::elements::pick_among;
use crate::ops::rules::{one, valid_axes, violation};
use crate::ops::samples::{bad, bad_types, odd, sample, values};
use crate::ops::{
    BadSample, Emit, EmitExt, EvalContext, Lowering, OpDef, OpDoc, OpSamples, PerOperand, Rewriter, Sample, Types,
    View, ViewPiece, VjpContext,
};
use crate::{DType, Dim, EvalError, Literal, NotDifferentiable, Ranges, Type, Violation};
use smallvec::{SmallVec, smallvec};

op_struct! {
    /// Operands one after the other along an axis.
    Concatenate = "concatenate" {
        /// The axis.
        axis: usize,
    }
}
impl OpDef for Concatenate {
    fn doc(&self) -> OpDoc {
        OpDoc {
            semantics: "Operands one after the other along an axis.",
            constraints: &["at least one operand", "operands differ in the extent of `axis` only"],
            gradient: "Each operand gets its slice of the cotangent.",
            example: "concatenate [1]:f32[1], [2, 3]:f32[2] {axis = 0} = [1, 2, 3]",
        }
    }
    fn infer(&self, operands: &[&Type], _: &[RegionType]) -> Result<Types, Violation> {
        let Some(first) = operands.first() else {
            return Err(violation(self, operands, "no operands", "at least one"));
        };
        valid_axes(self, operands, &[self.axis], first.rank())?;
        let mut extent = Dim::from(0);
        for (i, x) in operands.iter().enumerate() {
            if x.dtype != first.dtype
                || x.shape.without(&[self.axis]) != first.shape.without(&[self.axis])
                || x.rank() != first.rank()
            {
                let rule = format!("operand {i} has type {x}, operand 0 has {first}");
                return Err(violation(self, operands, rule, format!("only axis {} may differ", self.axis)));
            }
            extent = extent + &x.shape[self.axis];
        }
        one(first.dtype, first.shape.with_axis(self.axis, extent))
    }
    fn lowering(&self) -> Lowering {
        Lowering::View
    }
    fn joined_axis(&self) -> Option<usize> {
        Some(self.axis)
    }
    fn view(&self, operands: &[&Type], _: &Type, index: &[Dim], ranges: &Ranges) -> View {
        let mut pieces = SmallVec::new();
        let mut start = Dim::from(0);
        for (operand, x) in operands.iter().enumerate() {
            let mut inner: SmallVec<[Dim; 4]> = index.into();
            inner[self.axis] = &index[self.axis] - &start;
            start = start + &x.shape[self.axis];
            // Pieces are tried in order, so only the upper end needs a test; the last needs none.
            let below_end = &start - 1 - &index[self.axis];
            if ranges.is_negative(&below_end) {
                continue;
            }
            let last = operand + 1 == operands.len() || ranges.is_non_negative(&below_end);
            let non_negative = if last { smallvec![] } else { smallvec![below_end] };
            pieces.push(ViewPiece { operand, index: inner, non_negative, divisible: smallvec![] });
            if last {
                break;
            }
        }
        View { pieces, fill: None }
    }
    fn eval(&self, operands: &[&Literal], cx: &mut EvalContext<'_>) -> Result<SmallVec<[Literal; 1]>, EvalError> {
        let dims = &cx.results[0];
        let tail: usize = dims[self.axis + 1..].iter().product();
        let rows: usize = dims[..self.axis].iter().product();
        let mut all = Vec::with_capacity(dims.iter().product());
        for row in 0..rows {
            for (operand, x) in operands.iter().enumerate() {
                let len = x.dims()[self.axis] * tail;
                all.extend((row * len..(row + 1) * len).map(|at| (operand, at)));
            }
        }
        Ok(smallvec![pick_among(operands, dims, all.into_iter())])
    }
    fn vjp(&self, b: &mut dyn Emit, cx: &VjpContext<'_>) -> Result<PerOperand, NotDifferentiable> {
        let (ct, mut start) = (cx.cotangent(), Dim::from(0));
        let whole = b.ty(ct).shape.clone();
        let mut out = PerOperand::new();
        for (&x, &wanted) in cx.operands.iter().zip(cx.wanted) {
            let end = &start + &b.ty(x).shape[self.axis];
            out.push(wanted.then(|| {
                let starts = zeros(whole.rank()).with_axis(self.axis, start.clone());
                let limits = whole.with_axis(self.axis, end.clone());
                b.emit(Slice { starts, limits, strides: smallvec![1; whole.rank()] }.into(), &[ct])
            }));
            start = end;
        }
        Ok(out)
    }
    fn jvp(
        &self,
        b: &mut dyn Emit,
        operands: &[Value],
        _: &[Value],
        tangents: &[Option<Value>],
    ) -> Result<Option<Value>, NotDifferentiable> {
        if tangents.iter().all(Option::is_none) {
            return Ok(None);
        }
        let all: Vec<Value> =
            operands.iter().zip(tangents).map(|(&x, t)| t.unwrap_or_else(|| b.full_like(x, 0.0))).collect();
        Ok(Some(b.emit(self.clone().into(), &all)))
    }
    fn batch(&self, b: &mut dyn Emit, operands: &[Value], axes: &[Option<usize>], size: &Dim) -> Value {
        let all: Vec<Value> = operands.iter().zip(axes).map(|(&x, &axis)| in_front(b, x, axis, size)).collect();
        b.emit(Concatenate { axis: self.axis + 1 }.into(), &all)
    }
    fn canonicalize(&self, b: &mut dyn Rewriter, operands: &[Value], result: &Type) -> Option<Value> {
        if let [x] = *operands {
            return Some(x);
        }
        let kept: Vec<Value> = operands.iter().copied().filter(|&x| !b.ty(x).shape[self.axis].is(0)).collect();
        if kept.is_empty() {
            return Some(operands[0]);
        }
        if kept.len() < operands.len() {
            return Some(b.emit(self.clone().into(), &kept));
        }
        let value = b.splat(operands[0])?;
        operands.iter().all(|&x| b.splat(x) == Some(value)).then(|| b.full(value, &result.shape))
    }
}

impl OpSamples for Concatenate {
    fn samples() -> Vec<Sample> {
        let op = |axis: usize| Concatenate { axis };
        let x = |dims: &[usize]| values(DType::F64, dims);
        let mut all = vec![
            sample(op(0), &[x(&[2]), x(&[3])]),
            sample(op(1), &[x(&[2, 1]), x(&[2, 3]), x(&[2, 2])]),
            sample(op(0), &[x(&[1, 3]), x(&[2, 3])]),
            sample(op(1), &[x(&[2, 1, 2]), x(&[2, 2, 2])]),
            sample(op(0), &[x(&[2, 2])]),
            sample(op(0), &[x(&[0]), x(&[3]), x(&[0])]),
            sample(op(0), &[x(&[0, 2]), x(&[0, 2])]),
            sample(op(1), &[x(&[0, 2]), x(&[0, 3])]),
        ];
        all.extend(DType::ALL.map(|d| sample(op(0), &[odd(d, &[12]), values(d, &[2])])));
        all
    }
    fn bad_samples() -> Vec<BadSample> {
        let op = |axis: usize| Concatenate { axis };
        vec![
            bad(op(0), [], "no operands"),
            bad(op(0), [&[]], "axis 0 does not exist"),
            bad(op(1), [&[2], &[3]], "axis 1 does not exist"),
            bad(op(0), [&[2, 3], &[2, 4]], "operand 1 has type f32[2, 4], operand 0 has f32[2, 3]"),
            bad(op(0), [&[2, 3], &[2]], "operand 1 has type f32[2]"),
            bad_types(op(0), vec![Type::new(DType::F32, [2]), Type::new(DType::I32, [2])], "operand 1 has type i32[2]"),
        ]
    }
}
