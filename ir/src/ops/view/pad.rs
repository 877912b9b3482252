//! `pad`.

use super::{LARGEST_STEP, Slice, emit_same, zeros};
use crate::graph::RegionType;
use crate::graph::Value;
use crate::literal::strides_of;
use crate::ops::attribute::op_struct;
use crate::ops::batching::{in_front, with_front};
use crate::ops::elements::{dims_of, indices, pick_or};
use crate::ops::rules::{arity, one, violation};
use crate::ops::samples::{bad, for_each, sample, values};
use crate::ops::{
    BadSample, Emit, EmitExt, EvalContext, Lowering, OpDef, OpDoc, OpSamples, PerOperand, Rewriter, Sample, Types,
    View, ViewPiece, VjpContext,
};
use crate::{
    Axes, DType, Dim, EvalError, Literal, NotDifferentiable, Ranges, Scalar, Shape, Type, Violation, ViolationKind,
};
use smallvec::{SmallVec, smallvec};

op_struct! {
    /// Adds elements of one value: `low[i]` before, `high[i]` after and `interior[i]` between the elements of axis `i`;
    /// negative `low` and `high` cut elements off.
    Pad = "pad" {
        /// The added value.
        value: Scalar,
        /// Before the first element.
        low: Shape,
        /// After the last.
        high: Shape,
        /// Between neighbours.
        interior: Axes,
    }
}
impl OpDef for Pad {
    fn doc(&self) -> OpDoc {
        OpDoc {
            semantics: "Puts elements equal to `value` around and between the operand's: `low[i]` before, `high[i]` after and `interior[i]` between neighbours along axis `i`. Negative `low` and `high` cut elements off, after the interior ones are put in.",
            constraints: &[
                "`low`, `high` and `interior` have one entry per axis",
                "`value` has the operand's dtype",
                "no extent becomes negative",
            ],
            gradient: "The cotangent at the places of the operand's elements, 0 for those that were cut off.",
            example: "pad [1, 2]:f32[2] {value = 0:f32, low = [1], high = [0], interior = [1]} = [0, 1, 0, 2]",
        }
    }
    fn infer(&self, operands: &[&Type], _: &[RegionType]) -> Result<Types, Violation> {
        arity(self, operands, 1)?;
        let x = operands[0];
        if [self.low.rank(), self.high.rank(), self.interior.len()] != [x.rank(); 3] {
            let rule = "low, high and interior do not fit the rank";
            return Err(violation(self, operands, rule, "one entry per axis").of(ViolationKind::Rank));
        }
        if self.value.dtype() != x.dtype {
            let rule = format!("the padding value {:?} is not of dtype {}", self.value, x.dtype);
            return Err(violation(self, operands, rule, "both must be the same").of(ViolationKind::DType));
        }
        let mut shape = Shape::scalar();
        for i in 0..x.rank() {
            let n = &x.shape[i];
            if self.interior[i] > LARGEST_STEP {
                let rule = format!("{} elements between neighbours of axis {i}", self.interior[i]);
                return Err(violation(self, operands, rule, format!("at most {LARGEST_STEP}")));
            }
            let extent = spread(n, self.interior[i]) + &self.low[i] + &self.high[i];
            if extent.known().is_some_and(|e| e < 0) {
                let rule = format!("padding leaves axis {i} with extent {extent}");
                return Err(violation(self, operands, rule, "an extent is not negative"));
            }
            shape.push(extent);
        }
        one(x.dtype, shape)
    }
    fn lowering(&self) -> Lowering {
        Lowering::View
    }
    fn view(&self, operands: &[&Type], _: &Type, index: &[Dim], ranges: &Ranges) -> View {
        let mut piece = ViewPiece { operand: 0, index: smallvec![], non_negative: smallvec![], divisible: smallvec![] };
        for (i, d) in index.iter().enumerate() {
            let shifted = d - &self.low[i];
            let step = Dim::from(self.interior[i]) + 1;
            let inner = ranges.floor_div(&shifted, &step);
            let remainder = ranges.modulo(&shifted, &step);
            if !remainder.is(0) {
                piece.divisible.push((shifted.clone(), step));
            }
            for bound in [shifted, &operands[0].shape[i] - 1 - &inner] {
                if remainder.known().is_some_and(|r| r != 0) || ranges.is_negative(&bound) {
                    return View { pieces: smallvec![], fill: Some(self.value) };
                }
                if !ranges.is_non_negative(&bound) {
                    piece.non_negative.push(bound);
                }
            }
            piece.index.push(inner);
        }
        View { pieces: smallvec![piece], fill: Some(self.value) }
    }
    fn eval(&self, operands: &[&Literal], cx: &mut EvalContext<'_>) -> Result<SmallVec<[Literal; 1]>, EvalError> {
        let x = operands[0];
        let low = dims_of(&self.low, cx.dim)?;
        let dims = &cx.results[0];
        let strides = strides_of(x.dims());
        let source = |index: &[usize]| {
            index.iter().enumerate().try_fold(0, |at, (i, &j)| {
                let (shifted, step) = (j as i64 - low[i], self.interior[i] as i64 + 1);
                let inside = shifted >= 0 && shifted % step == 0 && shifted / step < x.dims()[i] as i64;
                inside.then(|| at + (shifted / step) as usize * strides[i])
            })
        };
        let all: Vec<Option<usize>> = indices(dims).map(|index| source(&index)).collect();
        Ok(smallvec![pick_or(x, dims, self.value, all.into_iter())])
    }
    fn vjp(&self, b: &mut dyn Emit, cx: &VjpContext<'_>) -> Result<PerOperand, NotDifferentiable> {
        let (x, ct) = (b.ty(cx.operands[0]).clone(), cx.cotangent());
        let rank = x.rank();
        let spreads: Shape = (0..rank).map(|i| spread(&x.shape[i], self.interior[i])).collect();
        let strides: Axes = self.interior.iter().map(|n| n + 1).collect();
        let whole = |widths: &Shape| widths.iter().all(|w| w.known().is_some_and(|w| w >= 0));
        if whole(&self.low) && whole(&self.high) {
            let limits = (0..rank).map(|i| &self.low[i] + &spreads[i]).collect();
            let slice = Slice { starts: self.low.clone(), limits, strides };
            return Ok(smallvec![Some(b.emit(slice.into(), &[ct]))]);
        }
        // The negative of what was added: cuts off padding, and puts zeros for what was cut off.
        let minus = |widths: &Shape| widths.iter().map(|w| Dim::from(0) - w).collect();
        let (value, interior) = (Scalar::of(x.dtype, 0.0), smallvec![0; rank]);
        let undone = Pad { value, low: minus(&self.low), high: minus(&self.high), interior };
        let undone = b.emit(undone.into(), &[ct]);
        if self.interior.iter().all(|&n| n == 0) {
            return Ok(smallvec![Some(undone)]);
        }
        let slice = Slice { starts: zeros(rank), limits: spreads, strides };
        Ok(smallvec![Some(b.emit(slice.into(), &[undone]))])
    }
    fn jvp(
        &self,
        b: &mut dyn Emit,
        _: &[Value],
        _: &[Value],
        tangents: &[Option<Value>],
    ) -> Result<Option<Value>, NotDifferentiable> {
        let zero = Pad { value: Scalar::of(self.value.dtype(), 0.0), ..self.clone() };
        Ok(tangents[0].map(|t| b.emit(zero.into(), &[t])))
    }
    fn batch(&self, b: &mut dyn Emit, operands: &[Value], axes: &[Option<usize>], size: &Dim) -> Value {
        let x = in_front(b, operands[0], axes[0], size);
        let op = Pad {
            value: self.value,
            low: Shape(with_front(Dim::from(0), &self.low)),
            high: Shape(with_front(Dim::from(0), &self.high)),
            interior: with_front(0, &self.interior),
        };
        b.emit(op.into(), &[x])
    }
    fn canonicalize(&self, b: &mut dyn Rewriter, operands: &[Value], result: &Type) -> Option<Value> {
        let x = operands[0];
        let zero = |widths: &Shape| widths.iter().all(|w| w.is(0));
        let spaced = (0..self.interior.len()).any(|i| self.interior[i] > 0 && !b.ty(x).shape[i].is(1));
        if !spaced && zero(&self.low) && zero(&self.high) {
            return Some(x);
        }
        if b.splat(x) == Some(self.value) || b.ty(x).shape.iter().any(|d| d.is(0)) {
            return Some(b.full(self.value, &result.shape));
        }
        let cuts = |widths: &Shape| widths.iter().all(|w| w.known().is_some_and(|w| w <= 0));
        if !spaced && cuts(&self.low) && cuts(&self.high) {
            let shape = b.ty(x).shape.clone();
            let starts = self.low.iter().map(|w| Dim::from(0) - w).collect();
            let limits = shape.iter().zip(self.high.iter()).map(|(n, w)| n + w).collect();
            return emit_same(b, Slice { starts, limits, strides: smallvec![1; shape.rank()] }, &[x], result);
        }
        None
    }
}

/// The extent of `count` elements with `interior` ones between neighbours; for an axis known to be empty, 0.
pub(super) fn spread(count: &Dim, interior: usize) -> Dim {
    if count.is(0) || interior == 0 { count.clone() } else { (count - 1) * (Dim::from(interior) + 1) + 1 }
}

impl OpSamples for Pad {
    fn samples() -> Vec<Sample> {
        let op = |dtype: DType, low: &[i64], high: &[i64], interior: &[usize]| Pad {
            value: Scalar::of(dtype, 7.0),
            low: low.iter().copied().collect(),
            high: high.iter().copied().collect(),
            interior: interior.into(),
        };
        let f64 = DType::F64;
        let mut all = vec![
            sample(op(f64, &[1], &[2], &[0]), &[values(f64, &[3])]),
            sample(op(f64, &[0], &[1], &[2]), &[values(f64, &[3])]),
            sample(op(f64, &[-1], &[2], &[0]), &[values(f64, &[3])]),
            sample(op(f64, &[-2], &[-1], &[1]), &[values(f64, &[4])]),
            sample(op(f64, &[1, -1], &[0, 1], &[1, 0]), &[values(f64, &[2, 3])]),
            sample(op(f64, &[0, 0], &[0, 0], &[0, 0]), &[values(f64, &[2, 3])]),
            sample(op(f64, &[-3], &[0], &[0]), &[values(f64, &[3])]),
            sample(op(f64, &[1], &[2], &[3]), &[values(f64, &[0])]),
            sample(op(f64, &[1, 0], &[0, 0], &[0, 0]), &[values(f64, &[2, 0])]),
            sample(op(f64, &[], &[], &[]), &[values(f64, &[])]),
            sample(op(f64, &[2], &[1], &[4]), &[values(f64, &[1])]),
        ];
        all.extend(for_each(DType::ALL, |d| op(d, &[2], &[-1], &[1]).into(), &[12]));
        all
    }
    fn bad_samples() -> Vec<BadSample> {
        let op = |dtype: DType, low: &[i64], high: &[i64], interior: &[usize]| Pad {
            value: Scalar::of(dtype, 0.0),
            low: low.iter().copied().collect(),
            high: high.iter().copied().collect(),
            interior: interior.into(),
        };
        vec![
            bad(op(DType::F32, &[], &[], &[]), [], "takes 1 operand, not 0"),
            bad(op(DType::F32, &[1], &[1], &[0]), [&[2, 3]], "do not fit the rank"),
            bad(op(DType::F32, &[0], &[0], &[usize::MAX]), [&[2]], "elements between neighbours of axis 0"),
            bad(op(DType::I32, &[1], &[1], &[0]), [&[2]], "is not of dtype f32"),
            bad(op(DType::F32, &[-2], &[-1], &[0]), [&[2]], "padding leaves axis 0 with extent -1"),
        ]
    }
}
