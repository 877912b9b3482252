//! What pointwise ops share: gradients from one derivative per operand, and batching.

use super::batching::in_front;
use super::{Emit, EmitExt, PerOperand, Primitive, VjpContext};
use crate::graph::Value;
use crate::{DType, Dim, NotDifferentiable};
use smallvec::SmallVec;

/// The reason why an op between integers or bools has no derivative.
const NOT_FLOAT: NotDifferentiable = NotDifferentiable("only floats have gradients");

fn check_float(b: &dyn Emit, v: Value) -> Result<(), NotDifferentiable> {
    if b.ty(v).dtype.is_float() { Ok(()) } else { Err(NOT_FLOAT) }
}

/// The Jacobian of a pointwise op is diagonal, so one rule serves both modes: `partial(b, i, g)` is the product of `g`
/// with the derivative of the result by operand `i`, `None` where that is 0 everywhere.
pub(super) fn vjp(
    b: &mut dyn Emit,
    cx: &VjpContext<'_>,
    mut partial: impl FnMut(&mut dyn Emit, usize, Value) -> Option<Value>,
) -> Result<PerOperand, NotDifferentiable> {
    check_float(b, cx.results[0])?;
    let g = cx.cotangent();
    Ok(cx.wanted.iter().enumerate().map(|(i, &wanted)| if wanted { partial(b, i, g) } else { None }).collect())
}

/// See [`vjp`].
pub(super) fn jvp(
    b: &mut dyn Emit,
    results: &[Value],
    tangents: &[Option<Value>],
    mut partial: impl FnMut(&mut dyn Emit, usize, Value) -> Option<Value>,
) -> Result<Option<Value>, NotDifferentiable> {
    check_float(b, results[0])?;
    let mut sum = None;
    for (i, tangent) in tangents.iter().enumerate() {
        let term = tangent.and_then(|t| partial(b, i, t));
        sum = match (sum, term) {
            (Some(s), Some(t)) => Some(b.add(s, t)),
            (s, t) => s.or(t),
        };
    }
    Ok(sum)
}

/// The batching rule of pointwise ops.
pub(super) fn batch(
    b: &mut dyn Emit,
    op: impl Into<Primitive>,
    operands: &[Value],
    axes: &[Option<usize>],
    size: &Dim,
) -> Value {
    let operands: SmallVec<[Value; 3]> =
        operands.iter().zip(axes).map(|(&v, &axis)| in_front(b, v, axis, size)).collect();
    b.emit(op.into(), &operands)
}

/// The batching rule of ops without operands: the result, repeated.
pub(super) fn batch_created(b: &mut dyn Emit, op: impl Into<Primitive>, size: &Dim) -> Value {
    let v = b.emit(op.into(), &[]);
    in_front(b, v, None, size)
}

/// Any dtype but bool.
pub(super) fn number(d: DType) -> bool {
    d != DType::Bool
}
/// f64, f32, f16, bf16.
pub(super) fn float(d: DType) -> bool {
    d.is_float()
}
/// Integers.
pub(super) fn int(d: DType) -> bool {
    d.is_int()
}
/// Integers and bool.
pub(super) fn integral(d: DType) -> bool {
    !d.is_float()
}
/// Every dtype.
pub(super) fn any(_: DType) -> bool {
    true
}
