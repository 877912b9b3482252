//! Pointwise ops of one operand.

use super::attribute::op_struct;
use super::pending::{pending, pending_samples};
use super::rules::{arity, dtype_is, one};
use super::{Lowering, OpDef, Types};
use crate::graph::RegionType;
use crate::kernel::{KernelBuilder, UnaryOp, Var};
use crate::{DType, Type, Violation};

macro_rules! unary {
    ($($(#[$doc:meta])* $name:ident = $text:literal ($legal:expr);)*) => { $(
        op_struct! { $(#[$doc])* $name = $text {} }
        impl OpDef for $name {
            fn infer(&self, operands: &[&Type], _: &[RegionType]) -> Result<Types, Violation> {
                arity(self, operands, 1)?;
                dtype_is(self, operands, 0, $legal)?;
                one(operands[0].dtype, &operands[0].shape)
            }
            fn lowering(&self) -> Lowering { Lowering::Pointwise }
            fn scalar(&self, k: &mut KernelBuilder, operands: &[Var]) -> Var { k.unary(UnaryOp::$name, operands[0]) }
            pending!();
        }
        pending_samples!($name);
    )* };
}

fn number(d: DType) -> bool {
    d != DType::Bool
}
fn float(d: DType) -> bool {
    d.is_float()
}
fn integral(d: DType) -> bool {
    !d.is_float()
}

unary! {
    /// Negation.
    Neg = "neg" (number);
    /// Absolute value.
    Abs = "abs" (number);
    /// Sign.
    Sign = "sign" (number);
    /// Largest integer not above.
    Floor = "floor" (float);
    /// Smallest integer not below.
    Ceil = "ceil" (float);
    /// Nearest integer, half to even.
    Round = "round" (float);
    /// Square root.
    Sqrt = "sqrt" (float);
    /// Exponential.
    Exp = "exp" (float);
    /// Natural logarithm.
    Log = "log" (float);
    /// Hyperbolic tangent.
    Tanh = "tanh" (float);
    /// Logistic function.
    Logistic = "logistic" (float);
    /// Sine.
    Sin = "sin" (float);
    /// Cosine.
    Cos = "cos" (float);
    /// Error function.
    Erf = "erf" (float);
    /// Complement.
    Not = "not" (integral);
}
