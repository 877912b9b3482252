//! Reads and updates at computed indices.

use super::attribute::{op_struct, word_attribute};
use super::elements::pick_or;
use super::numeric::{Number, with_number};
use super::pending::{pending_rest, pending_samples};
use super::rules::{arity, dtype_is, one, valid_axes, violation};
use super::{EvalContext, Indexing, Lowering, OpDef, Traits, Types};
use crate::graph::RegionType;
use crate::{DType, EvalError, Literal, Scalar, Shape, Type, Violation};
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
fn gathered(op: &dyn OpDef, operands: &[&Type], axis: usize, batch: usize) -> Result<Shape, Violation> {
    let (x, i) = (operands[0], operands[1]);
    dtype_is(op, operands, 1, DType::is_int)?;
    valid_axes(op, operands, &[axis], x.rank())?;
    if batch > axis || batch > i.rank() {
        let rule = format!("{batch} batch axes with axis {axis} and indices of rank {}", i.rank());
        return Err(violation(op, operands, rule, "batch axes come before the indexed axis, in both operands"));
    }
    if x.shape[..batch] != i.shape[..batch] {
        let rule = format!("batch extents {:?} and {:?}", &x.shape[..batch], &i.shape[..batch]);
        return Err(violation(op, operands, rule, "they must be equal"));
    }
    Ok(x.shape[..axis].iter().chain(&i.shape[batch..]).chain(&x.shape[axis + 1..]).cloned().collect())
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
    fn traits(&self) -> Traits {
        Traits { pure: true, commutative: false, fallible: self.mode == IndexMode::Error }
    }
    fn infer(&self, operands: &[&Type], _: &[RegionType]) -> Result<Types, Violation> {
        arity(self, operands, 2)?;
        one(operands[0].dtype, gathered(self, operands, self.axis, self.batch)?)
    }
    fn lowering(&self) -> Lowering {
        Lowering::Gather
    }
    fn indexing(&self) -> Option<Indexing> {
        Some(Indexing { axis: self.axis, batch: self.batch, mode: self.mode })
    }
    fn eval(&self, operands: &[&Literal], cx: &mut EvalContext<'_>) -> Result<SmallVec<[Literal; 1]>, EvalError> {
        let (x, i) = (operands[0], operands[1]);
        let mut at = Vec::with_capacity(cx.results[0].iter().product());
        walk(self.axis, self.batch, self.mode, x, i, |_, source| at.push(source))?;
        Ok(smallvec![pick_or(x, &cx.results[0], Scalar::of(x.dtype(), 0.0), at.into_iter())])
    }
    pending_rest!();
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
    fn traits(&self) -> Traits {
        Traits { pure: true, commutative: false, fallible: self.mode == IndexMode::Error }
    }
    fn infer(&self, operands: &[&Type], _: &[RegionType]) -> Result<Types, Violation> {
        arity(self, operands, 3)?;
        dtype_is(self, operands, 0, |d| d != DType::Bool)?;
        let updates = Type::new(operands[0].dtype, gathered(self, operands, self.axis, self.batch)?);
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
        Some(Indexing { axis: self.axis, batch: self.batch, mode: self.mode })
    }
    fn eval(&self, operands: &[&Literal], _: &mut EvalContext<'_>) -> Result<SmallVec<[Literal; 1]>, EvalError> {
        let (x, i, updates) = (operands[0], operands[1], operands[2]);
        Ok(smallvec![with_number!(x.dtype(), T => {
            // Each update is an addition in the element type; 16-bit floats add in f32 and round once at the end.
            let mut sums: Vec<<T as Update>::Sum> = x.as_slice::<T>().iter().map(|&v| v.start()).collect();
            let updates = updates.as_slice::<T>();
            walk(self.axis, self.batch, self.mode, x, i, |from, to| {
                if let Some(to) = to {
                    sums[to] = <T as Update>::add(sums[to], updates[from]);
                }
            })?;
            Literal::from_vec(x.dims(), sums.into_iter().map(<T as Update>::end).collect())
        })])
    }
    pending_rest!();
}
pending_samples!(Gather, ScatterAdd);

/// Visits the result positions of a gather in row-major order, with the position in the operand that each reads,
/// `None` for a dropped one.
fn walk(
    axis: usize,
    batch: usize,
    mode: IndexMode,
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
                let index = indices.get(row / before * each + i).as_i64();
                let inside = (0..extent as i64).contains(&index);
                let index = match mode {
                    _ if inside => Some(index as usize),
                    IndexMode::Error => return Err(EvalError::IndexOutOfRange { index, axis, extent }),
                    IndexMode::Clamp if extent == 0 => {
                        return Err(EvalError::Other("no index to clamp to in an empty axis".into()));
                    }
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
    u8, u8, |x| x, u8::wrapping_add, |x| x;
}
