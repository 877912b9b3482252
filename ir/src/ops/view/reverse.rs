//! `reverse`.

use super::moved;
use crate::graph::RegionType;
use crate::ops::attribute::op_struct;
use crate::ops::elements::{offsets, pick, signed_strides};
use crate::ops::pending::{pending_rest, pending_samples};
use crate::ops::rules::{arity, one, valid_axes};
use crate::ops::{EvalContext, Lowering, OpDef, Types, View};
use crate::{Axes, Dim, EvalError, Literal, Ranges, Type, Violation};
use smallvec::{SmallVec, smallvec};

op_struct! {
    /// Elements in reverse order along axes.
    Reverse = "reverse" {
        /// The axes.
        axes: Axes,
    }
}
impl OpDef for Reverse {
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
    pending_rest!();
}
pending_samples!(Reverse);
