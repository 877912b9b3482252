//! Reads and updates at computed indices.

use super::attribute::{op_struct, word_attribute};
use super::batching::{extra_axis_at, in_front};
use super::binary::Direction;
use super::create::Iota;
use super::elements::pick_or;
use super::numeric::{Number, with_number};
use super::rules::{arity, dtype_is, one, valid_axes, violation};
use super::samples::{bad, bad_types, odd, sample, values};
use super::{
    BadSample, DimValues, Emit, EmitExt, EvalContext, Indexing, Lowering, OpDef, OpDoc, OpSamples, PerOperand,
    Rewriter, Sample, Traits, Types, VjpContext,
};
use crate::Primitive;
use crate::graph::RegionType;
use crate::graph::Value;
use crate::{Axes, DType, Dim, EvalError, Literal, NotDifferentiable, Scalar, Shape, Type, Violation, ViolationKind};
use half::{bf16, f16};
use serde::{Deserialize, Serialize};
use smallvec::{SmallVec, smallvec};

/// What an index out of range means. Negative indices are out of range.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum IndexMode {
    /// The call returns an error.
    Error,
    /// The nearest legal index is used.
    Clamp,
    /// A read gives 0, an update is dropped.
    Fill,
}
word_attribute!(IndexMode { Error = "error", Clamp = "clamp", Fill = "fill" });

/// The shape that a gather with these operands yields.
fn gathered(op: &dyn OpDef, operands: &[&Type], Indexing { axis, batch, mode }: Indexing) -> Result<Shape, Violation> {
    let (x, i) = (operands[0], operands[1]);
    dtype_is(op, operands, 1, DType::is_int)?;
    valid_axes(op, operands, &[axis], x.rank())?;
    if batch > axis || batch > i.rank() {
        let rule = format!("{batch} batch axes with axis {axis} and indices of rank {}", i.rank());
        let legal = "batch axes come before the indexed axis, in both operands";
        return Err(violation(op, operands, rule, legal).of(ViolationKind::Rank));
    }
    if x.shape[..batch] != i.shape[..batch] {
        let rule = format!("batch extents {:?} and {:?}", &x.shape[..batch], &i.shape[..batch]);
        return Err(violation(op, operands, rule, "they must be equal"));
    }
    if mode == IndexMode::Clamp && x.shape[axis].is(0) {
        let rule = format!("axis {axis} is empty");
        return Err(violation(op, operands, rule, "there is no index to clamp to").of(ViolationKind::Empty));
    }
    Ok(x.shape[..axis].iter().chain(&i.shape[batch..]).chain(&x.shape[axis + 1..]).cloned().collect())
}

/// What [`gathered`] could not see.
fn check(operands: &[&Type], Indexing { axis, mode, .. }: Indexing, dim: DimValues<'_>) -> Result<(), EvalError> {
    match mode {
        IndexMode::Clamp if dim(&operands[0].shape[axis])? == 0 => {
            Err(EvalError::Other(format!("axis {axis} is empty, there is no index to clamp to")))
        }
        _ => Ok(()),
    }
}

op_struct! {
    /// `result[b.., p.., i.., q..] = operand[b.., p.., indices[b.., i..], q..]`, where `b` are the leading `batch` axes
    /// and `p` the axes between them and `axis`.
    Gather = "gather" {
        /// The indexed axis of the operand.
        axis: usize,
        /// Leading axes shared by operand and indices.
        batch: usize,
        /// What an index out of range means.
        mode: IndexMode,
    }
}
impl OpDef for Gather {
    fn doc(&self) -> OpDoc {
        OpDoc {
            semantics: "Reads at computed positions: `result[b.., p.., i.., q..] = operand[b.., p.., indices[b.., i..], q..]`, where `b` are the first `batch` axes and `p` the axes between them and `axis`. An index out of range, or negative, in mode `error` fails the call, if an element of the result that is needed reads it; the first such element in row-major order is reported, or, where the reads are part of a larger kernel, the first in its order. In mode `clamp` the nearest index is used, in mode `fill` the result is 0 there.",
            constraints: &[
                "indices are integers",
                "`batch` is at most `axis`, and the rank of the indices",
                "batch extents are equal",
                "in mode `clamp` the axis is not empty",
            ],
            gradient: "The cotangent added at the positions that were read (`scatter_add`); where each batch has one index, selected by comparison instead. What was out of range gets none. Indices have none.",
            example: "gather [5, 6, 7]:f32[3], [2, 0]:i64[2] {axis = 0, batch = 0, mode = error} = [7, 5]",
        }
    }
    fn traits(&self) -> Traits {
        Traits { pure: true, commutative: false, fallible: self.mode == IndexMode::Error }
    }
    fn infer(&self, operands: &[&Type], _: &[RegionType]) -> Result<Types, Violation> {
        arity(self, operands, 2)?;
        one(operands[0].dtype, gathered(self, operands, self.at())?)
    }
    fn lowering(&self) -> Lowering {
        Lowering::Gather
    }
    fn indexing(&self) -> Option<Indexing> {
        Some(self.at())
    }
    fn unchecked(&self) -> Option<Primitive> {
        (self.mode == IndexMode::Error).then(|| Self { mode: IndexMode::Fill, ..self.clone() }.into())
    }
    fn check(&self, operands: &[&Type], dim: DimValues<'_>) -> Result<(), EvalError> {
        check(operands, self.at(), dim)
    }
    fn eval(&self, operands: &[&Literal], cx: &mut EvalContext<'_>) -> Result<SmallVec<[Literal; 1]>, EvalError> {
        let (x, i) = (operands[0], operands[1]);
        let mut at = Vec::with_capacity(cx.results[0].iter().product());
        walk(self.at(), x, i, |_, source| at.push(source))?;
        Ok(smallvec![pick_or(x, &cx.results[0], Scalar::of(x.dtype(), 0.0), at.into_iter())])
    }
    fn vjp(&self, b: &mut dyn Emit, cx: &VjpContext<'_>) -> Result<PerOperand, NotDifferentiable> {
        let (x, indices, ct) = (b.ty(cx.operands[0]).clone(), cx.operands[1], cx.cotangent());
        let zeros = b.full(Scalar::of(x.dtype, 0.0), &x.shape);
        if b.ty(indices).rank() != self.batch || self.mode == IndexMode::Error {
            let op = ScatterAdd { axis: self.axis, batch: self.batch, mode: self.mode };
            return Ok(smallvec![Some(b.emit(op.into(), &[zeros, indices, ct])), None]);
        }
        // One index for each batch: a comparison along the axis fuses with what is around it, a scatter does not.
        let indices = match (b.ty(indices).dtype, self.mode) {
            (_, IndexMode::Clamp) => clamped(b, indices, &x.shape[self.axis]),
            // No other counts as far as the positions go.
            (DType::I64 | DType::I32, _) => indices,
            _ => positions(b, indices),
        };
        let dtype = b.ty(indices).dtype;
        let leading: Axes = (0..self.batch).collect();
        let indices = b.broadcast_in_dim(indices, &x.shape, &leading);
        let positions = b.emit(Iota { dtype, shape: x.shape.clone(), axis: self.axis }.into(), &[]);
        let read = b.compare(Direction::Eq, positions, indices);
        let ct = b.broadcast_reduced(ct, &x.shape, &[self.axis]);
        Ok(smallvec![Some(b.select(read, ct, zeros)), None])
    }
    fn jvp(
        &self,
        b: &mut dyn Emit,
        operands: &[Value],
        _: &[Value],
        tangents: &[Option<Value>],
    ) -> Result<Option<Value>, NotDifferentiable> {
        Ok(tangents[0].map(|t| b.emit(self.clone().into(), &[t, operands[1]])))
    }
    fn batch(&self, b: &mut dyn Emit, operands: &[Value], axes: &[Option<usize>], size: &Dim) -> Value {
        match (axes[0], axes[1]) {
            (Some(_), None) => {
                // The extra axis stands between batch and indexed axis.
                let x = extra_axis_at(b, operands[0], axes[0], self.batch, size);
                let op = Gather { axis: self.axis + 1, ..self.clone() };
                let out = b.emit(op.into(), &[x, operands[1]]);
                extra_axis_at(b, out, Some(self.batch), 0, size)
            }
            (None, Some(_)) => {
                let indices = extra_axis_at(b, operands[1], axes[1], self.batch, size);
                let out = b.emit(self.clone().into(), &[operands[0], indices]);
                extra_axis_at(b, out, Some(self.axis), 0, size)
            }
            _ => {
                let both = [0, 1].map(|i| in_front(b, operands[i], axes[i], size));
                let op = Gather { axis: self.axis + 1, batch: self.batch + 1, mode: self.mode };
                b.emit(op.into(), &both)
            }
        }
    }
}

op_struct! {
    /// A copy of the first operand to which `updates[b.., p.., i.., q..]` is added at
    /// `[b.., p.., indices[b.., i..], q..]`, in row-major order of the updates. Operands: operand, indices, updates.
    ScatterAdd = "scatter_add" {
        /// The indexed axis of the operand.
        axis: usize,
        /// Leading axes shared by operand and indices.
        batch: usize,
        /// What an index out of range means.
        mode: IndexMode,
    }
}
impl OpDef for ScatterAdd {
    fn doc(&self) -> OpDoc {
        OpDoc {
            semantics: "A copy of the first operand to which `updates[b.., p.., i.., q..]` is added at `[b.., p.., indices[b.., i..], q..]`, one after the other in row-major order of the updates. 16-bit floats add in f32 and round once at the end. Modes are those of `gather`; in mode `fill` an update out of range is dropped.",
            constraints: &[
                "the operand is not bool",
                "indices are integers",
                "updates have the type that `gather` would give",
                "in mode `clamp` the axis is not empty",
            ],
            gradient: "The operand gets the cotangent, the updates a `gather` of it. Indices have none.",
            example: "scatter_add [0, 0]:f32[2], [1, 1]:i64[2], [3, 4]:f32[2] {axis = 0, batch = 0, mode = error} = [0, 7]",
        }
    }
    fn traits(&self) -> Traits {
        Traits { pure: true, commutative: false, fallible: self.mode == IndexMode::Error }
    }
    fn infer(&self, operands: &[&Type], _: &[RegionType]) -> Result<Types, Violation> {
        arity(self, operands, 3)?;
        dtype_is(self, operands, 0, |d| d != DType::Bool)?;
        let updates = Type::new(operands[0].dtype, gathered(self, operands, self.at())?);
        if *operands[2] != updates {
            let rule = format!("updates have type {}", operands[2]);
            return Err(violation(self, operands, rule, format!("they must have {updates}")));
        }
        one(operands[0].dtype, &operands[0].shape)
    }
    fn lowering(&self) -> Lowering {
        Lowering::Scatter
    }
    fn indexing(&self) -> Option<Indexing> {
        Some(self.at())
    }
    fn unchecked(&self) -> Option<Primitive> {
        (self.mode == IndexMode::Error).then(|| Self { mode: IndexMode::Fill, ..self.clone() }.into())
    }
    fn check(&self, operands: &[&Type], dim: DimValues<'_>) -> Result<(), EvalError> {
        check(operands, self.at(), dim)
    }
    fn eval(&self, operands: &[&Literal], _: &mut EvalContext<'_>) -> Result<SmallVec<[Literal; 1]>, EvalError> {
        let (x, i, updates) = (operands[0], operands[1], operands[2]);
        Ok(smallvec![with_number!(x.dtype(), T => {
            // Each update is an addition in the element type; 16-bit floats add in f32 and round once at the end.
            let mut sums: Vec<<T as Update>::Sum> = x.as_slice::<T>().iter().map(|&v| v.start()).collect();
            let updates = updates.as_slice::<T>();
            walk(self.at(), x, i, |from, to| {
                if let Some(to) = to {
                    sums[to] = <T as Update>::add(sums[to], updates[from]);
                }
            })?;
            Literal::from_vec(x.dims(), sums.into_iter().map(<T as Update>::end).collect())
        })])
    }
    fn vjp(&self, b: &mut dyn Emit, cx: &VjpContext<'_>) -> Result<PerOperand, NotDifferentiable> {
        let ct = cx.cotangent();
        let op = Gather { axis: self.axis, batch: self.batch, mode: self.mode };
        let updates = cx.wanted[2].then(|| b.emit(op.into(), &[ct, cx.operands[1]]));
        Ok(smallvec![cx.wanted[0].then_some(ct), None, updates])
    }
    fn jvp(
        &self,
        b: &mut dyn Emit,
        operands: &[Value],
        _: &[Value],
        tangents: &[Option<Value>],
    ) -> Result<Option<Value>, NotDifferentiable> {
        let Some(updates) = tangents[2] else { return Ok(tangents[0]) };
        let x = tangents[0].unwrap_or_else(|| b.full_like(operands[0], 0.0));
        Ok(Some(b.emit(self.clone().into(), &[x, operands[1], updates])))
    }
    fn batch(&self, b: &mut dyn Emit, operands: &[Value], axes: &[Option<usize>], size: &Dim) -> Value {
        if axes[1].is_none() {
            let x = extra_axis_at(b, operands[0], axes[0], self.batch, size);
            let updates = extra_axis_at(b, operands[2], axes[2], self.batch, size);
            let op = ScatterAdd { axis: self.axis + 1, ..self.clone() };
            let out = b.emit(op.into(), &[x, operands[1], updates]);
            return extra_axis_at(b, out, Some(self.batch), 0, size);
        }
        let all = [0, 1, 2].map(|i| in_front(b, operands[i], axes[i], size));
        let op = ScatterAdd { axis: self.axis + 1, batch: self.batch + 1, mode: self.mode };
        b.emit(op.into(), &all)
    }
    fn canonicalize(&self, b: &mut dyn Rewriter, operands: &[Value], _: &Type) -> Option<Value> {
        // No updates, and so no index that could be out of range.
        if b.ty(operands[2]).shape.iter().any(|d| d.is(0)) {
            return Some(operands[0]);
        }
        self.one_hot(b, operands)
    }
}

impl ScatterAdd {
    /// A single update per batch into what is the same everywhere, as in the gradient of cross entropy: each element
    /// asks whether it is meant, and nothing has to be in memory.
    fn one_hot(&self, b: &mut dyn Rewriter, operands: &[Value]) -> Option<Value> {
        let &[x, indices, updates] = operands else { return None };
        let single = b.ty(indices).shape[self.batch..].iter().all(|d| d.is(1));
        if self.mode != IndexMode::Fill || !single || b.splat(x).is_none() {
            return None;
        }
        let shape = b.ty(x).shape.clone();
        let batch: Axes = (0..self.batch).collect();
        let others: Axes = (0..shape.rank()).filter(|&a| a != self.axis).collect();
        let picked = |axes: &Axes| axes.iter().map(|&a| shape[a].clone()).collect::<Shape>();
        let indices = b.reshape(indices, &picked(&batch));
        let indices = positions(b, indices);
        let indices = b.broadcast_in_dim(indices, &shape, &batch);
        let position = b.emit(Iota { dtype: DType::I64, shape: shape.clone(), axis: self.axis }.into(), &[]);
        let meant = b.compare(Direction::Eq, position, indices);
        let updates = b.reshape(updates, &picked(&others));
        let updates = b.broadcast_in_dim(updates, &shape, &others);
        let sum = b.add(x, updates);
        Some(b.select(meant, sum, x))
    }
}

/// Visits the result positions of a gather in row-major order, with the position in the operand that each reads,
/// `None` for a dropped one.
fn walk(
    Indexing { axis, batch, mode }: Indexing,
    x: &Literal,
    indices: &Literal,
    mut visit: impl FnMut(usize, Option<usize>),
) -> Result<(), EvalError> {
    let product = |dims: &[usize]| dims.iter().product::<usize>();
    let (batches, before) = (product(&x.dims()[..batch]), product(&x.dims()[batch..axis]));
    let (extent, after) = (x.dims()[axis], product(&x.dims()[axis + 1..]));
    let each = product(&indices.dims()[batch..]);
    let mut at = 0;
    for row in 0..batches * before {
        for i in 0..each {
            for inner in 0..after {
                let index = indices.get(row / before * each + i).as_position();
                let inside = (0..extent as i64).contains(&index);
                let index = match mode {
                    _ if inside => Some(index as usize),
                    IndexMode::Error => return Err(EvalError::IndexOutOfRange { index, axis, extent }),
                    IndexMode::Clamp => Some(index.clamp(0, extent as i64 - 1) as usize),
                    IndexMode::Fill => None,
                };
                visit(at, index.map(|index| (row * extent + index) * after + inner));
                at += 1;
            }
        }
    }
    Ok(())
}

/// How updates add up: in the element type, one after the other.
trait Update: Number {
    type Sum: Copy;
    fn start(self) -> Self::Sum;
    fn add(sum: Self::Sum, v: Self) -> Self::Sum;
    fn end(sum: Self::Sum) -> Self;
}
macro_rules! updates {
    ($($t:ty, $sum:ty, $start:expr, $add:expr, $end:expr;)*) => { $(impl Update for $t {
        type Sum = $sum;
        fn start(self) -> $sum { $start(self) }
        fn add(sum: $sum, v: $t) -> $sum { $add(sum, $start(v)) }
        fn end(sum: $sum) -> $t { $end(sum) }
    })* };
}
updates! {
    f64, f64, |x| x, |a, b| a + b, |x| x;
    f32, f32, |x| x, |a, b| a + b, |x| x;
    f16, f32, f16::to_f32, |a, b| a + b, f16::from_f32;
    bf16, f32, bf16::to_f32, |a, b| a + b, bf16::from_f32;
    i64, i64, |x| x, i64::wrapping_add, |x| x;
    i32, i32, |x| x, i32::wrapping_add, |x| x;
    i16, i16, |x| x, i16::wrapping_add, |x| x;
    i8, i8, |x| x, i8::wrapping_add, |x| x;
    u64, u64, |x| x, u64::wrapping_add, |x| x;
    u32, u32, |x| x, u32::wrapping_add, |x| x;
    u16, u16, |x| x, u16::wrapping_add, |x| x;
    u8, u8, |x| x, u8::wrapping_add, |x| x;
}

impl Gather {
    fn at(&self) -> Indexing {
        Indexing { axis: self.axis, batch: self.batch, mode: self.mode }
    }
}
impl ScatterAdd {
    fn at(&self) -> Indexing {
        Indexing { axis: self.axis, batch: self.batch, mode: self.mode }
    }
}

/// Integers as i64, where a u64 beyond that becomes the largest.
fn positions(b: &mut (impl Emit + ?Sized), indices: Value) -> Value {
    let mut indices = indices;
    if b.ty(indices).dtype == DType::U64 {
        let most = b.full(Scalar::I64(i64::MAX).convert(DType::U64), &b.ty(indices).shape.clone());
        indices = b.min(indices, most);
    }
    b.convert(indices, DType::I64)
}

/// Indices as i64, moved into `0..extent`.
fn clamped(b: &mut dyn Emit, indices: Value, extent: &Dim) -> Value {
    let indices = positions(b, indices);
    let shape = b.ty(indices).shape.clone();
    let last = match (extent - 1).known() {
        Some(n) => b.full(Scalar::I64(n), &shape),
        None => {
            let last = b.dim_value(&(extent - 1));
            b.broadcast_in_dim(last, &shape, &[])
        }
    };
    let first = b.full(Scalar::I64(0), &shape);
    let below = b.min(indices, last);
    b.max(below, first)
}

/// Calls with (axis, batch, mode, operand, indices), for both ops.
fn calls() -> Vec<(Indexing, Literal, Literal)> {
    use IndexMode::*;
    let at = |axis, batch, mode| Indexing { axis, batch, mode };
    let x = |dims: &[usize]| values(DType::F64, dims);
    let i = |dims: &[usize], data: &[i64]| Literal::from_vec(dims, data.to_vec());
    let mut all = vec![
        (at(0, 0, Error), x(&[4]), i(&[3], &[2, 0, 2])),
        (at(0, 0, Error), x(&[4, 3]), i(&[2], &[3, 1])),
        (at(1, 0, Error), x(&[2, 4]), i(&[3], &[1, 1, 0])),
        (at(0, 0, Error), x(&[3, 2]), i(&[2, 2], &[0, 1, 2, 0])),
        (at(0, 0, Error), x(&[3, 2]), i(&[], &[1])),
        (at(1, 1, Error), x(&[2, 3]), i(&[2], &[2, 0])),
        (at(1, 1, Error), x(&[2, 3, 2]), i(&[2, 2], &[2, 0, 1, 1])),
        (at(2, 1, Error), x(&[2, 2, 3]), i(&[2], &[2, 0])),
        (at(2, 1, Error), x(&[2, 2, 3, 2]), i(&[2, 1], &[1, 2])),
        (at(0, 0, Clamp), x(&[3, 2]), i(&[4], &[-1, 1, 3, i64::MAX])),
        (at(0, 0, Fill), x(&[3, 2]), i(&[4], &[-1, 1, 3, i64::MIN])),
        (at(1, 1, Clamp), x(&[3, 2]), i(&[3], &[-5, 1, 7])),
        (at(1, 1, Fill), x(&[3, 2]), i(&[3], &[-5, 1, 7])),
        (at(0, 0, Error), x(&[3, 2]), i(&[0], &[])),
        (at(0, 0, Error), x(&[0, 2]), i(&[0], &[])),
        (at(0, 0, Error), x(&[3, 0]), i(&[2], &[0, 9])),
        (at(0, 0, Fill), x(&[0]), i(&[2], &[0, 1])),
    ];
    for dtype in [DType::U8, DType::I32] {
        let narrow = |l: Literal| Literal::from_fn(l.dims(), dtype, |k| l.get(k).convert(dtype));
        all.push((at(0, 0, Error), x(&[4]), narrow(i(&[3], &[2, 0, 2]))));
        all.push((at(1, 1, Fill), x(&[2, 300]), narrow(i(&[2], &[255, 4]))));
    }
    all
}

/// Element types with odd values, for a gather or scatter of rows.
fn odd_calls(legal: impl Fn(DType) -> bool) -> impl Iterator<Item = (Indexing, Literal, Literal)> {
    let at = Indexing { axis: 0, batch: 0, mode: IndexMode::Error };
    let indices = Literal::from_vec(&[5], vec![11i32, 0, 3, 3, 5]);
    DType::ALL.into_iter().filter(move |&d| legal(d)).map(move |d| (at, odd(d, &[12]), indices.clone()))
}

/// Calls that both ops refuse, with what the operand and the indices are.
fn bad_calls() -> Vec<(Indexing, Type, Type, &'static str)> {
    let at = |axis, batch, mode| Indexing { axis, batch, mode };
    let x = |dims: &[usize]| Type::new(DType::F32, dims);
    let i = |dims: &[usize]| Type::new(DType::I64, dims);
    use IndexMode::*;
    vec![
        (at(0, 0, Error), x(&[3]), x(&[2]), "operand 1 has dtype f32"),
        (at(0, 0, Error), x(&[3]), Type::new(DType::Bool, [2]), "operand 1 has dtype bool"),
        (at(1, 0, Error), x(&[3]), i(&[2]), "axis 1 does not exist"),
        (at(0, 1, Error), x(&[3]), i(&[3]), "1 batch axes with axis 0"),
        (at(1, 1, Error), x(&[3, 2]), i(&[]), "indices of rank 0"),
        (at(1, 1, Error), x(&[3, 2]), i(&[4]), "batch extents [3] and [4]"),
        (at(0, 0, Clamp), x(&[0]), i(&[2]), "axis 0 is empty"),
    ]
}

impl From<Indexing> for Gather {
    fn from(Indexing { axis, batch, mode }: Indexing) -> Gather {
        Gather { axis, batch, mode }
    }
}
impl From<Indexing> for ScatterAdd {
    fn from(Indexing { axis, batch, mode }: Indexing) -> ScatterAdd {
        ScatterAdd { axis, batch, mode }
    }
}

impl OpSamples for Gather {
    fn samples() -> Vec<Sample> {
        let calls = calls().into_iter().chain(odd_calls(|_| true));
        calls.map(|(at, x, i)| sample(Gather::from(at), &[x, i])).collect()
    }
    fn bad_samples() -> Vec<BadSample> {
        let mut all =
            vec![bad(Gather { axis: 0, batch: 0, mode: IndexMode::Error }, [&[2]], "takes 2 operands, not 1")];
        all.extend(bad_calls().into_iter().map(|(at, x, i, message)| bad_types(Gather::from(at), vec![x, i], message)));
        all
    }
}

impl OpSamples for ScatterAdd {
    fn samples() -> Vec<Sample> {
        let calls = calls().into_iter().chain(odd_calls(|d| d != DType::Bool));
        let call = |(at, x, i): (Indexing, Literal, Literal)| {
            let updates = gathered(&Gather::from(at), &[&x.ty(), &i.ty()], at).expect("a legal call");
            let updates = values(x.dtype(), &updates.known().expect("extents of literals"));
            sample(ScatterAdd::from(at), &[x, i, updates])
        };
        calls.map(call).collect()
    }
    fn bad_samples() -> Vec<BadSample> {
        let op = ScatterAdd { axis: 0, batch: 0, mode: IndexMode::Error };
        let with = |d: DType, updates: &[usize]| {
            vec![Type::new(d, [3]), Type::new(DType::I64, [2]), Type::new(DType::F32, updates)]
        };
        let mut all = vec![
            bad(op.clone(), [&[2]], "takes 3 operands, not 1"),
            bad_types(op.clone(), with(DType::Bool, &[2]), "operand 0 has dtype bool"),
            bad_types(op.clone(), with(DType::F32, &[3]), "updates have type f32[3]"),
            bad_types(op, with(DType::I32, &[2]), "updates have type f32[2]"),
        ];
        let updates = Type::new(DType::F32, [2]);
        all.extend(
            bad_calls()
                .into_iter()
                .map(|(at, x, i, message)| bad_types(ScatterAdd::from(at), vec![x, i, updates.clone()], message)),
        );
        all
    }
}
