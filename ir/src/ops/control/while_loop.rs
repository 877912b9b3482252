//! Iteration while a condition holds.

use super::region_types::{regions as count, results, takes, yields_carried};
use super::{Control, transformed_as_regions};
use crate::graph::RegionType;
use crate::ops::attribute::op_struct;
use crate::ops::rules::violation;
use crate::ops::samples::bad;
use crate::ops::{BadSample, EvalContext, Lowering, OpDef, OpDoc, OpSamples, Primitive, Sample, Types};
use crate::{DType, EvalError, Literal, Scalar, Shape, Type, Violation};
use smallvec::SmallVec;

op_struct! {
    /// A loop that a condition ends.
    While = "while_loop" {
        /// How many operands, the first ones, are the same in every iteration.
        constants: usize,
    }
}
impl OpDef for While {
    fn doc(&self) -> OpDoc {
        OpDoc {
            semantics: "Runs region 1 as long as region 0 yields true. Both take the constants and the carried values; region 1 yields \
                        the next carried values, and the last ones are the results.",
            constraints: &[
                "exactly two regions, which take the operands' types",
                "region 0 yields one bool scalar",
                "region 1 yields the types of the carried operands",
            ],
            gradient: "Forward: a loop that carries tangents too. None in reverse, since the number of iterations is known to nobody: \
                       what an iteration needs has no bound.",
            example: "while_loop [1]:f32[1] {constants = 0} { ^(%p: f32[1]): ... } { ^(%p: f32[1]): ... }",
        }
    }
    fn infer(&self, operands: &[&Type], regions: &[RegionType]) -> Result<Types, Violation> {
        if self.constants > operands.len() {
            let rule = format!("{} constants among {} operands", self.constants, operands.len());
            return Err(violation(self, operands, rule, "no more than there are"));
        }
        count(self, operands, regions, 2)?;
        takes(self, operands, "the condition", &regions[0], operands.iter().copied())?;
        takes(self, operands, "the body", &regions[1], operands.iter().copied())?;
        if regions[0].yields != [Type::new(DType::Bool, Shape::scalar())] {
            let rule = format!("the condition yields {:?}", regions[0].yields);
            return Err(violation(self, operands, rule, "one bool[]"));
        }
        let carried = &operands[self.constants..];
        yields_carried(self, operands, &regions[1], carried)?;
        if regions[1].yields.len() != carried.len() {
            let rule = format!("the body yields {} values, {} are carried", regions[1].yields.len(), carried.len());
            return Err(violation(self, operands, rule, "it yields those and nothing more"));
        }
        Ok(results(&regions[1]))
    }
    fn eval(&self, operands: &[&Literal], cx: &mut EvalContext<'_>) -> Result<SmallVec<[Literal; 1]>, EvalError> {
        let mut values: Vec<Literal> = operands.iter().map(|&x| x.clone()).collect();
        while (cx.region)(0, &values)?[0].get(0) == Scalar::Bool(true) {
            let next = (cx.region)(1, &values)?;
            values.truncate(self.constants);
            values.extend(next);
        }
        Ok(values.split_off(self.constants).into())
    }
    fn lowering(&self) -> Lowering {
        Lowering::Control
    }
    fn control(&self) -> Option<Control> {
        Some(Control::While { constants: self.constants })
    }
    fn with_constants(&self, constants: usize) -> Primitive {
        While { constants }.into()
    }
    fn with_operands(&self, kept: &[bool]) -> Primitive {
        While { constants: kept[..self.constants].iter().filter(|&&k| k).count() }.into()
    }
    transformed_as_regions!();
}

/// Samples carry no regions.
impl OpSamples for While {
    const REGIONS: bool = true;
    fn samples() -> Vec<Sample> {
        Vec::new()
    }
    fn bad_samples() -> Vec<BadSample> {
        vec![
            bad(While { constants: 2 }, [&[2]], "2 constants among 1 operands"),
            bad(While { constants: 0 }, [&[2]], "0 regions"),
        ]
    }
}
