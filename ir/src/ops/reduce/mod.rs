//! Reductions over sets of axes.

mod eval;

use crate::graph::RegionType;
use crate::kernel::Combine;
use crate::ops::attribute::op_struct;
use crate::ops::pending::{pending_rest, pending_samples};
use crate::ops::rules::{arity, dtype_is, one, valid_axes, violation};
use crate::ops::{EvalContext, Lowering, OpDef, Types};
use crate::{Axes, DType, EvalError, Literal, Type, Violation};
use smallvec::{SmallVec, smallvec};

macro_rules! reductions {
    ($($(#[$doc:meta])* $name:ident = $text:literal $combine:ident $eval:ident ($legal:expr);)*) => { $(
        op_struct! { $(#[$doc])* $name = $text {
            /// The axes that fall away, strictly increasing.
            axes: Axes,
        } }
        impl OpDef for $name {
            fn infer(&self, operands: &[&Type], _: &[RegionType]) -> Result<Types, Violation> {
                arity(self, operands, 1)?;
                dtype_is(self, operands, 0, $legal)?;
                valid_axes(self, operands, &self.axes, operands[0].rank())?;
                if self.axes.windows(2).any(|w| w[0] >= w[1]) {
                    return Err(violation(self, operands, format!("axes {:?} do not increase", self.axes), "sort them"));
                }
                one(operands[0].dtype, operands[0].shape.without(&self.axes))
            }
            fn lowering(&self) -> Lowering { Lowering::Reduce(Combine::$combine) }
            fn reduced_axes(&self) -> &[usize] { &self.axes }
            fn eval(&self, operands: &[&Literal], _: &mut EvalContext<'_>) -> Result<SmallVec<[Literal; 1]>, EvalError> {
                Ok(smallvec![eval::$eval(operands[0], &self.axes)])
            }
            pending_rest!();
        }
        pending_samples!($name);
    )* };
}

fn number(d: DType) -> bool {
    d != DType::Bool
}
fn any(_: DType) -> bool {
    true
}
fn boolean(d: DType) -> bool {
    d == DType::Bool
}

reductions! {
    /// Sum; 16-bit floats accumulate in f32 and round once.
    ReduceSum = "reduce_sum" Sum sum (number);
    /// Product; 16-bit floats accumulate in f32 and round once.
    ReduceProd = "reduce_prod" Product product (number);
    /// Largest; NaN wins.
    ReduceMax = "reduce_max" Max max (any);
    /// Smallest; NaN wins.
    ReduceMin = "reduce_min" Min min (any);
    /// Logical or.
    ReduceAny = "reduce_any" Any any (boolean);
    /// Logical and.
    ReduceAll = "reduce_all" All all (boolean);
}

macro_rules! arg_reductions {
    ($($(#[$doc:meta])* $name:ident = $text:literal $eval:ident;)*) => { $(
        op_struct! { $(#[$doc])* $name = $text {
            /// The axis that falls away, as a list of one.
            axes: Axes,
        } }
        impl OpDef for $name {
            fn infer(&self, operands: &[&Type], _: &[RegionType]) -> Result<Types, Violation> {
                arity(self, operands, 1)?;
                valid_axes(self, operands, &self.axes, operands[0].rank())?;
                if self.axes.len() != 1 {
                    return Err(violation(self, operands, format!("axes {:?}", self.axes), "exactly one axis"));
                }
                if operands[0].shape[self.axes[0]].is(0) {
                    return Err(violation(self, operands, format!("axis {} is empty", self.axes[0]), "there is no position to give"));
                }
                one(DType::I64, operands[0].shape.without(&self.axes))
            }
            fn lowering(&self) -> Lowering { Lowering::Reduce(Combine::$name) }
            fn reduced_axes(&self) -> &[usize] { &self.axes }
            fn eval(&self, operands: &[&Literal], _: &mut EvalContext<'_>) -> Result<SmallVec<[Literal; 1]>, EvalError> {
                Ok(smallvec![eval::$eval(operands[0], &self.axes)])
            }
            pending_rest!();
        }
        pending_samples!($name);
    )* };
}
arg_reductions! {
    /// Position (i64) of the first largest element; NaN counts as largest.
    ArgMax = "argmax" arg_max;
    /// Position (i64) of the first smallest element; NaN counts as smallest.
    ArgMin = "argmin" arg_min;
}
