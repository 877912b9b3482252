//! `slice`.

use super::moved;
use crate::graph::RegionType;
use crate::ops::attribute::op_struct;
use crate::ops::elements::{dims_of, offsets, pick, signed_strides};
use crate::ops::pending::{pending_rest, pending_samples};
use crate::ops::rules::{arity, one, violation};
use crate::ops::{EvalContext, Lowering, OpDef, Types, View};
use crate::{Axes, Dim, EvalError, Literal, Ranges, Shape, Type, Violation};
use smallvec::{SmallVec, smallvec};

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
    fn infer(&self, operands: &[&Type], _: &[RegionType]) -> Result<Types, Violation> {
        arity(self, operands, 1)?;
        let x = operands[0];
        if [self.starts.rank(), self.limits.rank(), self.strides.len()] != [x.rank(); 3] {
            return Err(violation(
                self,
                operands,
                "starts, limits and strides do not fit the rank",
                "one entry per axis",
            ));
        }
        let mut shape = Shape::scalar();
        for i in 0..x.rank() {
            let (start, limit, extent) = (&self.starts[i], &self.limits[i], &x.shape[i]);
            if self.strides[i] == 0 {
                return Err(violation(self, operands, format!("stride 0 on axis {i}"), "strides are positive"));
            }
            // What is symbolic is checked where it gets its value.
            let ordered = |a: &Dim, b: &Dim| (b - a).known().is_none_or(|d| d >= 0);
            if !(ordered(&Dim::from(0), start) && ordered(start, limit) && ordered(limit, extent)) {
                let rule = format!("slice {start}..{limit} of axis {i}, which has extent {extent}");
                return Err(violation(self, operands, rule, "0 <= start <= limit <= extent"));
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
    fn eval(&self, operands: &[&Literal], cx: &mut EvalContext<'_>) -> Result<SmallVec<[Literal; 1]>, EvalError> {
        let x = operands[0];
        let (starts, limits) = (dims_of(&self.starts, cx.dim)?, dims_of(&self.limits, cx.dim)?);
        let mut strides = signed_strides(x.dims());
        let mut base = 0;
        for (i, &extent) in x.dims().iter().enumerate() {
            let (start, limit) = (starts[i], limits[i]);
            if !(0 <= start && start <= limit && limit <= extent as i64) {
                let reason = format!("slice {start}..{limit} of axis {i}, which has extent {extent}");
                return Err(EvalError::Other(reason));
            }
            base += start as usize * strides[i] as usize;
            strides[i] *= self.strides[i] as isize;
        }
        let dims = &cx.results[0];
        Ok(smallvec![pick(x, dims, offsets(dims, &strides, base))])
    }
    pending_rest!();
}
pending_samples!(Slice);
