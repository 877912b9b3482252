//! Matrix products.

use super::broadcast::common_shape;
use super::prim;
use crate::dispatch::{Call, Extents, checked, run};
use crate::error::{Code, Error};
use crate::promote::promote;
use crate::tensor::Tensor;
use crate::trace::record;
use ir::ops::contract::DotGeneral;
use ir::{Axes, DType, Shape};

impl Tensor {
    /// The matrix product, as NumPy's `@`: of the last two axes, with the axes before them broadcast; an operand of
    /// rank 1 is a row on the left and a column on the right, whose axis falls away.
    ///
    /// ```
    /// use tracewright::{DType, Tensor};
    /// let (a, b) = (Tensor::ones([5, 2, 3], DType::F32), Tensor::ones([3, 4], DType::F32));
    /// assert_eq!(a.matmul(&b).shape().to_string(), "[5, 2, 4]");
    /// ```
    #[track_caller]
    pub fn matmul(&self, other: &Tensor) -> Tensor {
        self.multiplied("matmul", other)
    }

    /// The matrix product, under the name of the op that asks for it.
    #[track_caller]
    pub(super) fn multiplied(&self, name: &'static str, other: &Tensor) -> Tensor {
        let operands = [self, other];
        checked(&operands, || {
            check(name, self, other)?;
            let dtype = promote(self.dtype(), other.dtype());
            Ok(run(Call::plain(name, &[], Extents::Symbolic), &operands, &|t| {
                product(&prim::cast(&t[0], dtype), &prim::cast(&t[1], dtype))
            }))
        })
    }
}

fn check(name: &'static str, x: &Tensor, y: &Tensor) -> Result<(), Error> {
    let (a, b) = (x.shape(), y.shape());
    if a.rank() == 0 || b.rank() == 0 {
        return Err(Error::new(Code::Rank, name, "an operand is a scalar", "at least one axis each; or use `*`"));
    }
    numbers(name, &[x, y])?;
    let (k, l) = (&a[a.rank() - 1], &b[b.rank().saturating_sub(2)]);
    if k != l {
        let rule = format!(
            "the last axis of the left operand has extent {k}, {} of the right has {l}",
            if b.rank() == 1 { "the axis" } else { "the axis before the last" }
        );
        return Err(Error::new(Code::Shape, name, rule, "both are equal"));
    }
    let batch = |s: &Shape| Shape::from(&s[..s.rank().saturating_sub(2)]);
    common_shape(name, [&batch(&a), &batch(&b)].into_iter()).map(drop)
}

/// An error if the common dtype is bool, of which there are no products.
pub(super) fn numbers(name: &'static str, operands: &[&Tensor]) -> Result<(), Error> {
    match operands.iter().map(|t| t.dtype()).reduce(promote) {
        Some(DType::Bool) if operands.len() == 2 => {
            Err(Error::new(Code::DType, name, "both operands are bool", "numbers; convert with to_dtype"))
        }
        Some(DType::Bool) => Err(Error::new(Code::DType, name, "operands are bool", "numbers; convert with to_dtype")),
        _ => Ok(()),
    }
}

fn product(x: &Tensor, y: &Tensor) -> Tensor {
    let (a, b) = (x.ty().shape, y.ty().shape);
    let batch_of = |s: &Shape| Shape::from(&s[..s.rank().saturating_sub(2)]);
    let (ab, bb) = (batch_of(&a), batch_of(&b));
    let right_contract = b.rank().saturating_sub(2);
    if bb.rank() == 0 || b.rank() == 1 {
        // Any left operand with one matrix or vector: no batch axes are needed.
        return dot(x, y, 0, a.rank() - 1, right_contract);
    }
    let Ok(batch) = common_shape("matmul", [&ab, &bb].into_iter()) else { unreachable!("checked before") };
    if bb.iter().all(|d| d.is(1)) {
        // One matrix for all, which need not be repeated.
        let y = prim::reshape(y, &Shape::from(&b[b.rank() - 2..]));
        let rest = &a[a.rank().saturating_sub(2)..a.rank() - 1];
        let shape = batch.iter().chain(rest).chain(&b[b.rank() - 1..]).cloned().collect();
        return prim::reshape(&dot(x, &y, 0, a.rank() - 1, 0), &shape);
    }
    let with = |t: &Tensor, s: &Shape, matrix: usize| {
        let full: Shape = batch.iter().chain(&s[s.rank() - matrix..]).cloned().collect();
        prim::broadcast(t, &full)
    };
    let n = batch.rank();
    if a.rank() == 1 {
        // Vector times matrices: the right operand leads, and its columns are what is left.
        return dot(x, y, 0, 0, right_contract);
    }
    dot(&with(x, &a, 2), &with(y, &b, 2), n, n + 1, n)
}

fn dot(x: &Tensor, y: &Tensor, batch: usize, left: usize, right: usize) -> Tensor {
    let batch: Axes = (0..batch).collect();
    let (lhs_contract, rhs_contract) = (Axes::from_slice(&[left]), Axes::from_slice(&[right]));
    record(DotGeneral { lhs_batch: batch.clone(), rhs_batch: batch, lhs_contract, rhs_contract }, &[x, y])
}
