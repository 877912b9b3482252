//! Reads and updates at computed indices.

use super::attribute::{op_struct, word_attribute};
use super::pending::{pending, pending_samples};
use super::rules::{arity, dtype_is, one, valid_axes, violation};
use super::{Indexing, Lowering, OpDef, Traits, Types};
use crate::graph::RegionType;
use crate::{DType, Shape, Type, Violation};
use serde::{Deserialize, Serialize};

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
    pending!();
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
    pending!();
}
pending_samples!(Gather, ScatterAdd);
