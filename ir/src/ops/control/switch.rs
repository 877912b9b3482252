//! A choice among regions.

use super::region_types::{results, takes};
use super::{Control, transformed_as_regions};
use crate::graph::RegionType;
use crate::ops::attribute::op_struct;
use crate::ops::rules::violation;
use crate::ops::samples::{bad, bad_types};
use crate::ops::{BadSample, EvalContext, Lowering, OpDef, OpDoc, OpSamples, Primitive, Sample, Types};
use crate::{DType, EvalError, Literal, Scalar, Type, Violation, ViolationKind};
use smallvec::SmallVec;

op_struct! {
    /// The region that a number chooses.
    Switch = "switch" {}
}

/// The region that a value of operand 0 chooses among `n`.
pub fn chosen(choice: Scalar, n: usize) -> usize {
    match choice {
        Scalar::Bool(x) => usize::from(x),
        other => usize::try_from(other.as_i64()).unwrap_or(0).min(n - 1),
    }
}

impl OpDef for Switch {
    fn doc(&self) -> OpDoc {
        OpDoc {
            semantics: "Runs one of its regions on the operands behind the first, and yields what it yields. The first operand chooses: \
                        an integer is the number of the region, clamped to those there are; a bool chooses the first region if it is \
                        false and the second if it is true. The other regions do not run.",
            constraints: &[
                "operand 0 is a scalar of dtype i64 or bool",
                "at least one region; two if a bool chooses",
                "every region takes the other operands' types",
                "all regions yield the same types",
            ],
            gradient: "A switch of the regions' gradients; forward, each region also yields what its gradient needs.",
            example: "switch true:bool[], [1]:f32[1] { ^(%p: f32[1]): %0: f32[1] = neg %p; yield %0 } { ^(%p: f32[1]): yield %p } = [1]",
        }
    }
    fn infer(&self, operands: &[&Type], regions: &[RegionType]) -> Result<Types, Violation> {
        let Some((choice, given)) = operands.split_first() else {
            return Err(violation(self, operands, "nothing chooses", "operand 0 is the choice"));
        };
        if choice.rank() != 0 {
            let rule = format!("the choice has type {choice}");
            return Err(violation(self, operands, rule, "a scalar").of(ViolationKind::Rank));
        }
        if !matches!(choice.dtype, DType::Bool | DType::I64) {
            let rule = format!("the choice has dtype {}", choice.dtype);
            return Err(violation(self, operands, rule, "i64 or bool").of(ViolationKind::DType));
        }
        let [first, rest @ ..] = regions else {
            return Err(violation(self, operands, "0 regions", "at least one"));
        };
        if choice.dtype == DType::Bool && regions.len() != 2 {
            return Err(violation(self, operands, format!("a bool chooses among {} regions", regions.len()), "two"));
        }
        for (i, region) in regions.iter().enumerate() {
            takes(self, operands, &format!("region {i}"), region, given.iter().copied())?;
        }
        for (i, region) in rest.iter().enumerate() {
            if region.yields != first.yields {
                let rule = format!("region 0 yields {:?}, region {} {:?}", first.yields, i + 1, region.yields);
                return Err(violation(self, operands, rule, "all yield the same types"));
            }
        }
        Ok(results(first))
    }
    fn eval(&self, operands: &[&Literal], cx: &mut EvalContext<'_>) -> Result<SmallVec<[Literal; 1]>, EvalError> {
        let given: Vec<Literal> = operands[1..].iter().map(|&x| x.clone()).collect();
        let at = chosen(operands[0].get(0), cx.regions.len());
        Ok((cx.region)(at, &given)?.into())
    }
    fn lowering(&self) -> Lowering {
        Lowering::Control
    }
    fn control(&self) -> Option<Control> {
        Some(Control::Switch)
    }
    fn with_operands(&self, _: &[bool]) -> Primitive {
        self.clone().into()
    }
    transformed_as_regions!();
}

/// Samples carry no regions.
impl OpSamples for Switch {
    const REGIONS: bool = true;
    fn samples() -> Vec<Sample> {
        Vec::new()
    }
    fn bad_samples() -> Vec<BadSample> {
        let choice = |dtype| vec![Type::new(dtype, [0usize; 0].as_slice())];
        vec![
            bad(Switch {}, [], "nothing chooses"),
            bad(Switch {}, [&[2]], "the choice has type"),
            bad_types(Switch {}, choice(DType::F32), "the choice has dtype f32"),
            bad_types(Switch {}, choice(DType::I64), "0 regions"),
            bad_types(Switch {}, choice(DType::Bool), "0 regions"),
        ]
    }
}
