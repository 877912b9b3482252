//! `broadcast_in_dim`.

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
    /// Axis `i` of the operand becomes axis `dims[i]` of the result; an axis of extent 1 is repeated.
    BroadcastInDim = "broadcast_in_dim" {
        /// The shape of the result.
        shape: Shape,
        /// Where each axis goes; strictly increasing.
        dims: Axes,
    }
}
impl OpDef for BroadcastInDim {
    fn infer(&self, operands: &[&Type], _: &[RegionType]) -> Result<Types, Violation> {
        arity(self, operands, 1)?;
        let x = operands[0];
        if self.dims.len() != x.rank() {
            let rule = format!("dims has {} entries for {} axes", self.dims.len(), x.rank());
            return Err(violation(self, operands, rule, "one entry per axis of the operand"));
        }
        valid_axes(self, operands, &self.dims, self.shape.rank())?;
        if self.dims.windows(2).any(|w| w[0] >= w[1]) {
            return Err(violation(self, operands, format!("dims {:?} do not increase", self.dims), "transpose first"));
        }
        for (i, &d) in self.dims.iter().enumerate() {
            if x.shape[i] != self.shape[d] && !x.shape[i].is(1) {
                let rule =
                    format!("axis {i} of extent {} cannot become axis {d} of extent {}", x.shape[i], self.shape[d]);
                return Err(violation(self, operands, rule, "extents must be equal, or 1 in the operand"));
            }
        }
        one(x.dtype, &self.shape)
    }
    fn lowering(&self) -> Lowering {
        Lowering::View
    }
    fn view(&self, operands: &[&Type], _: &Type, index: &[Dim], _: &Ranges) -> View {
        let x = &operands[0].shape;
        moved(self.dims.iter().enumerate().map(|(i, &d)| if x[i].is(1) { Dim::from(0) } else { index[d].clone() }))
    }
    fn eval(&self, operands: &[&Literal], cx: &mut EvalContext<'_>) -> Result<SmallVec<[Literal; 1]>, EvalError> {
        let x = operands[0];
        let dims = &cx.results[0];
        let mut strides: SmallVec<[isize; 4]> = smallvec![0; dims.len()];
        for (i, (&d, stride)) in self.dims.iter().zip(signed_strides(x.dims())).enumerate() {
            strides[d] = if x.dims()[i] == 1 { 0 } else { stride };
        }
        Ok(smallvec![pick(x, dims, offsets(dims, &strides, 0))])
    }
    pending_rest!();
}
pending_samples!(BroadcastInDim);
