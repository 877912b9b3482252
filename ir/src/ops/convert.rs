//! Conversion between dtypes.

use super::attribute::op_struct;
use super::elementwise::{self, Evaluated};
use super::pending::{pending_rest, pending_samples};
use super::rules::{arity, one};
use super::{EvalContext, Lowering, OpDef, Types};
use crate::graph::RegionType;
use crate::kernel::{KernelBuilder, Var};
use crate::{DType, Literal, Type, Violation};

op_struct! {
    /// Converts each element, as [`Scalar::convert`](crate::Scalar::convert) does.
    Convert = "convert" {
        /// The dtype of the result.
        dtype: DType,
    }
}
impl OpDef for Convert {
    fn infer(&self, operands: &[&Type], _: &[RegionType]) -> Result<Types, Violation> {
        arity(self, operands, 1)?;
        one(self.dtype, &operands[0].shape)
    }
    fn lowering(&self) -> Lowering {
        Lowering::Pointwise
    }
    fn scalar(&self, k: &mut KernelBuilder, operands: &[Var]) -> Var {
        k.convert(operands[0], self.dtype)
    }
    fn eval(&self, operands: &[&Literal], _: &mut EvalContext<'_>) -> Evaluated {
        elementwise::convert(operands[0], self.dtype)
    }
    pending_rest!();
}
pending_samples!(Convert);
