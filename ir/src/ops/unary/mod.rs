//! Pointwise ops of one operand.

use super::attribute::op_struct;
use super::elementwise::{Bits, Evaluated, Int, Number, Real, map, with_type};
use super::pointwise::{self, float, int, integral, number};
use super::rules::{arity, dtype_is, one};
use super::{
    BadSample, Barrier, Emit, EmitExt, EvalContext, Lowering, OpDef, OpDoc, OpSamples, PerOperand, Primitive, Rewriter,
    Sample, Types, VjpContext, pointwise_samples,
};
use crate::graph::{RegionType, Value};
use crate::kernel::{KernelBuilder, UnaryOp, Var};
use crate::{DType, Dim, Literal, NotDifferentiable, Type, Violation};

/// What these ops are.
pub(super) const FAMILY: &str = "Pointwise ops of one operand";

/// `g` times the derivative: the emitter, the operand `x`, the result `z`, and `g`.
type Derivative = fn(&mut dyn Emit, Value, Value, Value) -> Value;

macro_rules! unary {
    ($(
        $(#[doc = $struct_doc:literal])*
        $name:ident = $text:literal ($legal:ident $class:ident $f:ident) {
            semantics: $semantics:literal,
            gradient: $gradient:literal,
            derivative: $derivative:expr,
            simplify: $simplify:expr,
            example: $example:literal,
        }
    )*) => { $(
        op_struct! { $(#[doc = $struct_doc])* $name = $text {} }
        impl OpDef for $name {
            fn doc(&self) -> OpDoc {
                OpDoc {
                    semantics: $semantics,
                    constraints: constraints!($legal),
                    gradient: $gradient,
                    example: $example,
                }
            }
            fn infer(&self, operands: &[&Type], _: &[RegionType]) -> Result<Types, Violation> {
                arity(self, operands, 1)?;
                dtype_is(self, operands, 0, $legal)?;
                one(operands[0].dtype, &operands[0].shape)
            }
            fn eval(&self, operands: &[&Literal], _: &mut EvalContext<'_>) -> Evaluated {
                with_type!($legal operands[0].dtype(), T => map(operands[0], <T as $class>::$f))
            }
            fn vjp(&self, b: &mut dyn Emit, cx: &VjpContext<'_>) -> Result<PerOperand, NotDifferentiable> {
                let rule: Option<Derivative> = $derivative;
                pointwise::vjp(b, cx, |b, _, g| Some(rule?(b, cx.operands[0], cx.results[0], g)))
            }
            fn jvp(
                &self,
                b: &mut dyn Emit,
                operands: &[Value],
                results: &[Value],
                tangents: &[Option<Value>],
            ) -> Result<Option<Value>, NotDifferentiable> {
                let rule: Option<Derivative> = $derivative;
                pointwise::jvp(b, results, tangents, |b, _, t| Some(rule?(b, operands[0], results[0], t)))
            }
            fn batch(&self, b: &mut dyn Emit, operands: &[Value], axes: &[Option<usize>], size: &Dim) -> Value {
                pointwise::batch(b, self.clone(), operands, axes, size)
            }
            fn barrier(&self) -> Option<Barrier> {
                let rule: Option<Derivative> = $derivative;
                rule.is_none().then_some(Barrier::Step)
            }
            fn lowering(&self) -> Lowering { Lowering::Pointwise }
            fn scalar(&self, k: &mut KernelBuilder, operands: &[Var]) -> Var { k.unary(UnaryOp::$name, operands[0]) }
            fn canonicalize(&self, b: &mut dyn Rewriter, operands: &[Value], result: &Type) -> Option<Value> {
                let rule: fn(&mut dyn Rewriter, Value, DType) -> Option<Value> = $simplify;
                rule(b, operands[0], result.dtype).or_else(|| of_number(b, self.clone().into(), operands[0], result))
            }
        }
        impl OpSamples for $name {
            fn samples() -> Vec<Sample> { pointwise_samples::unary($name {}, $legal) }
            fn bad_samples() -> Vec<BadSample> { pointwise_samples::bad_unary($name {}, $legal) }
        }
    )* };
}

macro_rules! constraints {
    (number) => {
        &["takes 1 operand", "operand 0 is a number: any dtype but bool"]
    };
    (float) => {
        &["takes 1 operand", "operand 0 is a float: f64, f32, f16 or bf16"]
    };
    (int) => {
        &["takes 1 operand", "operand 0 is an integer"]
    };
    (integral) => {
        &["takes 1 operand", "operand 0 is an integer or bool"]
    };
}

/// The operand of the op that defines `v`, if `is` accepts that op.
fn under(b: &dyn Rewriter, v: Value, is: impl Fn(&Primitive) -> bool) -> Option<Value> {
    let (primitive, operands) = b.definition(v)?;
    if is(primitive) { Some(operands[0]) } else { None }
}

fn no_rule(_: &mut dyn Rewriter, _: Value, _: DType) -> Option<Value> {
    None
}

/// `(1 - x) (1 + x)`.
fn one_less_square(b: &mut dyn Emit, x: Value) -> Value {
    let one = b.full_like(x, 1.0);
    let (below, above) = (b.sub(one, x), b.add(one, x));
    b.mul(below, above)
}

/// Of a number that is repeated: the number's, repeated.
fn of_number(b: &mut dyn Rewriter, op: Primitive, x: Value, result: &Type) -> Option<Value> {
    let (Primitive::BroadcastInDim(_), &[number]) = b.definition(x)? else { return None };
    if b.ty(number).rank() > 0 {
        return None;
    }
    let of_number = b.emit(op, &[number]);
    Some(b.broadcast_in_dim(of_number, &result.shape, &[]))
}

/// Rounding what is integral already changes nothing.
fn integral_already(b: &mut dyn Rewriter, x: Value, _: DType) -> Option<Value> {
    let (primitive, operands) = b.definition(x)?;
    let done = match primitive {
        Primitive::Floor(_) | Primitive::Ceil(_) | Primitive::Round(_) | Primitive::Sign(_) => true,
        // Where an integer is too large for the float, the float is integral or infinite all the same.
        Primitive::Convert(_) => !b.ty(operands[0]).dtype.is_float(),
        _ => false,
    };
    done.then_some(x)
}

// The macros above are visible in these.
mod exponential;
mod special;
mod trigonometric;

pub use exponential::*;
pub use special::*;
pub use trigonometric::*;

unary! {
    /// Negation.
    Neg = "neg" (number Number neg) {
        semantics: "`-x`. Floats change their sign bit, that of zero, infinity and NaN too; integers wrap, so the least \
            value and every negated u8 stay in range.",
        gradient: "`-g`.",
        derivative: Some(|b, _, _, g| b.neg(g)),
        simplify: |b, x, dtype| {
            if let Some(y) = under(b, x, |p| matches!(p, Primitive::Neg(_))) {
                return Some(y);
            }
            // Not for floats: x - x is +0 and its negation is -0.
            let (Primitive::Sub(_), &[y, z]) = b.definition(x)? else { return None };
            dtype.is_int().then(|| b.sub(z, y))
        },
        example: "neg [1.5, -0, -inf]:f32[3] = [-1.5, 0, inf]",
    }
    /// Absolute value.
    Abs = "abs" (number Number abs) {
        semantics: "`|x|`. Floats clear their sign bit; the least integer stays as it is, as wrapping has it.",
        gradient: "`g * sign(x)`, so 0 at 0, as PyTorch and JAX have it.",
        derivative: Some(|b, x, _, g| {
            let s = b.sign(x);
            b.mul(g, s)
        }),
        simplify: |b, x, dtype| {
            if dtype.is_unsigned() || under(b, x, |p| matches!(p, Primitive::Abs(_))).is_some() {
                return Some(x);
            }
            let y = under(b, x, |p| matches!(p, Primitive::Neg(_)))?;
            Some(b.emit(Abs {}.into(), &[y]))
        },
        example: "abs [-2, 3, -2147483648]:i32[3] = [2, 3, -2147483648]",
    }
    /// Sign.
    Sign = "sign" (number Number sign) {
        semantics: "-1, 0 or 1 by the sign of `x`. Zeros keep their sign, NaN stays NaN.",
        gradient: "0 everywhere, as PyTorch and JAX have it.",
        derivative: None,
        simplify: |b, x, _| under(b, x, |p| matches!(p, Primitive::Sign(_))).map(|_| x),
        example: "sign [-3, -0, 7, inf]:f32[4] = [-1, -0, 1, 1]",
    }
    /// Largest integer not above.
    Floor = "floor" (float Real floor) {
        semantics: "The largest integer not above `x`. Zeros keep their sign; infinities and NaN stay.",
        gradient: "0 everywhere, as PyTorch and JAX have it.",
        derivative: None,
        simplify: integral_already,
        example: "floor [1.5, -1.5, -0]:f32[3] = [1, -2, -0]",
    }
    /// Smallest integer not below.
    Ceil = "ceil" (float Real ceil) {
        semantics: "The smallest integer not below `x`. Zeros keep their sign, and what lies between -1 and 0 becomes \
            -0; infinities and NaN stay.",
        gradient: "0 everywhere, as PyTorch and JAX have it.",
        derivative: None,
        simplify: integral_already,
        example: "ceil [1.5, -1.5, -0.5]:f32[3] = [2, -1, -0]",
    }
    /// Nearest integer, half to even.
    Round = "round" (float Real round) {
        semantics: "The nearest integer, halves to the even one. Zeros keep their sign; infinities and NaN stay.",
        gradient: "0 everywhere, as PyTorch and JAX have it.",
        derivative: None,
        simplify: integral_already,
        example: "round [0.5, 1.5, 2.5, -0.5]:f32[4] = [0, 2, 2, -0]",
    }
    /// Square root.
    Sqrt = "sqrt" (float Real sqrt) {
        semantics: "The correctly rounded square root. NaN below 0; -0 stays -0.",
        gradient: "`g / (2 z)` with the result `z`, so infinite at 0, as PyTorch and JAX have it.",
        derivative: Some(|b, _, z, g| {
            let twice = b.scale(z, 2.0);
            b.div(g, twice)
        }),
        simplify: no_rule,
        example: "sqrt [4, 2.25, -0]:f32[3] = [2, 1.5, -0]",
    }
    /// Complement.
    Not = "not" (integral Bits not) {
        semantics: "Every bit of an integer flipped; of a bool, the other truth value.",
        gradient: "None: integers and bools have no gradients.",
        derivative: None,
        simplify: |b, x, _| {
            let (primitive, operands) = b.definition(x)?;
            match (primitive, operands) {
                (Primitive::Not(_), &[y]) => Some(y),
                (Primitive::Compare(compare), &[y, z]) => {
                    let direction = compare.direction.complement(b.ty(y).dtype)?;
                    Some(b.compare(direction, y, z))
                }
                _ => None,
            }
        },
        example: "not [0, 5]:i32[2] = [-1, -6]",
    }
    /// Number of bits set.
    Popcnt = "popcnt" (int Int popcnt) {
        semantics: "The number of bits that are 1, of a negative integer in two's complement.",
        gradient: "None: integers have no gradients.",
        derivative: None,
        simplify: no_rule,
        example: "popcnt [0, 5, -1]:i32[3] = [0, 2, 32]",
    }
}
