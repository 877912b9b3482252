//! Cumulative operations along one axis: each element of the result is a running value over the elements up to its own.

use super::attribute::op_struct;
use super::batching::in_front;
use super::binary::Direction;
use super::create::Iota;
use super::index::{Gather, IndexMode, Scatter, Update};
use super::numeric::{InOrder, Ordered, with_any, with_number};
use super::rules::{arity, dtype_is, one, same_type, valid_axes};
use super::samples::{bad, bad_types, odd, sample, values};
use super::view::Pad;
use super::{
    BadSample, Cumulative, Emit, EmitExt, EvalContext, Lowering, OpDef, OpDoc, OpSamples, PerOperand, Primitive,
    Rewriter, Sample, Types, VjpContext,
};
use crate::graph::{RegionType, Value};
use crate::kernel::{BinaryOp, KernelBuilder, Var};
use crate::{
    Axes, DType, Dim, Element, EvalError, Literal, NotDifferentiable, Scalar, Shape, Type, TypedData, Violation,
};
use smallvec::{SmallVec, smallvec};

/// What these ops are.
pub(super) const FAMILY: &str = "Running values along an axis";

fn number(d: DType) -> bool {
    d != DType::Bool
}
fn any(_: DType) -> bool {
    true
}

macro_rules! shared_rules {
    ($name:ident) => {
        fn batch(&self, b: &mut dyn Emit, operands: &[Value], axes: &[Option<usize>], size: &Dim) -> Value {
            let operands: SmallVec<[Value; 2]> =
                operands.iter().zip(axes).map(|(&v, &axis)| in_front(b, v, axis, size)).collect();
            b.emit($name { axis: self.axis + 1, reverse: self.reverse }.into(), &operands)
        }
        fn lowering(&self) -> Lowering {
            Lowering::Cumulative
        }
        // One element, or none, is its own running value; a float sum begins with that element, not with 0.
        fn canonicalize(&self, b: &mut dyn Rewriter, operands: &[Value], _: &Type) -> Option<Value> {
            let shape = &b.ty(*operands.last()?).shape;
            (operands.len() == 1 && (shape[self.axis].is(1) || shape.iter().any(|d| d.is(0)))).then(|| operands[0])
        }
    };
}

macro_rules! scans {
    ($($(#[doc = $doc:literal])* $name:ident = $text:literal ($legal:expr) $rules:ident start $start:expr,
        step $step:ident, gradient $gradient:literal, example $example:literal;)*) => { $(
        op_struct! { $(#[doc = $doc])* $name = $text {
            /// The axis along which elements come one after the other.
            axis: usize,
            /// From the last element to the first.
            reverse: bool,
        } }
        impl OpDef for $name {
            fn doc(&self) -> OpDoc {
                OpDoc {
                    semantics: concat!($($doc),*),
                    constraints: &["`axis` exists"],
                    gradient: $gradient,
                    example: $example,
                }
            }
            fn infer(&self, operands: &[&Type], _: &[RegionType]) -> Result<Types, Violation> {
                arity(self, operands, 1)?;
                dtype_is(self, operands, 0, $legal)?;
                valid_axes(self, operands, &[self.axis], operands[0].rank())?;
                one(operands[0].dtype, &operands[0].shape)
            }
            fn eval(&self, operands: &[&Literal], _: &mut EvalContext<'_>) -> Result<SmallVec<[Literal; 1]>, EvalError> {
                Ok(smallvec![$rules::eval(operands[0], self.axis, self.reverse)])
            }
            fn vjp(&self, b: &mut dyn Emit, cx: &VjpContext<'_>) -> Result<PerOperand, NotDifferentiable> {
                Ok(smallvec![Some($rules::vjp(b, cx, self.axis, self.reverse))])
            }
            fn jvp(
                &self,
                b: &mut dyn Emit,
                operands: &[Value],
                results: &[Value],
                tangents: &[Option<Value>],
            ) -> Result<Option<Value>, NotDifferentiable> {
                Ok(tangents[0].map(|t| $rules::jvp(b, operands[0], results[0], t, self.axis, self.reverse)))
            }
            fn cumulative(&self, dtype: DType) -> Option<Cumulative> {
                Some(Cumulative { axis: self.axis, reverse: self.reverse, start: $start(dtype) })
            }
            fn scalar(&self, k: &mut KernelBuilder, operands: &[Var]) -> Var {
                k.binary(BinaryOp::$step, operands[0], operands[1])
            }
            shared_rules!($name);
        }
        impl OpSamples for $name {
            fn samples() -> Vec<Sample> {
                let first = if $legal(DType::Bool) { DType::Bool } else { DType::I32 };
                let op = |axis, reverse| Primitive::from($name { axis, reverse });
                let mut all = Vec::new();
                for reverse in [false, true] {
                    for (axis, dims) in shapes() {
                        all.push(sample(op(axis, reverse), &[values(DType::F64, &dims)]));
                    }
                    all.push(sample(op(0, reverse), &[values(first, &[7])]));
                    all.push(sample(op(1, reverse), &[values(DType::F16, &[2, 20])]));
                    all.push(sample(op(0, reverse), &[Literal::from_vec(&[4], vec![1.5f64, 0.0, -2.0, 0.0])]));
                    let legal = DType::ALL.into_iter().filter(|&d| $legal(d));
                    all.extend(legal.map(|d| sample(op(0, reverse), &[odd(d, &[12, 2])])));
                }
                all
            }
            fn bad_samples() -> Vec<BadSample> {
                let op = |axis| $name { axis, reverse: false };
                let mut all = vec![
                    bad(op(0), [], "takes 1 operand, not 0"),
                    bad(op(1), [&[3]], "axis 1 does not exist"),
                    bad(op(0), [&[]], "a scalar has no axes"),
                ];
                if !$legal(DType::Bool) {
                    all.push(bad_types(op(0), vec![Type::new(DType::Bool, [2])], "operand 0 has dtype bool"));
                }
                all
            }
        }
    )* };
}

scans! {
    /// Running sum, one element after the other in the element type; integers wrap, 16-bit floats add in f32 and each element of the result rounds once.
    CumSum = "cumsum" (number) sum start negative_zero, step Add,
        gradient "The running sum of the cotangent in the other direction.",
        example "cumsum [1, 2, 3]:f32[3] {axis = 0} = [1, 3, 6]";
    /// Running product, one element after the other in the element type; integers wrap, 16-bit floats multiply in f32 and each element of the result rounds once.
    CumProd = "cumprod" (number) product start Scalar::one, step Mul,
        gradient "A `linear_recurrence` of the cotangent in the other direction, times the product of the elements before. Nothing is divided, so it is right where elements are 0, in every order.",
        example "cumprod [2, 3, 4]:f32[3] {axis = 0} = [2, 6, 24]";
    /// Largest element so far, NaN once there is one, +0 above -0.
    CumMax = "cummax" (any) max start Scalar::lowest, step Max,
        gradient "The cotangent, to the last element so far that equals the result, or to the last NaN.",
        example "cummax [1, 3, 2]:f32[3] {axis = 0} = [1, 3, 3]";
    /// Smallest element so far, NaN once there is one, -0 below +0.
    CumMin = "cummin" (any) min start Scalar::highest, step Min,
        gradient "The cotangent, to the last element so far that equals the result, or to the last NaN.",
        example "cummin [2, 1, 3]:f32[3] {axis = 0} = [2, 1, 1]";
}

/// What a sum starts with: 0 would turn a leading -0 into +0.
fn negative_zero(dtype: DType) -> Scalar {
    if dtype.is_float() { Scalar::of(dtype, -0.0) } else { Scalar::zero(dtype) }
}

op_struct! {
    /// `result[i] = decay[i] * result[i-1] + input[i]` along an axis, beginning with 0. Operands: decay, input.
    LinearRecurrence = "linear_recurrence" {
        /// The axis along which elements come one after the other.
        axis: usize,
        /// From the last element to the first.
        reverse: bool,
    }
}
impl OpDef for LinearRecurrence {
    fn doc(&self) -> OpDoc {
        OpDoc {
            semantics: "`result[i] = decay[i] * result[i-1] + input[i]` along an axis, one element after the other in the element type, with 0 before the first. The product rounds before the sum. Integers wrap, 16-bit floats compute in f32 and each element of the result rounds once.",
            constraints: &["operands are not bool", "both operands have one type", "`axis` exists"],
            gradient: "A `linear_recurrence` of the cotangent in the other direction, with the decay of the element after: that is the gradient by the input, and times the result before the gradient by the decay.",
            example: "linear_recurrence [5, 2, 3]:f32[3], [1, 1, 1]:f32[3] {axis = 0} = [1, 3, 10]",
        }
    }
    fn infer(&self, operands: &[&Type], _: &[RegionType]) -> Result<Types, Violation> {
        arity(self, operands, 2)?;
        dtype_is(self, operands, 0, number)?;
        same_type(self, operands, 0, 1)?;
        valid_axes(self, operands, &[self.axis], operands[0].rank())?;
        one(operands[0].dtype, &operands[0].shape)
    }
    fn eval(&self, operands: &[&Literal], _: &mut EvalContext<'_>) -> Result<SmallVec<[Literal; 1]>, EvalError> {
        let (decay, input) = (operands[0], operands[1]);
        Ok(smallvec![with_number!(decay.dtype(), T => {
            let (a, x) = (decay.as_slice::<T>(), input.as_slice::<T>());
            let zero = T::from_scalar(Scalar::zero(decay.dtype())).expect("of that dtype").start();
            run(decay, self.axis, self.reverse, |before: Option<<T as InOrder>::Running>, i| {
                // `mul` and `add` take the element second; both commute.
                let kept = <T as InOrder>::mul(before.unwrap_or(zero), a[i]);
                let next = <T as InOrder>::add(kept, x[i]);
                (next, <T as InOrder>::end(next))
            })
        })])
    }
    fn vjp(&self, b: &mut dyn Emit, cx: &VjpContext<'_>) -> Result<PerOperand, NotDifferentiable> {
        let of_input = carried_back(b, cx.operands[0], cx.cotangent(), self.axis, self.reverse);
        let of_decay = cx.wanted[0].then(|| {
            let before = neighbour(b, cx.results[0], self.axis, self.reverse, 0.0);
            b.mul(of_input, before)
        });
        Ok(smallvec![of_decay, cx.wanted[1].then_some(of_input)])
    }
    fn jvp(
        &self,
        b: &mut dyn Emit,
        operands: &[Value],
        results: &[Value],
        tangents: &[Option<Value>],
    ) -> Result<Option<Value>, NotDifferentiable> {
        let of_decay = tangents[0].map(|t| {
            let before = neighbour(b, results[0], self.axis, self.reverse, 0.0);
            b.mul(t, before)
        });
        let input = match (of_decay, tangents[1]) {
            (Some(x), Some(y)) => b.add(x, y),
            (Some(x), None) | (None, Some(x)) => x,
            (None, None) => return Ok(None),
        };
        Ok(Some(b.emit(self.clone().into(), &[operands[0], input])))
    }
    fn cumulative(&self, dtype: DType) -> Option<Cumulative> {
        Some(Cumulative { axis: self.axis, reverse: self.reverse, start: Scalar::zero(dtype) })
    }
    fn scalar(&self, k: &mut KernelBuilder, operands: &[Var]) -> Var {
        let kept = k.binary(BinaryOp::Mul, operands[0], operands[1]);
        k.binary(BinaryOp::Add, kept, operands[2])
    }
    shared_rules!(LinearRecurrence);
}
impl OpSamples for LinearRecurrence {
    fn samples() -> Vec<Sample> {
        let mut all = Vec::new();
        for reverse in [false, true] {
            let op = |axis| LinearRecurrence { axis, reverse };
            for (axis, dims) in shapes() {
                let input = values(DType::F64, &dims);
                let last = input.numel().saturating_sub(1);
                let decay = Literal::from_fn(&dims, DType::F64, |i| input.get(last - i));
                all.push(sample(op(axis), &[decay, input]));
            }
            for dtype in DType::ALL.into_iter().filter(|&d| number(d)) {
                all.push(sample(op(0), &[values(dtype, &[6]), values(dtype, &[6])]));
                all.push(sample(op(1), &[odd(dtype, &[2, 12]), values(dtype, &[2, 12])]));
            }
        }
        all
    }
    fn bad_samples() -> Vec<BadSample> {
        let op = |axis| LinearRecurrence { axis, reverse: false };
        let two = |d: DType, e: DType| vec![Type::new(d, [2]), Type::new(e, [2])];
        vec![
            bad(op(0), [&[2]], "takes 2 operands, not 1"),
            bad(op(1), [&[2], &[2]], "axis 1 does not exist"),
            bad(op(0), [&[2], &[3]], "operands 0 and 1 have shapes"),
            bad_types(op(0), two(DType::F32, DType::F64), "operands 0 and 1 have dtypes"),
            bad_types(op(0), two(DType::Bool, DType::Bool), "operand 0 has dtype bool"),
        ]
    }
}

fn shapes() -> Vec<(usize, Vec<usize>)> {
    vec![
        (0, vec![5]),
        (1, vec![2, 4]),
        (0, vec![4, 3]),
        (1, vec![2, 3, 2]),
        (0, vec![1]),
        (0, vec![0]),
        (1, vec![2, 0]),
        (0, vec![3, 0]),
    ]
}

/// Carries a running value along an axis: `step` makes it of the one before, if there is one, and the position of the
/// element, and gives the result element too.
fn run<R: Copy, T: TypedData>(
    x: &Literal,
    axis: usize,
    reverse: bool,
    mut step: impl FnMut(Option<R>, usize) -> (R, T),
) -> Literal {
    let (n, inner) = (x.dims()[axis], x.dims()[axis + 1..].iter().product::<usize>());
    let outer: usize = x.dims()[..axis].iter().product();
    let mut out: Vec<Option<T>> = vec![None; x.numel()];
    for row in 0..outer * inner {
        let mut running = None;
        for k in 0..n {
            let k = if reverse { n - 1 - k } else { k };
            let at = (row / inner * n + k) * inner + row % inner;
            let (next, element) = step(running, at);
            running = Some(next);
            out[at] = Some(element);
        }
    }
    Literal::from_vec(x.dims(), out.into_iter().map(|e| e.expect("each element has its turn")).collect())
}

/// For each element the one before it in the order of the scan, or the number for the first.
fn neighbour(b: &mut dyn Emit, x: Value, axis: usize, reverse: bool, first: f64) -> Value {
    let ty = b.ty(x).clone();
    let nothing: Shape = ty.shape.iter().map(|_| 0).collect();
    let by = if reverse { -1 } else { 1 };
    let pad = Pad {
        value: Scalar::of(ty.dtype, first),
        low: nothing.with_axis(axis, Dim::from(by)),
        high: nothing.with_axis(axis, Dim::from(-by)),
        interior: smallvec![0; ty.rank()],
    };
    b.emit(pad.into(), &[x])
}

/// What the cotangents of a linear recurrence come to at its inputs.
fn carried_back(b: &mut dyn Emit, decay: Value, ct: Value, axis: usize, reverse: bool) -> Value {
    let after = neighbour(b, decay, axis, !reverse, 0.0);
    b.emit(LinearRecurrence { axis, reverse: !reverse }.into(), &[after, ct])
}

mod sum {
    use super::*;

    pub fn eval(x: &Literal, axis: usize, reverse: bool) -> Literal {
        with_number!(x.dtype(), T => {
            let data = x.as_slice::<T>();
            run(x, axis, reverse, |before: Option<<T as InOrder>::Running>, i| {
                let next = before.map_or(data[i].start(), |before| <T as InOrder>::add(before, data[i]));
                (next, <T as InOrder>::end(next))
            })
        })
    }
    pub fn vjp(b: &mut dyn Emit, cx: &VjpContext<'_>, axis: usize, reverse: bool) -> Value {
        b.emit(CumSum { axis, reverse: !reverse }.into(), &[cx.cotangent()])
    }
    pub fn jvp(b: &mut dyn Emit, _: Value, _: Value, t: Value, axis: usize, reverse: bool) -> Value {
        b.emit(CumSum { axis, reverse }.into(), &[t])
    }
}

mod product {
    use super::*;

    pub fn eval(x: &Literal, axis: usize, reverse: bool) -> Literal {
        with_number!(x.dtype(), T => {
            let data = x.as_slice::<T>();
            run(x, axis, reverse, |before: Option<<T as InOrder>::Running>, i| {
                let next = before.map_or(data[i].start(), |before| <T as InOrder>::mul(before, data[i]));
                (next, <T as InOrder>::end(next))
            })
        })
    }
    pub fn vjp(b: &mut dyn Emit, cx: &VjpContext<'_>, axis: usize, reverse: bool) -> Value {
        let carried = carried_back(b, cx.operands[0], cx.cotangent(), axis, reverse);
        let before = neighbour(b, cx.results[0], axis, reverse, 1.0);
        b.mul(carried, before)
    }
    pub fn jvp(b: &mut dyn Emit, x: Value, result: Value, t: Value, axis: usize, reverse: bool) -> Value {
        let before = neighbour(b, result, axis, reverse, 1.0);
        let input = b.mul(t, before);
        b.emit(LinearRecurrence { axis, reverse }.into(), &[x, input])
    }
}

mod max {
    use super::*;

    pub fn eval(x: &Literal, axis: usize, reverse: bool) -> Literal {
        with_any!(x.dtype(), T => extremum::<T>(x, axis, reverse, |best, v| best.before(v)))
    }
    pub fn vjp(b: &mut dyn Emit, cx: &VjpContext<'_>, axis: usize, reverse: bool) -> Value {
        let x = cx.operands[0];
        let last = b.ty(x).rank() - 1;
        let won = winners(b, x, cx.results[0], axis, reverse);
        let zeros = b.full_like(x, 0.0);
        let [zeros, won, ct] = [zeros, won, cx.cotangent()].map(|v| swapped(b, v, axis, last));
        let op = Scatter { axis: last, batch: last, mode: IndexMode::Fill, combine: Update::Add };
        let sums = b.emit(op.into(), &[zeros, won, ct]);
        swapped(b, sums, axis, last)
    }
    pub fn jvp(b: &mut dyn Emit, x: Value, result: Value, t: Value, axis: usize, reverse: bool) -> Value {
        let last = b.ty(x).rank() - 1;
        let won = winners(b, x, result, axis, reverse);
        let [t, won] = [t, won].map(|v| swapped(b, v, axis, last));
        let read = b.emit(Gather { axis: last, batch: last, mode: IndexMode::Fill }.into(), &[t, won]);
        swapped(b, read, axis, last)
    }
}
mod min {
    use super::*;

    pub fn eval(x: &Literal, axis: usize, reverse: bool) -> Literal {
        with_any!(x.dtype(), T => extremum::<T>(x, axis, reverse, |best, v| v.before(best)))
    }
    pub use super::max::{jvp, vjp};
}

fn extremum<T: Ordered>(x: &Literal, axis: usize, reverse: bool, better: impl Fn(T, T) -> bool) -> Literal {
    let data = x.as_slice::<T>();
    run(x, axis, reverse, |before: Option<T>, i| {
        let v = data[i];
        let next = match before {
            Some(best) if best.is_nan() || !(v.is_nan() || better(best, v)) => best,
            _ => v,
        };
        (next, next)
    })
}

/// Along the axis, the position of the last element so far that equals the running value `result`, or of the last NaN.
pub(crate) fn winners(b: &mut dyn Emit, x: Value, result: Value, axis: usize, reverse: bool) -> Value {
    let shape = b.ty(x).shape.clone();
    let equal = b.compare(Direction::Eq, x, result);
    let nan = b.compare(Direction::Ne, x, x);
    let hit = b.emit(super::binary::Or {}.into(), &[equal, nan]);
    let position = b.emit(Iota { dtype: DType::I64, shape: shape.clone(), axis }.into(), &[]);
    // The first element hits, so the other value never stands in the outcome.
    let none = b.full(Scalar::I64(if reverse { i64::MAX } else { 0 }), &shape);
    let positions = b.select(hit, position, none);
    match reverse {
        false => b.emit(CumMax { axis, reverse }.into(), &[positions]),
        true => b.emit(CumMin { axis, reverse }.into(), &[positions]),
    }
}

/// With two axes exchanged.
fn swapped(b: &mut dyn Emit, x: Value, one: usize, other: usize) -> Value {
    let mut permutation: Axes = (0..b.ty(x).rank()).collect();
    permutation.swap(one, other);
    b.transpose(x, &permutation)
}
