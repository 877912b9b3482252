//! Reductions over sets of axes.

use super::attribute::op_struct;
use super::pending::{pending, pending_samples};
use super::rules::{arity, dtype_is, one, valid_axes, violation};
use super::{Lowering, OpDef, Types};
use crate::graph::RegionType;
use crate::kernel::Combine;
use crate::{Axes, DType, Type, Violation};

macro_rules! reductions {
    ($($(#[$doc:meta])* $name:ident = $text:literal $combine:ident ($legal:expr);)*) => { $(
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
            pending!();
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
    ReduceSum = "reduce_sum" Sum (number);
    /// Product; 16-bit floats accumulate in f32 and round once.
    ReduceProd = "reduce_prod" Product (number);
    /// Largest; NaN wins.
    ReduceMax = "reduce_max" Max (any);
    /// Smallest; NaN wins.
    ReduceMin = "reduce_min" Min (any);
    /// Logical or.
    ReduceAny = "reduce_any" Any (boolean);
    /// Logical and.
    ReduceAll = "reduce_all" All (boolean);
}

macro_rules! arg_reductions {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => { $(
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
            pending!();
        }
        pending_samples!($name);
    )* };
}
arg_reductions! {
    /// Position (i64) of the first largest element; NaN counts as largest.
    ArgMax = "argmax";
    /// Position (i64) of the first smallest element; NaN counts as smallest.
    ArgMin = "argmin";
}
