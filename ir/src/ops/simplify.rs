//! The canonicalisations of binary ops. Each is exact: no result bit changes, but for the sign and payload of a NaN,
//! which arithmetic leaves open. Constants are on the right when a rule is asked.

use super::{EmitExt, Primitive, Rewriter, binary};
use crate::graph::Value;
use crate::{DType, Scalar};

fn is_int(b: &dyn Rewriter, v: Value) -> bool {
    b.ty(v).dtype.is_int()
}

/// True if every element of `v` is the number `x` (with that sign, if it is a zero).
fn is(b: &dyn Rewriter, v: Value, x: f64) -> bool {
    // Out of range for u8 and bool, -1 would saturate to another number.
    b.splat(v).is_some_and(|s| s == Scalar::of(s.dtype(), x) && s.as_f64() == x)
}

/// The operand of the negation that defines `v`.
fn negated(b: &dyn Rewriter, v: Value) -> Option<Value> {
    match b.definition(v)? {
        (Primitive::Neg(_), &[x]) => Some(x),
        _ => None,
    }
}

/// `(x op c) op d` becomes `x op (c op d)`, for wrapping integers only: floats would round elsewhere.
fn gather_constants(b: &mut dyn Rewriter, op: Primitive, x: Value, d: Value) -> Option<Value> {
    if !is_int(b, x) {
        return None;
    }
    b.splat(d)?;
    let (inner, &[y, c]) = b.definition(x)? else { return None };
    if *inner != op || b.splat(c).is_none() || b.splat(y).is_some() {
        return None;
    }
    let constant = b.emit(op.clone(), &[c, d]);
    Some(b.emit(op, &[y, constant]))
}

pub(super) fn add(b: &mut dyn Rewriter, x: Value, y: Value) -> Option<Value> {
    // The neutral element of float addition is -0: adding +0 turns -0 into +0.
    if is(b, y, if is_int(b, y) { 0.0 } else { -0.0 }) {
        return Some(x);
    }
    if let Some(y) = negated(b, y) {
        return Some(b.sub(x, y));
    }
    if let Some(x) = negated(b, x) {
        return Some(b.sub(y, x));
    }
    gather_constants(b, binary::Add {}.into(), x, y)
}

pub(super) fn sub(b: &mut dyn Rewriter, x: Value, y: Value) -> Option<Value> {
    // Subtracting -0 would turn -0 into +0.
    if is(b, y, 0.0) {
        return Some(x);
    }
    // 0 - 0 is +0, but -(+0) is -0: of floats, only -0 may stand on the left.
    if is(b, x, if is_int(b, x) { 0.0 } else { -0.0 }) {
        return Some(b.neg(y));
    }
    if x == y && is_int(b, x) {
        return Some(b.full_like(x, 0.0));
    }
    let y = negated(b, y)?;
    Some(b.add(x, y))
}

pub(super) fn mul(b: &mut dyn Rewriter, x: Value, y: Value) -> Option<Value> {
    if is(b, y, 1.0) {
        return Some(x);
    }
    if is(b, y, -1.0) {
        return Some(b.neg(x));
    }
    // Not for floats: -1 * 0 is -0 and inf * 0 is NaN.
    if is(b, y, 0.0) && is_int(b, y) {
        return Some(y);
    }
    if let (Some(x), Some(y)) = (negated(b, x), negated(b, y)) {
        return Some(b.mul(x, y));
    }
    gather_constants(b, binary::Mul {}.into(), x, y)
}

pub(super) fn div(b: &mut dyn Rewriter, x: Value, y: Value) -> Option<Value> {
    if is(b, y, 1.0) {
        return Some(x);
    }
    // The least integer by -1 is itself, as its negation is.
    if is(b, y, -1.0) {
        return Some(b.neg(x));
    }
    let reciprocal = exact_reciprocal(b.splat(y)?)?;
    let shape = b.ty(y).shape.clone();
    let reciprocal = b.full(reciprocal, &shape);
    Some(b.mul(x, reciprocal))
}

/// `1 / x` for a power of two, where quotient and product are the same real number and so round to the same bits. Both
/// must be normal numbers of the dtype.
fn exact_reciprocal(x: Scalar) -> Option<Scalar> {
    let dtype = x.dtype();
    let least_normal = match dtype {
        DType::F64 => f64::MIN_POSITIVE,
        DType::F32 | DType::BF16 => f32::MIN_POSITIVE as f64,
        DType::F16 => half::f16::MIN_POSITIVE.to_f64(),
        _ => return None,
    };
    let (value, mantissa) = (x.as_f64(), (1u64 << 52) - 1);
    let reciprocal = Scalar::of(dtype, 1.0 / value);
    let normal = |x: f64| x.is_finite() && x.abs() >= least_normal;
    let power_of_two = value.to_bits() & mantissa == 0;
    (power_of_two && normal(value) && normal(reciprocal.as_f64())).then_some(reciprocal)
}

pub(super) fn rem(b: &mut dyn Rewriter, x: Value, y: Value) -> Option<Value> {
    // Not for floats: the remainder keeps the sign of a zero, and that of infinity is NaN.
    (is_int(b, x) && (is(b, y, 1.0) || is(b, y, -1.0))).then(|| b.full_like(x, 0.0))
}

pub(super) fn pow(b: &mut dyn Rewriter, x: Value, y: Value) -> Option<Value> {
    let exponent = b.splat(y)?.as_f64();
    // 1 for every base, NaN included. Not so the square root for 0.5: it differs at -0 and -inf.
    if exponent == 0.0 {
        return Some(b.full_like(x, 1.0));
    }
    if exponent == 1.0 {
        return Some(x);
    }
    // A product is the correctly rounded square, which `pow` yields for this exponent too.
    if exponent == 2.0 {
        return Some(b.mul(x, x));
    }
    if exponent == -1.0 && !is_int(b, x) {
        let one = b.full_like(x, 1.0);
        return Some(b.div(one, x));
    }
    None
}

pub(super) fn max(b: &mut dyn Rewriter, x: Value, y: Value) -> Option<Value> {
    extremum(b, x, y, Scalar::lowest, Scalar::highest)
}

pub(super) fn min(b: &mut dyn Rewriter, x: Value, y: Value) -> Option<Value> {
    extremum(b, x, y, Scalar::highest, Scalar::lowest)
}

fn extremum(
    b: &mut dyn Rewriter,
    x: Value,
    y: Value,
    neutral: fn(DType) -> Scalar,
    absorbing: fn(DType) -> Scalar,
) -> Option<Value> {
    let dtype = b.ty(x).dtype;
    if x == y || b.splat(y) == Some(neutral(dtype)) {
        return Some(x);
    }
    // Not for floats: NaN is stronger still.
    (!dtype.is_float() && b.splat(y) == Some(absorbing(dtype))).then_some(y)
}

/// By nothing.
pub(super) fn shift(b: &mut dyn Rewriter, x: Value, y: Value) -> Option<Value> {
    let dtype = b.ty(x).dtype;
    (b.splat(y) == Some(Scalar::zero(dtype)) || b.splat(x) == Some(Scalar::zero(dtype))).then_some(x)
}

/// All bits set, as a scalar of an integral dtype.
fn ones(dtype: DType) -> Scalar {
    match dtype {
        DType::Bool => Scalar::Bool(true),
        int => Scalar::I64(-1).convert(int),
    }
}

pub(super) fn and(b: &mut dyn Rewriter, x: Value, y: Value) -> Option<Value> {
    let dtype = b.ty(x).dtype;
    if x == y || b.splat(y) == Some(ones(dtype)) {
        return Some(x);
    }
    (b.splat(y) == Some(Scalar::zero(dtype))).then_some(y)
}

pub(super) fn or(b: &mut dyn Rewriter, x: Value, y: Value) -> Option<Value> {
    let dtype = b.ty(x).dtype;
    if x == y || b.splat(y) == Some(Scalar::zero(dtype)) {
        return Some(x);
    }
    (b.splat(y) == Some(ones(dtype))).then_some(y)
}

pub(super) fn xor(b: &mut dyn Rewriter, x: Value, y: Value) -> Option<Value> {
    let dtype = b.ty(x).dtype;
    if x == y {
        return Some(b.full_like(x, 0.0));
    }
    if b.splat(y) == Some(Scalar::zero(dtype)) {
        return Some(x);
    }
    (b.splat(y) == Some(ones(dtype))).then(|| b.not(x))
}
