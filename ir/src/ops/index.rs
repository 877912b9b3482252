//! Reads and updates at computed indices.

mod scatter;

pub use scatter::{Scatter, Update};

use super::attribute::{op_struct, word_attribute};
use super::batching::{extra_axis_at, in_front};
use super::binary::Direction;
use super::create::Iota;
use super::elements::pick_or;
use super::rules::{arity, dtype_is, one, valid_axes, violation};
use super::samples::{bad, bad_types, odd, sample, values};
use super::{
    BadSample, DimValues, Emit, EmitExt, EvalContext, Indexing, Lowering, OpDef, OpDoc, OpSamples, PerOperand, Sample,
    Traits, Types, VjpContext,
};
use crate::Primitive;
use crate::graph::RegionType;
use crate::graph::Value;
use crate::{Axes, DType, Dim, EvalError, Literal, NotDifferentiable, Scalar, Shape, Type, Violation, ViolationKind};
use serde::{Deserialize, Serialize};
use smallvec::{SmallVec, smallvec};

/// What these ops are.
pub(super) const FAMILY: &str = "Reads and updates at computed indices";

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
        return Err(nothing_to_clamp_to(op, operands, axis));
    }
    Ok(x.shape[..axis].iter().chain(&i.shape[batch..]).chain(&x.shape[axis + 1..]).cloned().collect())
}

/// What [`gathered`] could not see.
fn check(
    op: &dyn OpDef,
    operands: &[&Type],
    Indexing { axis, mode, .. }: Indexing,
    dim: DimValues<'_>,
) -> Result<(), EvalError> {
    match mode {
        IndexMode::Clamp if dim(&operands[0].shape[axis])? == 0 => Err(nothing_to_clamp_to(op, operands, axis).into()),
        _ => Ok(()),
    }
}

fn nothing_to_clamp_to(op: &dyn OpDef, operands: &[&Type], axis: usize) -> Violation {
    let rule = format!("axis {axis} is empty");
    violation(op, operands, rule, "there is no index to clamp to").of(ViolationKind::Empty)
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
            gradient: "The cotangent added at the positions that were read (`scatter`); where each batch has one index, selected by comparison instead. What was out of range gets none. Indices have none.",
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
        check(self, operands, self.at(), dim)
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
            let op = Scatter { axis: self.axis, batch: self.batch, mode: self.mode, combine: Update::Add };
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
                let index = indices.get(row / before * each + i).as_i128().expect("indices are integers");
                let inside = (0..extent as i128).contains(&index);
                let index = match mode {
                    _ if inside => Some(index as usize),
                    IndexMode::Error => return Err(EvalError::IndexOutOfRange { index, axis, extent }),
                    IndexMode::Clamp => Some(index.clamp(0, extent as i128 - 1) as usize),
                    IndexMode::Fill => None,
                };
                visit(at, index.map(|index| (row * extent + index) * after + inner));
                at += 1;
            }
        }
    }
    Ok(())
}

impl Gather {
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
