//! Pointwise ops of two and three operands.

use super::attribute::{op_struct, word_attribute};
use super::elementwise::{self, Bits, Evaluated, Extremum, Number, with_type, zip};
use super::pending::{pending_rest, pending_samples};
use super::rules::{arity, dtype_is, one, same_shape, same_type, violation};
use super::{EvalContext, Lowering, OpDef, Types};
use crate::graph::RegionType;
use crate::kernel::{BinaryOp, CompareOp, KernelBuilder, Var};
use crate::{DType, Literal, Type, Violation};

macro_rules! binary {
    ($($(#[$doc:meta])* $name:ident = $text:literal ($legal:ident) $class:ident $f:ident;)*) => { $(
        op_struct! { $(#[$doc])* $name = $text {} }
        impl OpDef for $name {
            fn infer(&self, operands: &[&Type], _: &[RegionType]) -> Result<Types, Violation> {
                arity(self, operands, 2)?;
                dtype_is(self, operands, 0, $legal)?;
                same_type(self, operands, 0, 1)?;
                one(operands[0].dtype, &operands[0].shape)
            }
            fn lowering(&self) -> Lowering { Lowering::Pointwise }
            fn scalar(&self, k: &mut KernelBuilder, operands: &[Var]) -> Var {
                k.binary(BinaryOp::$name, operands[0], operands[1])
            }
            fn eval(&self, operands: &[&Literal], _: &mut EvalContext<'_>) -> Evaluated {
                with_type!($legal operands[0].dtype(), T => zip(operands[0], operands[1], <T as $class>::$f))
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
fn integral(d: DType) -> bool {
    !d.is_float()
}

binary! {
    /// Sum.
    Add = "add" (number) Number add;
    /// Difference.
    Sub = "sub" (number) Number sub;
    /// Product.
    Mul = "mul" (number) Number mul;
    /// Quotient.
    Div = "div" (number) Number div;
    /// Remainder.
    Rem = "rem" (number) Number rem;
    /// Power.
    Pow = "pow" (number) Number pow;
    /// Larger.
    Max = "max" (any) Extremum max;
    /// Smaller.
    Min = "min" (any) Extremum min;
    /// Bitwise and logical and.
    And = "and" (integral) Bits and;
    /// Bitwise and logical or.
    Or = "or" (integral) Bits or;
    /// Exclusive or.
    Xor = "xor" (integral) Bits xor;
}

/// Which comparison.
pub type Direction = CompareOp;
word_attribute!(CompareOp { Eq = "eq", Ne = "ne", Lt = "lt", Le = "le", Gt = "gt", Ge = "ge" });

op_struct! {
    /// Comparison, result bool.
    Compare = "compare" {
        /// Which.
        direction: Direction,
    }
}
impl OpDef for Compare {
    fn infer(&self, operands: &[&Type], _: &[RegionType]) -> Result<Types, Violation> {
        arity(self, operands, 2)?;
        same_type(self, operands, 0, 1)?;
        one(DType::Bool, &operands[0].shape)
    }
    fn lowering(&self) -> Lowering {
        Lowering::Pointwise
    }
    fn scalar(&self, k: &mut KernelBuilder, operands: &[Var]) -> Var {
        k.compare(self.direction, operands[0], operands[1])
    }
    fn eval(&self, operands: &[&Literal], _: &mut EvalContext<'_>) -> Evaluated {
        elementwise::compare(self.direction, operands[0], operands[1])
    }
    pending_rest!();
}

op_struct! {
    /// `condition ? x : y`.
    Select = "select" {}
}
impl OpDef for Select {
    fn infer(&self, operands: &[&Type], _: &[RegionType]) -> Result<Types, Violation> {
        arity(self, operands, 3)?;
        if operands[0].dtype != DType::Bool {
            return Err(violation(
                self,
                operands,
                format!("the condition has dtype {}", operands[0].dtype),
                "it must be bool",
            ));
        }
        same_type(self, operands, 1, 2)?;
        same_shape(self, operands, 0, 1)?;
        one(operands[1].dtype, &operands[1].shape)
    }
    fn lowering(&self) -> Lowering {
        Lowering::Pointwise
    }
    fn scalar(&self, k: &mut KernelBuilder, operands: &[Var]) -> Var {
        k.select(operands[0], operands[1], operands[2])
    }
    fn eval(&self, operands: &[&Literal], _: &mut EvalContext<'_>) -> Evaluated {
        elementwise::select(operands[0], operands[1], operands[2])
    }
    pending_rest!();
}
pending_samples!(Compare, Select);
