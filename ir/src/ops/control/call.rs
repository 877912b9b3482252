//! Functions as one op: what transforms are told about them.

use super::region_types::{float_types, regions as count, results, takes, yields_types};
use super::{Control, transformed_as_regions};
use crate::graph::RegionType;
use crate::ops::attribute::{op_struct, word_attribute};
use crate::ops::rules::violation;
use crate::ops::samples::bad;
use crate::ops::{BadSample, EvalContext, Lowering, OpDef, OpDoc, OpSamples, Primitive, Sample, Types};
use crate::{EvalError, Literal, Type, Violation};
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

/// What of a function is kept for its gradient.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum Save {
    /// Whatever its gradient needs.
    Everything,
    /// Nothing: it is computed again.
    Nothing,
    /// The results of matrix products; the rest is computed again.
    Products,
    /// What has a name; the rest is computed again.
    Named,
}
/// What a call keeps for its gradient.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Kept {
    /// What.
    pub save: Save,
    /// Names, with commas between them.
    pub names: String,
}

impl Kept {
    /// True if the result of an op is kept. Not asked where everything is.
    pub fn keeps(&self, op: &Primitive) -> bool {
        match self.save {
            Save::Everything => true,
            Save::Nothing => false,
            Save::Products => op.lowering() == Lowering::Contract,
            Save::Named => op.value_name().is_some_and(|name| self.names.split(',').any(|kept| kept == name)),
        }
    }
}

word_attribute!(Save { Everything = "everything", Nothing = "nothing", Products = "products", Named = "named" });

op_struct! {
    /// A function, called.
    Call = "call" {
        /// What of it is kept for its gradient.
        save: Save,
        /// Names of values that are kept if `save` is `named`, with commas between them.
        names: String,
    }
}
impl OpDef for Call {
    fn doc(&self) -> OpDoc {
        OpDoc {
            semantics: "Runs its region on its operands. Once derivatives are taken it is replaced by the ops of the region.",
            constraints: &["exactly one region, which takes the operands' types"],
            gradient: "That of the region. Of what it needs, `save` says what is kept and what is computed again when the gradient is.",
            example: "call [1]:f32[1] {save = nothing, names = \"\"} { ^(%p: f32[1]): %0: f32[1] = neg %p; yield %0 } = [-1]",
        }
    }
    fn infer(&self, operands: &[&Type], regions: &[RegionType]) -> Result<Types, Violation> {
        count(self, operands, regions, 1)?;
        takes(self, operands, "the region", &regions[0], operands.iter().copied())?;
        Ok(results(&regions[0]))
    }
    fn eval(&self, operands: &[&Literal], cx: &mut EvalContext<'_>) -> Result<SmallVec<[Literal; 1]>, EvalError> {
        run_first(operands, cx)
    }
    fn lowering(&self) -> Lowering {
        Lowering::Control
    }
    fn control(&self) -> Option<Control> {
        Some(Control::Call(Kept { save: self.save, names: self.names.clone() }))
    }
    fn with_operands(&self, _: &[bool]) -> Primitive {
        self.clone().into()
    }
    transformed_as_regions!();
}

fn run_first(operands: &[&Literal], cx: &mut EvalContext<'_>) -> Result<SmallVec<[Literal; 1]>, EvalError> {
    let given: Vec<Literal> = operands.iter().map(|&x| x.clone()).collect();
    Ok((cx.region)(0, &given)?.into())
}

op_struct! {
    /// A function with a gradient of the user's.
    CustomVjp = "custom_vjp" {}
}
impl OpDef for CustomVjp {
    fn doc(&self) -> OpDoc {
        OpDoc {
            semantics: "Runs region 0 on its operands. Regions 1 and 2 say what its gradient is.",
            constraints: &[
                "three regions; regions 0 and 1 take the operands' types",
                "region 1 yields what region 0 yields, then what the gradient needs",
                "region 2 takes that and the gradients by the float results, and yields those by the float operands",
            ],
            gradient: "Region 1 runs in the place of region 0, and region 2 on what it keeps. No forward mode.",
            example: "custom_vjp [1]:f32[1] { ^(..): .. } { ^(..): .. } { ^(..): .. }",
        }
    }
    fn infer(&self, operands: &[&Type], regions: &[RegionType]) -> Result<Types, Violation> {
        count(self, operands, regions, 3)?;
        let [primal, forward, backward] = regions else { unreachable!("it was counted") };
        takes(self, operands, "the function", primal, operands.iter().copied())?;
        takes(self, operands, "its forward part", forward, operands.iter().copied())?;
        let n = primal.yields.len();
        if forward.yields.len() < n || forward.yields[..n] != primal.yields[..] {
            let rule = format!("the forward part yields {:?}", forward.yields);
            return Err(violation(
                self,
                operands,
                rule,
                format!("first what the function yields, {:?}", primal.yields),
            ));
        }
        let cotangents = float_types(&primal.yields);
        takes(self, operands, "the backward part", backward, forward.yields[n..].iter().chain(cotangents))?;
        let floats = float_types(operands.iter().copied());
        yields_types(self, operands, "the backward part", backward, floats)?;
        Ok(results(primal))
    }
    fn eval(&self, operands: &[&Literal], cx: &mut EvalContext<'_>) -> Result<SmallVec<[Literal; 1]>, EvalError> {
        run_first(operands, cx)
    }
    fn lowering(&self) -> Lowering {
        Lowering::Control
    }
    fn control(&self) -> Option<Control> {
        Some(Control::CustomVjp)
    }
    transformed_as_regions!();
}

op_struct! {
    /// A function with a forward derivative of the user's.
    CustomJvp = "custom_jvp" {}
}
impl OpDef for CustomJvp {
    fn doc(&self) -> OpDoc {
        OpDoc {
            semantics: "Runs region 0 on its operands. Region 1 says what its derivative is.",
            constraints: &[
                "two regions; region 0 takes the operands' types",
                "region 1 takes those and tangents of the float operands, and yields what region 0 yields and tangents of \
                 the float results",
            ],
            gradient: "Forward, region 1. In reverse its transpose, by the tangents, in which it must be linear.",
            example: "custom_jvp [1]:f32[1] { ^(..): .. } { ^(..): .. }",
        }
    }
    fn infer(&self, operands: &[&Type], regions: &[RegionType]) -> Result<Types, Violation> {
        count(self, operands, regions, 2)?;
        let [primal, tangent] = regions else { unreachable!("it was counted") };
        takes(self, operands, "the function", primal, operands.iter().copied())?;
        let floats = float_types(operands.iter().copied());
        takes(self, operands, "the derivative", tangent, operands.iter().copied().chain(floats))?;
        let all = primal.yields.iter().chain(float_types(&primal.yields));
        yields_types(self, operands, "the derivative", tangent, all)?;
        Ok(results(primal))
    }
    fn eval(&self, operands: &[&Literal], cx: &mut EvalContext<'_>) -> Result<SmallVec<[Literal; 1]>, EvalError> {
        run_first(operands, cx)
    }
    fn lowering(&self) -> Lowering {
        Lowering::Control
    }
    fn control(&self) -> Option<Control> {
        Some(Control::CustomJvp)
    }
    transformed_as_regions!();
}

/// Samples carry no regions.
impl OpSamples for Call {
    const REGIONS: bool = true;
    fn samples() -> Vec<Sample> {
        Vec::new()
    }
    fn bad_samples() -> Vec<BadSample> {
        vec![
            bad(Call { save: Save::Nothing, names: String::new() }, [&[2]], "0 regions"),
            bad(Call { save: Save::Products, names: String::new() }, [], "0 regions"),
        ]
    }
}
impl OpSamples for CustomVjp {
    const REGIONS: bool = true;
    fn samples() -> Vec<Sample> {
        Vec::new()
    }
    fn bad_samples() -> Vec<BadSample> {
        vec![bad(CustomVjp {}, [&[2]], "0 regions"), bad(CustomVjp {}, [], "0 regions")]
    }
}
impl OpSamples for CustomJvp {
    const REGIONS: bool = true;
    fn samples() -> Vec<Sample> {
        Vec::new()
    }
    fn bad_samples() -> Vec<BadSample> {
        vec![bad(CustomJvp {}, [&[2]], "0 regions"), bad(CustomJvp {}, [], "0 regions")]
    }
}
