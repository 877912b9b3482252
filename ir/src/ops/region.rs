//! Ops with regions.

use super::attribute::{op_struct, word_attribute};
use super::pending::{pending_rest, pending_samples};
use super::rules::violation;
use super::{EvalContext, Lowering, OpDef, Types};
use crate::graph::RegionType;
use crate::{EvalError, Literal, Type, Violation};
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

/// What shape of kernel a fused group becomes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum FusionKind {
    /// One loop over result elements.
    Loop,
    /// Reductions and what surrounds them, around one iteration space.
    Reduce,
    /// Several independent groups that share a launch.
    Many,
}
word_attribute!(FusionKind { Loop = "loop", Reduce = "reduce", Many = "many" });

op_struct! {
    /// A group that becomes one kernel. Its region is ordinary IR: parameters are the operands, yields the results.
    Fused = "fused" {
        /// The shape of the kernel.
        kind: FusionKind,
    }
}
impl OpDef for Fused {
    fn infer(&self, operands: &[&Type], regions: &[RegionType]) -> Result<Types, Violation> {
        let [body] = regions else {
            return Err(violation(self, operands, format!("{} regions", regions.len()), "exactly one"));
        };
        if body.params.len() != operands.len() || body.params.iter().zip(operands).any(|(p, o)| p != *o) {
            let rule = format!("the region's parameters are {:?}", body.params);
            return Err(violation(self, operands, rule, "they must be the operands' types"));
        }
        Ok(body.yields.iter().cloned().collect())
    }
    fn lowering(&self) -> Lowering {
        Lowering::Fused
    }
    fn eval(&self, operands: &[&Literal], cx: &mut EvalContext<'_>) -> Result<SmallVec<[Literal; 1]>, EvalError> {
        let operands: Vec<Literal> = operands.iter().map(|&x| x.clone()).collect();
        Ok((cx.region)(0, &operands)?.into())
    }
    pending_rest!();
}
pending_samples!(Fused);
