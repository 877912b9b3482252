//! Generalised matrix products.

use super::attribute::op_struct;
use super::pending::{pending, pending_samples};
use super::rules::{arity, dtype_is, one, valid_axes, violation};
use super::{ContractAxes, Lowering, OpDef, Types};
use crate::graph::RegionType;
use crate::{Axes, DType, Shape, Type, Violation};

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
    pending!();
}
pending_samples!(DotGeneral);
