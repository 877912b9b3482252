//! Generalised matrix products.

use super::attribute::op_struct;
use super::elements::{offsets, signed_strides};
use super::numeric::{Number, with_number};
use super::pending::{pending_rest, pending_samples};
use super::rules::{arity, dtype_is, one, valid_axes, violation};
use super::{ContractAxes, EvalContext, Lowering, OpDef, Types};
use crate::graph::RegionType;
use crate::{Axes, DType, EvalError, Literal, Shape, Type, Violation};
use smallvec::{SmallVec, smallvec};

op_struct! {
    /// Sums products over pairs of axes. The result's axes: batch, then what is left of the left operand, then of the right.
    DotGeneral = "dot_general" {
        /// Batch axes of the left operand.
        lhs_batch: Axes,
        /// Batch axes of the right operand, paired with the left ones.
        rhs_batch: Axes,
        /// Summed axes of the left operand.
        lhs_contract: Axes,
        /// Summed axes of the right operand, paired with the left ones.
        rhs_contract: Axes,
    }
}
impl OpDef for DotGeneral {
    fn infer(&self, operands: &[&Type], _: &[RegionType]) -> Result<Types, Violation> {
        arity(self, operands, 2)?;
        let (x, y) = (operands[0], operands[1]);
        dtype_is(self, operands, 0, |d| d != DType::Bool)?;
        if x.dtype != y.dtype {
            let rule = format!("operands have dtypes {} and {}", x.dtype, y.dtype);
            return Err(violation(self, operands, rule, "both must be the same; convert one of them"));
        }
        let left: Axes = self.lhs_batch.iter().chain(&self.lhs_contract).copied().collect();
        let right: Axes = self.rhs_batch.iter().chain(&self.rhs_contract).copied().collect();
        valid_axes(self, operands, &left, x.rank())?;
        valid_axes(self, operands, &right, y.rank())?;
        if self.lhs_batch.len() != self.rhs_batch.len() || left.len() != right.len() {
            return Err(violation(self, operands, "axes of the operands do not pair up", "as many on each side"));
        }
        for (&a, &b) in left.iter().zip(&right) {
            if x.shape[a] != y.shape[b] {
                let rule = format!(
                    "axis {a} of the left operand has extent {}, axis {b} of the right {}",
                    x.shape[a], y.shape[b]
                );
                return Err(violation(self, operands, rule, "paired axes have one extent"));
            }
        }
        let batch = self.lhs_batch.iter().map(|&a| x.shape[a].clone());
        let shape: Shape = batch.chain(x.shape.without(&left).0).chain(y.shape.without(&right).0).collect();
        one(x.dtype, shape)
    }
    fn lowering(&self) -> Lowering {
        Lowering::Contract
    }
    fn contract_axes(&self) -> Option<ContractAxes> {
        Some(ContractAxes {
            batch: [self.lhs_batch.clone(), self.rhs_batch.clone()],
            contract: [self.lhs_contract.clone(), self.rhs_contract.clone()],
        })
    }
    fn eval(&self, operands: &[&Literal], cx: &mut EvalContext<'_>) -> Result<SmallVec<[Literal; 1]>, EvalError> {
        let (x, y) = (operands[0], operands[1]);
        let (x_free, y_free) = self.free_axes(x.rank(), y.rank());
        let offsets = |of: &Literal, axes: &[usize]| -> Vec<usize> {
            let strides = signed_strides(of.dims());
            let dims: Axes = axes.iter().map(|&a| of.dims()[a]).collect();
            let strides: SmallVec<[isize; 4]> = axes.iter().map(|&a| strides[a]).collect();
            offsets(&dims, &strides, 0).collect()
        };
        let sides =
            [(x, &self.lhs_batch, &x_free, &self.lhs_contract), (y, &self.rhs_batch, &y_free, &self.rhs_contract)];
        let [x_at, y_at] = sides.map(|(v, b, f, c)| [offsets(v, b), offsets(v, f), offsets(v, c)]);
        Ok(smallvec![with_number!(x.dtype(), T => contract::<T>(x, &x_at, y, &y_at, &cx.results[0]))])
    }
    pending_rest!();
}
pending_samples!(DotGeneral);

impl DotGeneral {
    /// The axes of each operand that are neither batch axes nor summed, for operands of those ranks.
    pub fn free_axes(&self, lhs: usize, rhs: usize) -> (Axes, Axes) {
        let free =
            |rank, batch: &Axes, sum: &Axes| (0..rank).filter(|a| !batch.contains(a) && !sum.contains(a)).collect();
        (free(lhs, &self.lhs_batch, &self.lhs_contract), free(rhs, &self.rhs_batch, &self.rhs_contract))
    }
}

/// The product, given the offsets of each operand's batch, free and summed positions.
fn contract<T: Number>(
    x: &Literal,
    x_at: &[Vec<usize>; 3],
    y: &Literal,
    y_at: &[Vec<usize>; 3],
    dims: &[usize],
) -> Literal {
    let (x, y) = (x.as_slice::<T>(), y.as_slice::<T>());
    let mut out = Vec::with_capacity(dims.iter().product());
    for (xb, yb) in x_at[0].iter().zip(&y_at[0]) {
        for xf in &x_at[1] {
            for yf in &y_at[1] {
                let sum = x_at[2].iter().zip(&y_at[2]).fold(T::UNITS[0], |sum, (xs, ys)| {
                    T::add(sum, T::mul(x[xb + xf + xs].widen(), y[yb + yf + ys].widen()))
                });
                out.push(T::narrow(sum));
            }
        }
    }
    Literal::from_vec(dims, out)
}
