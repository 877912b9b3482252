//! Pointwise ops of two operands, comparison and selection.

use super::attribute::{op_struct, word_attribute};
use super::elementwise::{self, Bits, Evaluated, Extremum, Int, Number, Real, with_type, zip};
use super::pointwise::{self, any, float, int, integral, number};
use super::rules::{arity, dtype_is, one, same_shape, same_type, violation};
use super::{
    BadSample, Barrier, Emit, EmitExt, EvalContext, Lowering, OpDef, OpDoc, OpSamples, PerOperand, Primitive, Rewriter,
    Sample, Traits, Types, VjpContext, pointwise_samples, simplify,
};
use crate::graph::{RegionType, Value};
use crate::kernel::{BinaryOp, CompareOp, KernelBuilder, Var};
use crate::{DType, Dim, Literal, NotDifferentiable, Scalar, Type, Violation, ViolationKind};
use smallvec::smallvec;

/// What these ops are.
pub(super) const FAMILY: &str = "Pointwise ops of two operands, comparison and selection";

/// `g` times the derivative by operand `i`: the emitter, the operands, the result `z`, `i`, and `g`.
type Derivative = fn(&mut dyn Emit, [Value; 2], Value, usize, Value) -> Value;

macro_rules! binary {
    ($(
        $(#[doc = $struct_doc:literal])*
        $name:ident = $text:literal ($legal:ident $class:ident $f:ident) {
            semantics: $semantics:literal,
            gradient: $gradient:literal,
            derivative: $derivative:expr,
            commutative: $commutative:literal,
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
            fn traits(&self) -> Traits {
                Traits { pure: true, commutative: $commutative, fallible: false }
            }
            fn infer(&self, operands: &[&Type], _: &[RegionType]) -> Result<Types, Violation> {
                arity(self, operands, 2)?;
                dtype_is(self, operands, 0, $legal)?;
                same_type(self, operands, 0, 1)?;
                one(operands[0].dtype, &operands[0].shape)
            }
            fn eval(&self, operands: &[&Literal], _: &mut EvalContext<'_>) -> Evaluated {
                with_type!($legal operands[0].dtype(), T => zip(operands[0], operands[1], <T as $class>::$f))
            }
            fn vjp(&self, b: &mut dyn Emit, cx: &VjpContext<'_>) -> Result<PerOperand, NotDifferentiable> {
                let rule: Option<Derivative> = $derivative;
                let operands = [cx.operands[0], cx.operands[1]];
                pointwise::vjp(b, cx, |b, i, g| Some(rule?(b, operands, cx.results[0], i, g)))
            }
            fn jvp(
                &self,
                b: &mut dyn Emit,
                operands: &[Value],
                results: &[Value],
                tangents: &[Option<Value>],
            ) -> Result<Option<Value>, NotDifferentiable> {
                let rule: Option<Derivative> = $derivative;
                let operands = [operands[0], operands[1]];
                pointwise::jvp(b, results, tangents, |b, i, t| Some(rule?(b, operands, results[0], i, t)))
            }
            fn batch(&self, b: &mut dyn Emit, operands: &[Value], axes: &[Option<usize>], size: &Dim) -> Value {
                pointwise::batch(b, self.clone(), operands, axes, size)
            }
            fn lowering(&self) -> Lowering { Lowering::Pointwise }
            fn scalar(&self, k: &mut KernelBuilder, operands: &[Var]) -> Var {
                k.binary(BinaryOp::$name, operands[0], operands[1])
            }
            fn canonicalize(&self, b: &mut dyn Rewriter, operands: &[Value], _: &Type) -> Option<Value> {
                let &[x, y] = operands else { return None };
                // Rules look for constants on the right only.
                if $commutative && b.splat(x).is_some() && b.splat(y).is_none() {
                    return Some(b.emit(self.clone().into(), &[y, x]));
                }
                let rule: fn(&mut dyn Rewriter, Value, Value) -> Option<Value> = $simplify;
                rule(b, x, y)
            }
        }
        impl OpSamples for $name {
            fn samples() -> Vec<Sample> { pointwise_samples::binary($name {}, $legal) }
            fn bad_samples() -> Vec<BadSample> { pointwise_samples::bad_binary($name {}, $legal) }
        }
    )* };
}

macro_rules! constraints {
    (number) => {
        &[
            "takes 2 operands",
            "operand 0 is a number: any dtype but bool",
            "both operands have the same dtype",
            "both operands have the same shape; there is no implicit broadcast",
        ]
    };
    (any) => {
        &[
            "takes 2 operands",
            "both operands have the same dtype",
            "both operands have the same shape; there is no implicit broadcast",
        ]
    };
    (float) => {
        &[
            "takes 2 operands",
            "operand 0 is a float: f64, f32, f16 or bf16",
            "both operands have the same dtype",
            "both operands have the same shape; there is no implicit broadcast",
        ]
    };
    (int) => {
        &[
            "takes 2 operands",
            "operand 0 is an integer",
            "both operands have the same dtype",
            "both operands have the same shape; there is no implicit broadcast",
        ]
    };
    (integral) => {
        &[
            "takes 2 operands",
            "operand 0 is an integer or bool",
            "both operands have the same dtype",
            "both operands have the same shape; there is no implicit broadcast",
        ]
    };
}

/// Gradient of the larger or smaller: `g` where the operand wins, half of it where both are equal.
fn winner(b: &mut dyn Emit, wins: Direction, [x, y]: [Value; 2], i: usize, g: Value) -> Value {
    let (mine, other) = if i == 0 { (x, y) } else { (y, x) };
    let (wins, ties) = (b.compare(wins, mine, other), b.compare(Direction::Eq, mine, other));
    let (half, zero) = (b.scale(g, 0.5), b.full_like(g, 0.0));
    let rest = b.select(ties, half, zero);
    b.select(wins, g, rest)
}

binary! {
    /// Sum.
    Add = "add" (number Number add) {
        semantics: "`x + y`; integers wrap.",
        gradient: "`g` for both.",
        derivative: Some(|_, _, _, _, g| g),
        commutative: true,
        simplify: simplify::add,
        example: "add [1, 250]:u8[2], [2, 10]:u8[2] = [3, 4]",
    }
    /// Difference.
    Sub = "sub" (number Number sub) {
        semantics: "`x - y`; integers wrap.",
        gradient: "`g` and `-g`.",
        derivative: Some(|b, _, _, i, g| if i == 0 { g } else { b.neg(g) }),
        commutative: false,
        simplify: simplify::sub,
        example: "sub [1, inf]:f32[2], [3, inf]:f32[2] = [-2, nan]",
    }
    /// Product.
    Mul = "mul" (number Number mul) {
        semantics: "`x * y`; integers wrap.",
        gradient: "`g * y` and `g * x`.",
        derivative: Some(|b, [x, y], _, i, g| b.mul(g, if i == 0 { y } else { x })),
        commutative: true,
        simplify: simplify::mul,
        example: "mul [1.5, 0]:f32[2], [-2, -1]:f32[2] = [-3, -0]",
    }
    /// Quotient.
    Div = "div" (number Number div) {
        semantics: "`x / y`. Floats as IEEE 754 has it. Integers truncate towards 0; by zero gives 0, and the least \
            value by -1 gives the least value.",
        gradient: "`g / y` and `-(g / y) * z` with the result `z`.",
        derivative: Some(|b, [_, y], z, i, g| {
            let gx = b.div(g, y);
            if i == 0 {
                return gx;
            }
            let product = b.mul(gx, z);
            b.neg(product)
        }),
        commutative: false,
        simplify: simplify::div,
        example: "div [7, -7, 7]:i32[3], [2, 2, 0]:i32[3] = [3, -3, 0]",
    }
    /// Remainder.
    Rem = "rem" (number Number rem) {
        semantics: "`x - y * trunc(x / y)`, exactly; it has the sign of `x`. Floats: NaN for an infinite `x` or a zero \
            `y`. Integers: by zero gives `x`, by -1 gives 0.",
        gradient: "`g` and `-g * trunc(x / y)`, as PyTorch's fmod and JAX's rem have it.",
        derivative: Some(|b, [x, y], z, i, g| {
            if i == 0 {
                return g;
            }
            // x - z is a multiple of y but for rounding; truncating x / y could be off by one.
            let multiple = b.sub(x, z);
            let ratio = b.div(multiple, y);
            let quotient = b.emit(super::unary::Round {}.into(), &[ratio]);
            let product = b.mul(g, quotient);
            b.neg(product)
        }),
        commutative: false,
        simplify: simplify::rem,
        example: "rem [7, -7, 7]:i32[3], [3, 3, 0]:i32[3] = [1, -1, 7]",
    }
    /// Power.
    Pow = "pow" (number Number pow) {
        semantics: "`x` to the power `y`. Floats as IEEE 754 `pow` has it, within 4 ulp: 1 where `y` is 0 or `x` is 1, \
            NaN for a negative `x` and a `y` that is not integral. Integers wrap; a negative `y` gives 0, but 1 for \
            `x = 1` and 1 or -1 for `x = -1`; `0^0` is 1.",
        gradient: "`g * y * x^(y - 1)`, 0 where `y` is 0; and `g * z * log(x)` with the result `z`, 0 where `x` is 0 and \
            `y` is not negative. As PyTorch has it, with second derivatives free of NaN there, as in JAX.",
        derivative: Some(|b, [x, y], z, i, g| {
            let (zero, one) = (b.full_like(x, 0.0), b.full_like(x, 1.0));
            // What would be 0 * inf is made harmless at its source: a selection after it would bring the NaN back in
            // the next derivative.
            let slope = if i == 0 {
                let constant = b.compare(Direction::Eq, y, zero);
                let less = b.sub(y, one);
                let exponent = b.select(constant, one, less);
                let power = b.pow(x, exponent);
                let slope = b.mul(y, power);
                b.select(constant, zero, slope)
            } else {
                let at_zero = b.compare(Direction::Eq, x, zero);
                let above = b.compare(Direction::Ge, y, zero);
                let flat = b.emit(And {}.into(), &[at_zero, above]);
                let base = b.select(flat, one, x);
                let log = b.log(base);
                b.mul(z, log)
            };
            b.mul(g, slope)
        }),
        commutative: false,
        simplify: simplify::pow,
        example: "pow [2, -8, nan]:f32[3], [-1, 0.5, 0]:f32[3] = [0.5, nan, 1]",
    }
    /// Angle of a point.
    Atan2 = "atan2" (float Real atan2) {
        semantics: "The angle of the point with the coordinates `y` and `x`, from -pi to pi, within 2 ulp: `atan(x / y)` \
            in the right quadrant. Signs of zeros and infinities count as in IEEE 754 `atan2`.",
        gradient: "`g * y / (x * x + y * y)` and `-g * x / (x * x + y * y)`; NaN where both are 0.",
        derivative: Some(|b, [x, y], _, i, g| {
            let (xx, yy) = (b.mul(x, x), b.mul(y, y));
            let square = b.add(xx, yy);
            let slope = if i == 0 { y } else { b.neg(x) };
            let slope = b.div(slope, square);
            b.mul(g, slope)
        }),
        commutative: false,
        simplify: |_, _, _| None,
        example: "atan2 [0, -0, nan]:f32[3], [1, 1, 0]:f32[3] = [0, -0, nan]",
    }
    /// Larger.
    Max = "max" (any Extremum max) {
        semantics: "The larger of `x` and `y`. NaN if either is NaN; -0 is below +0; true is above false.",
        gradient: "`g` for the larger; half for each where they are equal, as JAX and PyTorch have it; 0 where either is \
            NaN, as JAX has it.",
        derivative: Some(|b, operands, _, i, g| winner(b, Direction::Gt, operands, i, g)),
        commutative: true,
        simplify: simplify::max,
        example: "max [1, -0, nan]:f32[3], [2, 0, 5]:f32[3] = [2, 0, nan]",
    }
    /// Smaller.
    Min = "min" (any Extremum min) {
        semantics: "The smaller of `x` and `y`. NaN if either is NaN; -0 is below +0; false is below true.",
        gradient: "`g` for the smaller; half for each where they are equal, as JAX and PyTorch have it; 0 where either \
            is NaN, as JAX has it.",
        derivative: Some(|b, operands, _, i, g| winner(b, Direction::Lt, operands, i, g)),
        commutative: true,
        simplify: simplify::min,
        example: "min [1, -0, nan]:f32[3], [2, 0, 5]:f32[3] = [1, -0, nan]",
    }
    /// Bitwise and logical and.
    And = "and" (integral Bits and) {
        semantics: "Bitwise and of integers, logical and of bools.",
        gradient: "None: integers and bools have no gradients.",
        derivative: None,
        commutative: true,
        simplify: simplify::and,
        example: "and [6, 255]:u8[2], [3, 16]:u8[2] = [2, 16]",
    }
    /// Bitwise and logical or.
    Or = "or" (integral Bits or) {
        semantics: "Bitwise or of integers, logical or of bools.",
        gradient: "None: integers and bools have no gradients.",
        derivative: None,
        commutative: true,
        simplify: simplify::or,
        example: "or [6, 0]:u8[2], [3, 16]:u8[2] = [7, 16]",
    }
    /// Exclusive or.
    Xor = "xor" (integral Bits xor) {
        semantics: "Bitwise exclusive or of integers; of bools, whether they differ.",
        gradient: "None: integers and bools have no gradients.",
        derivative: None,
        commutative: true,
        simplify: simplify::xor,
        example: "xor [6, 255]:u8[2], [3, 16]:u8[2] = [5, 239]",
    }
    /// Shift to the left.
    Shl = "shl" (int Int shift_left) {
        semantics: "The bits of `x` moved left by `y`; zeros come in. By more bits than there are, or by a negative \
            number, gives 0.",
        gradient: "None: integers have no gradients.",
        derivative: None,
        commutative: false,
        simplify: simplify::shift,
        example: "shl [1, 3, 1, 1]:u8[4], [3, 7, 8, 255]:u8[4] = [8, 128, 0, 0]",
    }
    /// Shift to the right.
    Shr = "shr" (int Int shift_right) {
        semantics: "The bits of `x` moved right by `y`; copies of the sign come in for signed integers, zeros for \
            unsigned ones. By more bits than there are, or by a negative number, leaves only what comes in.",
        gradient: "None: integers have no gradients.",
        derivative: None,
        commutative: false,
        simplify: simplify::shift,
        example: "shr [-8, 7, -1, 5]:i32[4], [1, 1, 40, -1]:i32[4] = [-4, 3, -1, 0]",
    }
}

/// Which comparison.
pub type Direction = CompareOp;
word_attribute!(CompareOp { Eq = "eq", Ne = "ne", Lt = "lt", Le = "le", Gt = "gt", Ge = "ge" });

impl CompareOp {
    /// The comparison that holds exactly where this one does not; with NaN about, only equality has one.
    pub(super) fn complement(self, dtype: DType) -> Option<CompareOp> {
        Some(match self {
            CompareOp::Eq => CompareOp::Ne,
            CompareOp::Ne => CompareOp::Eq,
            _ if dtype.is_float() => return None,
            CompareOp::Lt => CompareOp::Ge,
            CompareOp::Ge => CompareOp::Lt,
            CompareOp::Le => CompareOp::Gt,
            CompareOp::Gt => CompareOp::Le,
        })
    }

    /// The same comparison with its operands swapped.
    fn swapped(self) -> CompareOp {
        match self {
            CompareOp::Lt => CompareOp::Gt,
            CompareOp::Gt => CompareOp::Lt,
            CompareOp::Le => CompareOp::Ge,
            CompareOp::Ge => CompareOp::Le,
            equality => equality,
        }
    }
}

op_struct! {
    /// Comparison, result bool.
    Compare = "compare" {
        /// Which.
        direction: Direction,
    }
}
impl OpDef for Compare {
    fn doc(&self) -> OpDoc {
        OpDoc {
            semantics: "Whether `x` is equal to (eq), not equal to (ne), less than (lt), at most (le), greater than (gt) \
                or at least (ge) `y`. Any comparison with NaN but ne is false; zeros of either sign are equal; false is \
                less than true.",
            constraints: constraints!(any),
            gradient: "0 everywhere: the result is a bool.",
            example: "compare [1, -0, nan]:f32[3], [2, 0, 5]:f32[3] {direction = lt} = [true, false, false]",
        }
    }
    fn infer(&self, operands: &[&Type], _: &[RegionType]) -> Result<Types, Violation> {
        arity(self, operands, 2)?;
        same_type(self, operands, 0, 1)?;
        one(DType::Bool, &operands[0].shape)
    }
    fn eval(&self, operands: &[&Literal], _: &mut EvalContext<'_>) -> Evaluated {
        elementwise::compare(self.direction, operands[0], operands[1])
    }
    fn vjp(&self, _: &mut dyn Emit, _: &VjpContext<'_>) -> Result<PerOperand, NotDifferentiable> {
        Ok(smallvec![None, None])
    }
    fn jvp(
        &self,
        _: &mut dyn Emit,
        _: &[Value],
        _: &[Value],
        _: &[Option<Value>],
    ) -> Result<Option<Value>, NotDifferentiable> {
        Ok(None)
    }
    fn batch(&self, b: &mut dyn Emit, operands: &[Value], axes: &[Option<usize>], size: &Dim) -> Value {
        pointwise::batch(b, self.clone(), operands, axes, size)
    }
    fn barrier(&self) -> Option<Barrier> {
        Some(Barrier::Comparison)
    }
    fn lowering(&self) -> Lowering {
        Lowering::Pointwise
    }
    fn scalar(&self, k: &mut KernelBuilder, operands: &[Var]) -> Var {
        k.compare(self.direction, operands[0], operands[1])
    }
    fn canonicalize(&self, b: &mut dyn Rewriter, operands: &[Value], result: &Type) -> Option<Value> {
        let &[x, y] = operands else { return None };
        if b.splat(x).is_some() && b.splat(y).is_none() {
            return Some(b.compare(self.direction.swapped(), y, x));
        }
        if x == y {
            let outcome = match self.direction {
                // NaN is neither less nor greater than itself, as any other value, but it is not equal to itself.
                Direction::Lt | Direction::Gt => false,
                _ if b.ty(x).dtype.is_float() => return None,
                direction => direction != Direction::Ne,
            };
            return Some(b.full(Scalar::Bool(outcome), &result.shape));
        }
        match (b.splat(y)?, self.direction) {
            (Scalar::Bool(true), Direction::Eq) | (Scalar::Bool(false), Direction::Ne) => Some(x),
            (Scalar::Bool(false), Direction::Eq) | (Scalar::Bool(true), Direction::Ne) => Some(b.not(x)),
            _ => None,
        }
    }
}
impl OpSamples for Compare {
    fn samples() -> Vec<Sample> {
        CompareOp::ALL.iter().flat_map(|&direction| pointwise_samples::binary(Compare { direction }, any)).collect()
    }
    fn bad_samples() -> Vec<BadSample> {
        pointwise_samples::bad_binary(Compare { direction: Direction::Lt }, any)
    }
}

op_struct! {
    /// `condition ? x : y`.
    Select = "select" {}
}
impl OpDef for Select {
    fn doc(&self) -> OpDoc {
        OpDoc {
            semantics: "The element of operand 1 where operand 0 is true, else that of operand 2; a copy of its bits, \
                so what stands on the other side never matters, NaN included.",
            constraints: &[
                "takes 3 operands",
                "operand 0 is bool",
                "operands 1 and 2 have the same dtype",
                "all operands have the same shape; there is no implicit broadcast",
            ],
            gradient: "`select(condition, g, 0)` and `select(condition, 0, g)`; none for the condition.",
            example: "select [true, false]:bool[2], [1, 2]:f32[2], [nan, 4]:f32[2] = [1, 4]",
        }
    }
    fn infer(&self, operands: &[&Type], _: &[RegionType]) -> Result<Types, Violation> {
        arity(self, operands, 3)?;
        if operands[0].dtype != DType::Bool {
            let rule = format!("the condition has dtype {}", operands[0].dtype);
            return Err(violation(self, operands, rule, "it must be bool").of(ViolationKind::DType));
        }
        same_type(self, operands, 1, 2)?;
        same_shape(self, operands, 0, 1)?;
        one(operands[1].dtype, &operands[1].shape)
    }
    fn eval(&self, operands: &[&Literal], _: &mut EvalContext<'_>) -> Evaluated {
        elementwise::select(operands[0], operands[1], operands[2])
    }
    fn vjp(&self, b: &mut dyn Emit, cx: &VjpContext<'_>) -> Result<PerOperand, NotDifferentiable> {
        let condition = cx.operands[0];
        pointwise::vjp(b, cx, |b, i, g| {
            let zero = b.full_like(g, 0.0);
            Some(if i == 1 { b.select(condition, g, zero) } else { b.select(condition, zero, g) })
        })
    }
    fn jvp(
        &self,
        b: &mut dyn Emit,
        operands: &[Value],
        _: &[Value],
        tangents: &[Option<Value>],
    ) -> Result<Option<Value>, NotDifferentiable> {
        let Some(some) = tangents[1].or(tangents[2]) else { return Ok(None) };
        let zero = b.full_like(some, 0.0);
        Ok(Some(b.select(operands[0], tangents[1].unwrap_or(zero), tangents[2].unwrap_or(zero))))
    }
    fn batch(&self, b: &mut dyn Emit, operands: &[Value], axes: &[Option<usize>], size: &Dim) -> Value {
        pointwise::batch(b, self.clone(), operands, axes, size)
    }
    fn lowering(&self) -> Lowering {
        Lowering::Pointwise
    }
    fn scalar(&self, k: &mut KernelBuilder, operands: &[Var]) -> Var {
        k.select(operands[0], operands[1], operands[2])
    }
    fn canonicalize(&self, b: &mut dyn Rewriter, operands: &[Value], _: &Type) -> Option<Value> {
        let &[condition, x, y] = operands else { return None };
        if let Some(Scalar::Bool(constant)) = b.splat(condition) {
            return Some(if constant { x } else { y });
        }
        if x == y {
            return Some(x);
        }
        if let (Some(Scalar::Bool(on)), Some(Scalar::Bool(off))) = (b.splat(x), b.splat(y))
            && on != off
        {
            return Some(if on { condition } else { b.not(condition) });
        }
        if let Some(same) = b.splat(x)
            && b.splat(y) == Some(same)
        {
            return Some(x);
        }
        let (Primitive::Not(_), &[opposite]) = b.definition(condition)? else { return None };
        Some(b.select(opposite, y, x))
    }
}
impl OpSamples for Select {
    fn samples() -> Vec<Sample> {
        pointwise_samples::select(Select {})
    }
    fn bad_samples() -> Vec<BadSample> {
        pointwise_samples::bad_select(Select {})
    }
}
