//! `concatenate`.

use crate::graph::RegionType;
use crate::ops::attribute::op_struct;
use crate::ops::elements::pick_among;
use crate::ops::pending::{pending_rest, pending_samples};
use crate::ops::rules::{one, valid_axes, violation};
use crate::ops::{EvalContext, Lowering, OpDef, Types, View, ViewPiece};
use crate::{Dim, EvalError, Literal, Ranges, Type, Violation};
use smallvec::{SmallVec, smallvec};

op_struct! {
    /// Operands one after the other along an axis.
    Concatenate = "concatenate" {
        /// The axis.
        axis: usize,
    }
}
impl OpDef for Concatenate {
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
    fn view(&self, operands: &[&Type], _: &Type, index: &[Dim], _: &Ranges) -> View {
        let mut pieces = SmallVec::new();
        let mut start = Dim::from(0);
        for (operand, x) in operands.iter().enumerate() {
            let mut inner: SmallVec<[Dim; 4]> = index.into();
            inner[self.axis] = &index[self.axis] - &start;
            start = start + &x.shape[self.axis];
            // Pieces are tried in order, so only the upper end needs a test; the last needs none.
            let non_negative =
                if operand + 1 == operands.len() { smallvec![] } else { smallvec![&start - 1 - &index[self.axis]] };
            pieces.push(ViewPiece { operand, index: inner, non_negative, divisible: smallvec![] });
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
    pending_rest!();
}
pending_samples!(Concatenate);
