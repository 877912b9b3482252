//! Pointwise ops of two and three operands.

use super::attribute::{op_struct, word_attribute};
use super::pending::{pending, pending_samples};
use super::rules::{arity, dtype_is, one, same_shape, same_type, violation};
use super::{Lowering, OpDef, Types};
use crate::graph::RegionType;
use crate::kernel::{BinaryOp, CompareOp, KernelBuilder, Var};
use crate::{DType, Type, Violation};

macro_rules! binary {
    ($($(#[$doc:meta])* $name:ident = $text:literal ($legal:expr);)*) => { $(
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
fn integral(d: DType) -> bool {
    !d.is_float()
}

binary! {
    /// Sum.
    Add = "add" (number);
    /// Difference.
    Sub = "sub" (number);
    /// Product.
    Mul = "mul" (number);
    /// Quotient.
    Div = "div" (number);
    /// Remainder.
    Rem = "rem" (number);
    /// Power.
    Pow = "pow" (number);
    /// Larger.
    Max = "max" (any);
    /// Smaller.
    Min = "min" (any);
    /// Bitwise and logical and.
    And = "and" (integral);
    /// Bitwise and logical or.
    Or = "or" (integral);
    /// Exclusive or.
    Xor = "xor" (integral);
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
    pending!();
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
    pending!();
}
pending_samples!(Compare, Select);
