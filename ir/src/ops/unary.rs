//! Pointwise ops of one operand.

use super::attribute::op_struct;
use super::elementwise::{Bits, Evaluated, Number, Real, map, with_type};
use super::pending::{pending_rest, pending_samples};
use super::rules::{arity, dtype_is, one};
use super::{EvalContext, Lowering, OpDef, Types};
use crate::graph::RegionType;
use crate::kernel::{KernelBuilder, UnaryOp, Var};
use crate::{DType, Literal, Type, Violation};

macro_rules! unary {
    ($($(#[$doc:meta])* $name:ident = $text:literal ($legal:ident) $class:ident $f:ident;)*) => { $(
        op_struct! { $(#[$doc])* $name = $text {} }
        impl OpDef for $name {
            fn infer(&self, operands: &[&Type], _: &[RegionType]) -> Result<Types, Violation> {
                arity(self, operands, 1)?;
                dtype_is(self, operands, 0, $legal)?;
                one(operands[0].dtype, &operands[0].shape)
            }
            fn lowering(&self) -> Lowering { Lowering::Pointwise }
            fn scalar(&self, k: &mut KernelBuilder, operands: &[Var]) -> Var { k.unary(UnaryOp::$name, operands[0]) }
            fn eval(&self, operands: &[&Literal], _: &mut EvalContext<'_>) -> Evaluated {
                with_type!($legal operands[0].dtype(), T => map(operands[0], <T as $class>::$f))
            }
            pending_rest!();
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
    Neg = "neg" (number) Number neg;
    /// Absolute value.
    Abs = "abs" (number) Number abs;
    /// Sign.
    Sign = "sign" (number) Number sign;
    /// Largest integer not above.
    Floor = "floor" (float) Real floor;
    /// Smallest integer not below.
    Ceil = "ceil" (float) Real ceil;
    /// Nearest integer, half to even.
    Round = "round" (float) Real round;
    /// Square root.
    Sqrt = "sqrt" (float) Real sqrt;
    /// Exponential.
    Exp = "exp" (float) Real exp;
    /// Natural logarithm.
    Log = "log" (float) Real log;
    /// Hyperbolic tangent.
    Tanh = "tanh" (float) Real tanh;
    /// Logistic function.
    Logistic = "logistic" (float) Real logistic;
    /// Sine.
    Sin = "sin" (float) Real sin;
    /// Cosine.
    Cos = "cos" (float) Real cos;
    /// Error function.
    Erf = "erf" (float) Real erf;
    /// Complement.
    Not = "not" (integral) Bits not;
}
