//! `reshape`.

use super::moved;
use crate::graph::RegionType;
use crate::ops::attribute::op_struct;
use crate::ops::pending::{pending_rest, pending_samples};
use crate::ops::rules::{arity, one, violation};
use crate::ops::{EvalContext, Lowering, OpDef, Types, View};
use crate::{Dim, EvalError, Literal, Ranges, Shape, Type, Violation};
use smallvec::{SmallVec, smallvec};

op_struct! {
    /// The same elements in row-major order under another shape.
    Reshape = "reshape" {
        /// The shape of the result.
        shape: Shape,
    }
}
impl OpDef for Reshape {
    fn infer(&self, operands: &[&Type], _: &[RegionType]) -> Result<Types, Violation> {
        arity(self, operands, 1)?;
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
    pending_rest!();
}
pending_samples!(Reshape);
