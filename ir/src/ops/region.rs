//! Ops with regions.

use super::attribute::{op_struct, word_attribute};
use super::rules::violation;
use super::samples::bad;
use super::{BadSample, Emit, EvalContext, Lowering, OpDef, OpDoc, OpSamples, PerOperand, Sample, Types, VjpContext};
use crate::graph::RegionType;
use crate::graph::Value;
use crate::{Dim, EvalError, Literal, NotDifferentiable, Type, Violation};
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

/// What these ops are.
pub(super) const FAMILY: &str = "Ops with regions";

/// What shape of kernel a fused group becomes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum FusionKind {
    /// One loop over result elements.
    Loop,
    /// Reductions and what surrounds them, around one iteration space.
    Reduce,
    /// Several independent groups that share a launch.
    Many,
    /// A product of matrices, and what becomes of its sums.
    Product,
}
word_attribute!(FusionKind { Loop = "loop", Reduce = "reduce", Many = "many", Product = "product" });

op_struct! {
    /// A group that becomes one kernel. Its region is ordinary IR: parameters are the operands, yields the results.
    Fused = "fused" {
        /// The shape of the kernel.
        kind: FusionKind,
    }
}
impl OpDef for Fused {
    fn doc(&self) -> OpDoc {
        OpDoc {
            semantics: "Runs its region, which is ordinary IR: the operands are its parameters, what it yields are the results.",
            constraints: &["exactly one region", "the region's parameters have the operands' types"],
            gradient: "None: groups are formed after differentiation.",
            example: "fused [1]:f32[1] {kind = loop} { ^(%p: f32[1]): %0: f32[1] = neg %p; yield %0 } = [-1]",
        }
    }
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
    fn vjp(&self, _: &mut dyn Emit, _: &VjpContext<'_>) -> Result<PerOperand, NotDifferentiable> {
        Err(NotDifferentiable("fused groups are formed after differentiation"))
    }
    fn jvp(
        &self,
        _: &mut dyn Emit,
        _: &[Value],
        _: &[Value],
        _: &[Option<Value>],
    ) -> Result<Option<Value>, NotDifferentiable> {
        Err(NotDifferentiable("fused groups are formed after differentiation"))
    }
    fn batch(&self, _: &mut dyn Emit, _: &[Value], _: &[Option<usize>], _: &Dim) -> Value {
        unreachable!("fused groups are formed after batching")
    }
}

/// Samples carry no regions, so the legal calls are those of the fusion pass's own tests.
impl OpSamples for Fused {
    const REGIONS: bool = true;
    fn samples() -> Vec<Sample> {
        Vec::new()
    }
    fn bad_samples() -> Vec<BadSample> {
        let op = |kind| Fused { kind };
        vec![bad(op(FusionKind::Loop), [&[2]], "0 regions"), bad(op(FusionKind::Many), [], "0 regions")]
    }
}
