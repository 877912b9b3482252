//! Iteration over the elements of tensors along their first axes.

use super::region_types::{regions as count, takes, yields_carried};
use super::{Control, Scanning, transformed_as_regions};
use crate::graph::RegionType;
use crate::ops::attribute::op_struct;
use crate::ops::rules::{valid_shape, violation};
use crate::ops::samples::bad;
use crate::ops::{BadSample, EvalContext, Lowering, OpDef, OpDoc, OpSamples, Primitive, Sample, Types};
use crate::{DType, Dim, EvalError, Literal, Scalar, Shape, Type, Violation, ViolationKind};
use smallvec::SmallVec;

op_struct! {
    /// A loop over the elements of tensors.
    Scan = "scan" {
        /// Number of iterations.
        length: Dim,
        /// How many operands, the first ones, are the same in every iteration.
        constants: usize,
        /// How many operands, those after the constants, are carried from one iteration to the next.
        carried: usize,
        /// From the last element to the first.
        reverse: bool,
    }
}

impl Scan {
    /// Element types of the scanned operands.
    fn elements(&self, operands: &[&Type]) -> Result<Vec<Type>, Violation> {
        let scanned = operands.iter().enumerate().skip(self.constants + self.carried);
        let element = |(i, ty): (usize, &&Type)| match ty.shape.split_first() {
            None => {
                Err(violation(self, operands, format!("the scanned operand {i} is a scalar"), "it has a first axis")
                    .of(ViolationKind::Rank))
            }
            Some((extent, _)) if *extent != self.length => {
                let rule =
                    format!("the first axis of operand {i} has extent {extent}, the loop length {}", self.length);
                Err(violation(self, operands, rule, "both must be the same"))
            }
            Some((_, rest)) => Ok(Type::new(ty.dtype, Shape::from(rest))),
        };
        scanned.map(element).collect()
    }
}

impl OpDef for Scan {
    fn doc(&self) -> OpDoc {
        OpDoc {
            semantics: "Runs its region once for each element of the scanned operands along their first axes, in order. The region takes \
                        the number of the element (i64), the constants, the carried values and the elements; it yields the carried \
                        values for the next iteration and any number of elements to be stacked. Results are the last carried values \
                        and the stacked tensors, whose elements stand where those they came from stood.",
            constraints: &[
                "operands are constants, carried values and scanned tensors, in that order",
                "the first axes of scanned operands have extent `length`",
                "the region takes an i64 scalar and the types of constants, carried values and elements",
                "what it yields for a carried value has its type",
            ],
            gradient: "A scan in the other direction over what each iteration needs for its gradient, which the scan also stacks; \
                       gradients of carried values are carried, those of constants summed, those of scanned operands stacked.",
            example: "scan 0:f32[], [1, 2]:f32[2] {length = 2, constants = 0, carried = 1} { ^(%i: i64[], %c: f32[], %x: f32[]): ... }",
        }
    }
    fn infer(&self, operands: &[&Type], regions: &[RegionType]) -> Result<Types, Violation> {
        if self.constants.saturating_add(self.carried) > operands.len() {
            let rule = format!("{} constants and {} carried values", self.constants, self.carried);
            return Err(violation(self, operands, rule, format!("there are {} operands", operands.len())));
        }
        valid_shape(self, operands, &Shape::from([self.length.clone()].as_slice()))?;
        let elements = self.elements(operands)?;
        count(self, operands, regions, 1)?;
        let number = Type::new(DType::I64, Shape::scalar());
        let same = &operands[..self.constants + self.carried];
        let given = std::iter::once(&number).chain(same.iter().copied()).chain(&elements);
        takes(self, operands, "the body", &regions[0], given)?;
        yields_carried(self, operands, &regions[0], &operands[self.constants..][..self.carried])?;
        let stacked = regions[0].yields.iter().enumerate().map(|(i, ty)| match i < self.carried {
            true => ty.clone(),
            false => Type::new(ty.dtype, std::iter::once(&self.length).chain(&*ty.shape).cloned().collect::<Shape>()),
        });
        Ok(stacked.collect())
    }
    fn eval(&self, operands: &[&Literal], cx: &mut EvalContext<'_>) -> Result<SmallVec<[Literal; 1]>, EvalError> {
        let length =
            usize::try_from((cx.dim)(&self.length)?).map_err(|_| EvalError::BadDim(self.length.to_string()))?;
        let (same, scanned) = operands.split_at(self.constants + self.carried);
        let (constants, initial) = same.split_at(self.constants);
        let mut carried: Vec<Literal> = initial.iter().map(|&x| x.clone()).collect();
        let mut stacked: Vec<Vec<Literal>> = vec![Vec::with_capacity(length); cx.results.len() - self.carried];
        for step in 0..length {
            let at = if self.reverse { length - 1 - step } else { step };
            let number = Literal::scalar(Scalar::I64(at as i64));
            let given = std::iter::once(number).chain(constants.iter().map(|&x| x.clone())).chain(carried);
            let given: Vec<Literal> = given.chain(scanned.iter().map(|x| x.element(at))).collect();
            let mut yielded = (cx.region)(0, &given)?;
            let elements = yielded.split_off(self.carried);
            carried = yielded;
            stacked.iter_mut().zip(elements).for_each(|(all, element)| all.push(element));
        }
        let extents = &cx.results[self.carried..];
        let stacked = stacked.into_iter().zip(extents).zip(&cx.regions[0].yields[self.carried..]).map(
            |((mut all, dims), element)| {
                if self.reverse {
                    all.reverse();
                }
                Literal::stacked(dims, element.dtype, &all)
            },
        );
        Ok(carried.into_iter().chain(stacked).collect())
    }
    fn lowering(&self) -> Lowering {
        Lowering::Control
    }
    fn control(&self) -> Option<Control> {
        let Scan { length, reverse, constants, carried } = self.clone();
        Some(Control::Scan(Scanning { length, reverse, constants, carried }))
    }
    fn with_constants(&self, constants: usize) -> Primitive {
        Scan { constants, ..self.clone() }.into()
    }
    fn with_operands(&self, kept: &[bool]) -> Primitive {
        let count = |part: &[bool]| part.iter().filter(|&&k| k).count();
        let (constants, rest) = kept.split_at(self.constants);
        let (constants, carried) = (count(constants), count(&rest[..self.carried]));
        Scan { constants, carried, ..self.clone() }.into()
    }
    transformed_as_regions!();
}

/// Samples carry no regions.
impl OpSamples for Scan {
    const REGIONS: bool = true;
    fn samples() -> Vec<Sample> {
        Vec::new()
    }
    fn bad_samples() -> Vec<BadSample> {
        let scan = |constants, carried| Scan { length: Dim::from(3), constants, carried, reverse: false };
        vec![
            bad(scan(1, 1), [&[2]], "1 constants and 1 carried values"),
            bad(scan(0, 0), [&[]], "the scanned operand 0 is a scalar"),
            bad(scan(0, 0), [&[2]], "the first axis of operand 0 has extent 2"),
            bad(scan(0, 0), [&[3]], "0 regions"),
        ]
    }
}
