//! `transpose`.

use super::moved;
use crate::graph::RegionType;
use crate::ops::attribute::op_struct;
use crate::ops::elements::{offsets, pick, signed_strides};
use crate::ops::pending::{pending_rest, pending_samples};
use crate::ops::rules::{arity, one, valid_axes, violation};
use crate::ops::{EvalContext, Lowering, OpDef, Types, View};
use crate::{Axes, Dim, EvalError, Literal, Ranges, Shape, Type, Violation};
use smallvec::{SmallVec, smallvec};

op_struct! {
    /// Axis `i` of the result is axis `permutation[i]` of the operand.
    Transpose = "transpose" {
        /// The axes of the operand in their new order.
        permutation: Axes,
    }
}
impl OpDef for Transpose {
    fn infer(&self, operands: &[&Type], _: &[RegionType]) -> Result<Types, Violation> {
        arity(self, operands, 1)?;
        let x = operands[0];
        if self.permutation.len() != x.rank() {
            let rule = format!("a permutation of {} axes for {}", self.permutation.len(), x.rank());
            return Err(violation(self, operands, rule, "name every axis once"));
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
    pending_rest!();
}
pending_samples!(Transpose);
