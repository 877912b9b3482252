//! Accumulators: in the order of iterations, or over virtual lanes and then as a tree.

use super::scalar::{binary, compare};
use crate::kernel::{BinaryOp, Combine, CompareOp, LANES, LoopKind};
use crate::{DType, Scalar};
use smallvec::SmallVec;

/// A value, and for the arg-reductions its position.
pub(super) type Value = SmallVec<[Scalar; 2]>;

/// The lanes of one accumulator while its loop runs; a serial loop has one.
pub(super) struct Lanes {
    how: Combine,
    lanes: Vec<Value>,
}

impl Lanes {
    pub fn new(how: Combine, kind: LoopKind, types: &[DType]) -> Self {
        let n = if kind == LoopKind::Lanes { LANES } else { 1 };
        Lanes { how, lanes: vec![identity(how, types); n] }
    }
    /// Takes what an iteration contributes; iterations come in order.
    pub fn take(&mut self, iteration: i64, value: Value) {
        let lane = iteration as usize % self.lanes.len();
        let lane = &mut self.lanes[lane];
        *lane = combine(self.how, std::mem::take(lane), value);
    }
    /// Folds the lanes: the upper half into the lower, until one is left.
    pub fn finish(mut self) -> Value {
        while self.lanes.len() > 1 {
            let upper = self.lanes.split_off(self.lanes.len() / 2);
            for (lane, value) in self.lanes.iter_mut().zip(upper) {
                *lane = combine(self.how, std::mem::take(lane), value);
            }
        }
        self.lanes.remove(0)
    }
}

fn identity(how: Combine, types: &[DType]) -> Value {
    let value = match how {
        Combine::Sum => Scalar::zero(types[0]),
        Combine::Product => Scalar::one(types[0]),
        Combine::Max | Combine::ArgMax => Scalar::lowest(types[0]),
        Combine::Min | Combine::ArgMin => Scalar::highest(types[0]),
        Combine::Any => Scalar::Bool(false),
        Combine::All => Scalar::Bool(true),
    };
    if how.arity() == 2 { Value::from_slice(&[value, Scalar::I64(i64::MAX)]) } else { Value::from_slice(&[value]) }
}

fn combine(how: Combine, a: Value, b: Value) -> Value {
    let op = match how {
        Combine::Sum => BinaryOp::Add,
        Combine::Product => BinaryOp::Mul,
        Combine::Max => BinaryOp::Max,
        Combine::Min => BinaryOp::Min,
        Combine::Any => BinaryOp::Or,
        Combine::All => BinaryOp::And,
        Combine::ArgMax => return if wins(CompareOp::Gt, &b, &a) { b } else { a },
        Combine::ArgMin => return if wins(CompareOp::Lt, &b, &a) { b } else { a },
    };
    Value::from_slice(&[binary(op, a[0], b[0]).expect("the verifier checks types of accumulators")])
}

/// Whether `a` stands before `b`: NaN before all, then by value, then the smaller position.
fn wins(better: CompareOp, a: &Value, b: &Value) -> bool {
    let holds = |op, x, y| compare(op, x, y).expect("the verifier checks types of accumulators");
    let nan = |v: &Value| holds(CompareOp::Ne, v[0], v[0]);
    match (nan(a), nan(b)) {
        (true, false) => true,
        (false, true) => false,
        (false, false) if holds(CompareOp::Ne, a[0], b[0]) => holds(better, a[0], b[0]),
        _ => a[1].as_i64() < b[1].as_i64(),
    }
}
