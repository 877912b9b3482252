//! `pad`.

use crate::graph::RegionType;
use crate::literal::strides_of;
use crate::ops::attribute::op_struct;
use crate::ops::elements::{dims_of, indices, pick_or};
use crate::ops::pending::{pending_rest, pending_samples};
use crate::ops::rules::{arity, one, violation};
use crate::ops::{EvalContext, Lowering, OpDef, Types, View, ViewPiece};
use crate::{Axes, Dim, EvalError, Literal, Ranges, Scalar, Shape, Type, Violation};
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
    fn infer(&self, operands: &[&Type], _: &[RegionType]) -> Result<Types, Violation> {
        arity(self, operands, 1)?;
        let x = operands[0];
        if [self.low.rank(), self.high.rank(), self.interior.len()] != [x.rank(); 3] {
            return Err(violation(self, operands, "low, high and interior do not fit the rank", "one entry per axis"));
        }
        if self.value.dtype() != x.dtype {
            let rule = format!("the padding value {:?} is not of dtype {}", self.value, x.dtype);
            return Err(violation(self, operands, rule, "both must be the same"));
        }
        let mut shape = Shape::scalar();
        for i in 0..x.rank() {
            let n = &x.shape[i];
            let spread =
                if n.is(0) || self.interior[i] == 0 { n.clone() } else { (n - 1) * (self.interior[i] + 1) + 1 };
            let extent = spread + &self.low[i] + &self.high[i];
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
            let step = Dim::from(self.interior[i] + 1);
            let inner = ranges.floor_div(&shifted, &step);
            if !step.is(1) {
                piece.divisible.push((shifted.clone(), step));
            }
            for bound in [shifted, &operands[0].shape[i] - 1 - &inner] {
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
    pending_rest!();
}
pending_samples!(Pad);
