//! Reductions over sets of axes.

mod eval;
mod grad;

use super::attribute::op_struct;
use super::batching::{in_front, shifted};
use super::rules::{arity, dtype_is, one, valid_axes, violation};
use super::samples::{bad, bad_types, for_each, sample, values};
use super::{
    BadSample, DimValues, Emit, EmitExt, EvalContext, Lowering, OpDef, OpDoc, OpSamples, PerOperand, Primitive,
    Rewriter, Sample, Types, VjpContext,
};
use crate::graph::{RegionType, Value};
use crate::kernel::Combine;
use crate::{Axes, DType, Dim, EvalError, Literal, NotDifferentiable, Scalar, Type, Violation, ViolationKind};
use smallvec::{SmallVec, smallvec};

/// What these ops are.
pub(super) const FAMILY: &str = "Reductions over sets of axes";

/// What all reductions do alike.
macro_rules! shared_rules {
    ($name:ident, $combine:ident, $rules:ident) => {
        fn eval(&self, operands: &[&Literal], _: &mut EvalContext<'_>) -> Result<SmallVec<[Literal; 1]>, EvalError> {
            Ok(smallvec![eval::$rules(operands[0], &self.axes)])
        }
        fn vjp(&self, b: &mut dyn Emit, cx: &VjpContext<'_>) -> Result<PerOperand, NotDifferentiable> {
            grad::$rules::vjp(&self.axes, b, cx)
        }
        fn jvp(
            &self,
            b: &mut dyn Emit,
            operands: &[Value],
            results: &[Value],
            tangents: &[Option<Value>],
        ) -> Result<Option<Value>, NotDifferentiable> {
            Ok(tangents[0].and_then(|t| grad::$rules::jvp(&self.axes, b, operands[0], results[0], t)))
        }
        fn batch(&self, b: &mut dyn Emit, operands: &[Value], axes: &[Option<usize>], size: &Dim) -> Value {
            let x = in_front(b, operands[0], axes[0], size);
            b.emit(self.with_axes(shifted(&self.axes)), &[x])
        }
        fn lowering(&self) -> Lowering {
            Lowering::Reduce(Combine::$combine)
        }
        fn reduced_axes(&self) -> &[usize] {
            &self.axes
        }
        fn with_axes(&self, axes: Axes) -> Primitive {
            let mut op = self.clone();
            op.axes = axes;
            op.into()
        }
    };
}

macro_rules! reductions {
    ($($(#[doc = $doc:literal])* $name:ident = $text:literal $combine:ident $rules:ident ($legal:expr)
        $({ $(#[doc = $field_doc:literal])* $field:ident: $constraint:literal })? $gradient:literal $example:literal;)*) => { $(
        op_struct! { $(#[doc = $doc])* $name = $text {
            /// The axes that fall away, strictly increasing.
            axes: Axes,
            $($(#[doc = $field_doc])* $field: bool,)?
        } }
        impl OpDef for $name {
            fn doc(&self) -> OpDoc {
                OpDoc {
                    semantics: concat!($($doc),*),
                    constraints: &["`axes` exist and increase" $(, $constraint)?],
                    gradient: $gradient,
                    example: $example,
                }
            }
            fn infer(&self, operands: &[&Type], _: &[RegionType]) -> Result<Types, Violation> {
                arity(self, operands, 1)?;
                dtype_is(self, operands, 0, $legal)?;
                valid_axes(self, operands, &self.axes, operands[0].rank())?;
                if self.axes.windows(2).any(|w| w[0] >= w[1]) {
                    return Err(violation(self, operands, format!("axes {:?} do not increase", self.axes), "sort them"));
                }
                $(if self.$field && let Some(&a) = self.axes.iter().find(|&&a| operands[0].shape[a].is(0)) {
                    return Err(empty(self, operands, a, "element"));
                })?
                one(operands[0].dtype, operands[0].shape.without(&self.axes))
            }
            $(fn check(&self, operands: &[&Type], dim: DimValues<'_>) -> Result<(), EvalError> {
                for &a in self.axes.iter().filter(|_| self.$field) {
                    if dim(&operands[0].shape[a])? == 0 {
                        return Err(empty(self, operands, a, "element").into());
                    }
                }
                Ok(())
            })?
            shared_rules!($name, $combine, $rules);
            fn canonicalize(&self, b: &mut dyn Rewriter, operands: &[Value], result: &Type) -> Option<Value> {
                simplify(self, Combine::$combine, b, operands[0], result)
            }
        }
        impl OpSamples for $name {
            fn samples() -> Vec<Sample> {
                #[allow(unused_mut)]
                let mut all = samples($legal, |axes| $name { axes: axes.into() $(, $field: false)? }.into());
                $(all.push(sample($name { axes: smallvec![0, 1], $field: true }, &[values(DType::F32, &[2, 3])]));
                all.push(sample($name { axes: smallvec![1], $field: true }, &[values(DType::F32, &[0, 3])]));)?
                all
            }
            fn bad_samples() -> Vec<BadSample> {
                let legal = DType::ALL.into_iter().find(|&d| $legal(d)).expect("one dtype at least");
                let op = |axes: &[usize]| $name { axes: axes.into() $(, $field: false)? };
                let on = |dims: &[usize]| vec![Type::new(legal, dims)];
                let mut all = vec![
                    bad(op(&[]), [], "takes 1 operand, not 0"),
                    bad_types(op(&[2]), on(&[2, 3]), "axis 2 does not exist"),
                    bad_types(op(&[0]), on(&[]), "a scalar has no axes"),
                    bad_types(op(&[1, 1]), on(&[2, 3]), "axis 1 is named twice"),
                    bad_types(op(&[1, 0]), on(&[2, 3]), "axes [1, 0] do not increase"),
                ];
                $(let some = $name { axes: smallvec![0, 1], $field: true };
                all.push(bad_types(some, on(&[2, 0]), "axis 1 is empty, so there is no element to give"));)?
                if let Some(illegal) = DType::ALL.into_iter().find(|&d| !$legal(d)) {
                    all.push(bad_types(op(&[0]), vec![Type::new(illegal, [2])], "operand 0 has dtype"));
                }
                all
            }
        }
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
    /// Sum; over nothing 0. Floats of 16 bits accumulate in f32 and round once, integers wrap.
    ReduceSum = "reduce_sum" Sum sum (number)
        "The cotangent, repeated along the axes."
        "reduce_sum [[1, 2], [3, 4]]:f32[2, 2] {axes = [1]} = [3, 7]";
    /// Product; over nothing 1. Floats of 16 bits accumulate in f32 and round once, integers wrap.
    ReduceProd = "reduce_prod" Product product (number)
        "The cotangent times the product of all other elements, which is not divided out of the whole and so is right where elements are 0, in every order."
        "reduce_prod [2, 3, 4]:f32[3] {axes = [0]} = 24";
    /// Largest element, NaN if there is one, +0 above -0; over nothing the lowest value of the dtype.
    ReduceMax = "reduce_max" Max max (any)
        {
            /// Whether an axis without elements is an error.
            nonempty: "with `nonempty` no axis that falls away is empty"
        }
        "The cotangent, in equal parts, to the elements that equal the result; NaN where the result is."
        "reduce_max [1, 3, 2]:f32[3] {axes = [0]} = 3";
    /// Smallest element, NaN if there is one, -0 below +0; over nothing the highest value of the dtype.
    ReduceMin = "reduce_min" Min min (any)
        {
            /// Whether an axis without elements is an error.
            nonempty: "with `nonempty` no axis that falls away is empty"
        }
        "The cotangent, in equal parts, to the elements that equal the result; NaN where the result is."
        "reduce_min [2, 1, 3]:f32[3] {axes = [0]} = 1";
    /// Logical or; over nothing false.
    ReduceAny = "reduce_any" Any any (boolean)
        "None: truth values have no derivative."
        "reduce_any [false, true]:bool[2] {axes = [0]} = true";
    /// Logical and; over nothing true.
    ReduceAll = "reduce_all" All all (boolean)
        "None: truth values have no derivative."
        "reduce_all [false, true]:bool[2] {axes = [0]} = false";
}

macro_rules! arg_reductions {
    ($($(#[doc = $doc:literal])* $name:ident = $text:literal $rules:ident $example:literal;)*) => { $(
        op_struct! { $(#[doc = $doc])* $name = $text {
            /// The axis that falls away, as a list of one.
            axes: Axes,
        } }
        impl OpDef for $name {
            fn doc(&self) -> OpDoc {
                OpDoc {
                    semantics: concat!($($doc),*),
                    constraints: &["`axes` names exactly one axis", "the axis is not empty"],
                    gradient: "None: positions are integers.",
                    example: $example,
                }
            }
            fn infer(&self, operands: &[&Type], _: &[RegionType]) -> Result<Types, Violation> {
                arity(self, operands, 1)?;
                valid_axes(self, operands, &self.axes, operands[0].rank())?;
                if self.axes.len() != 1 {
                    return Err(violation(self, operands, format!("axes {:?}", self.axes), "exactly one axis"));
                }
                if operands[0].shape[self.axes[0]].is(0) {
                    return Err(empty(self, operands, self.axes[0], "position"));
                }
                one(DType::I64, operands[0].shape.without(&self.axes))
            }
            fn check(&self, operands: &[&Type], dim: DimValues<'_>) -> Result<(), EvalError> {
                let axis = self.axes[0];
                match dim(&operands[0].shape[axis])? {
                    0 => Err(empty(self, operands, axis, "position").into()),
                    _ => Ok(()),
                }
            }
            shared_rules!($name, $name, $rules);
            fn canonicalize(&self, b: &mut dyn Rewriter, operands: &[Value], result: &Type) -> Option<Value> {
                // Of equal elements the first wins.
                let extent = b.ty(operands[0]).shape[self.axes[0]].known();
                let first = extent == Some(1) || (extent.is_some() && b.splat(operands[0]).is_some());
                first.then(|| b.full(Scalar::I64(0), &result.shape))
            }
        }
        impl OpSamples for $name {
            fn samples() -> Vec<Sample> {
                let op = |axis: usize| Primitive::from($name { axes: smallvec![axis] });
                let mut all = vec![
                    sample(op(0), &[values(DType::F64, &[5])]),
                    sample(op(1), &[values(DType::F32, &[2, 3])]),
                    sample(op(1), &[values(DType::I32, &[2, 3, 2])]),
                    sample(op(0), &[values(DType::F32, &[1, 2])]),
                    sample(op(1), &[values(DType::F32, &[0, 2])]),
                    sample(op(0), &[Literal::from_vec(&[6], vec![1f32, -0.0, 3.0, 0.0, -0.0, 3.0])]),
                    sample(op(0), &[Literal::from_vec(&[3], vec![f32::NAN, f32::INFINITY, f32::NAN])]),
                    sample(op(0), &[Literal::from_vec(&[2], vec![-0f64, 0.0])]),
                ];
                all.extend(for_each(DType::ALL, |_| op(0), &[12]));
                all
            }
            fn bad_samples() -> Vec<BadSample> {
                let op = |axes: &[usize]| $name { axes: axes.into() };
                vec![
                    bad(op(&[0]), [], "takes 1 operand, not 0"),
                    bad(op(&[1]), [&[3]], "axis 1 does not exist"),
                    bad(op(&[]), [&[3]], "exactly one axis"),
                    bad(op(&[0, 1]), [&[3, 2]], "exactly one axis"),
                    bad(op(&[0]), [&[0, 2]], "axis 0 is empty"),
                ]
            }
        }
    )* };
}
arg_reductions! {
    /// Position (i64) of the first largest element; NaN counts as largest, zeros of either sign as equal.
    ArgMax = "argmax" arg_max "argmax [1, 3, 3]:f32[3] {axes = [0]} = 1";
    /// Position (i64) of the first smallest element; NaN counts as smallest, zeros of either sign as equal.
    ArgMin = "argmin" arg_min "argmin [2, 1, 1]:f32[3] {axes = [0]} = 1";
}

/// Rules that leave every bit of the result as it is.
fn simplify(op: &dyn OpDef, combine: Combine, b: &mut dyn Rewriter, x: Value, result: &Type) -> Option<Value> {
    let axes = op.reduced_axes();
    if axes.is_empty() {
        return Some(x);
    }
    let ty = b.ty(x).clone();
    let idempotent = matches!(combine, Combine::Max | Combine::Min | Combine::Any | Combine::All);
    if let Some(value) = b.splat(x) {
        let some = axes.iter().all(|&a| ty.shape[a].known().is_some_and(|n| n > 0));
        let unit = match combine {
            Combine::Sum => value.as_f64() == 0.0,
            Combine::Product => value.as_f64() == 1.0,
            _ => false,
        };
        if unit {
            let unit = if combine == Combine::Sum { 0.0 } else { 1.0 };
            return Some(b.full(Scalar::of(ty.dtype, unit), &result.shape));
        }
        if idempotent && some {
            return Some(b.full(value, &result.shape));
        }
    }
    // A float sum of one element is not that element: 0 + -0 is +0.
    let float = ty.dtype.is_float();
    if axes.iter().all(|&a| ty.shape[a].is(1)) && !(float && combine == Combine::Sum) {
        return Some(b.reshape(x, &result.shape));
    }
    if !idempotent && float {
        return None;
    }
    let (inner, operands) = b.definition(x)?;
    let inner_axes = Axes::from_slice(inner.reduced_axes());
    if inner.name() != op.name() || *inner != op.with_axes(inner_axes.clone()) {
        return None;
    }
    let inner = operands[0];
    let kept: Axes = (0..b.ty(inner).rank()).filter(|a| !inner_axes.contains(a)).collect();
    let mut all: Axes = inner_axes.into_iter().chain(axes.iter().map(|&a| kept[a])).collect();
    all.sort_unstable();
    Some(b.emit(op.with_axes(all), &[inner]))
}

/// The broken rule of an op that takes something of an axis without elements.
fn empty(op: &dyn OpDef, operands: &[&Type], axis: usize, what: &str) -> Violation {
    let rule = format!("axis {axis} is empty, so there is no {what} to give");
    violation(op, operands, rule, "an axis with elements").of(ViolationKind::Empty)
}

fn samples(legal: impl Fn(DType) -> bool, op: impl Fn(&[usize]) -> Primitive) -> Vec<Sample> {
    let first = if legal(DType::F64) { DType::F64 } else { DType::Bool };
    let second = if legal(DType::F32) { DType::F32 } else { DType::Bool };
    let mut all = vec![
        sample(op(&[0]), &[values(first, &[5])]),
        sample(op(&[1]), &[values(first, &[2, 3])]),
        sample(op(&[0]), &[values(first, &[2, 3])]),
        sample(op(&[0, 2]), &[values(first, &[2, 3, 2])]),
        sample(op(&[0, 1]), &[values(first, &[2, 2])]),
        sample(op(&[]), &[values(first, &[2])]),
        sample(op(&[]), &[values(first, &[])]),
        sample(op(&[1]), &[values(first, &[3, 1])]),
        sample(op(&[0]), &[values(second, &[40])]),
        sample(op(&[1]), &[values(second, &[3, 37])]),
        sample(op(&[0]), &[values(second, &[0])]),
        sample(op(&[1]), &[values(second, &[2, 0])]),
        sample(op(&[1]), &[values(second, &[0, 2])]),
    ];
    if legal(DType::F32) {
        all.push(sample(op(&[0]), &[Literal::from_vec(&[4], vec![3f32, -1.0, 3.0, 0.0])]));
        all.push(sample(op(&[0]), &[Literal::from_vec(&[2, 2], vec![-0f32, 0.0, 0.0, -0.0])]));
        all.push(sample(op(&[1]), &[values(DType::F16, &[2, 20])]));
        all.push(sample(op(&[1]), &[values(DType::BF16, &[2, 20])]));
    }
    all.extend(for_each(DType::ALL.into_iter().filter(|&d| legal(d)), |_| op(&[0]), &[12, 2]));
    all
}
