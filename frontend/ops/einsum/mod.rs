//! Einstein summation.
//!
//! Every operand is first brought to axes of different labels by views, and what no other needs is summed. Then pairs
//! are multiplied in the order of [`order`]: labels of both that stay are batch axes, those that do not are summed by the
//! product. Nothing is ever repeated in memory to be multiplied.

mod order;
mod parse;

use super::diagonal::main_diagonal;
use super::prim;
use crate::dispatch::{Call, Extents, checked, run};
use crate::error::{Code, Error};
use crate::promote::promote;
use crate::tensor::Tensor;
use crate::trace::record;
use ir::ops::contract::DotGeneral;
use ir::ops::{binary, reduce};
use ir::{Axes, DType, Dim, Shape};
use order::Set;
use parse::{Contraction, Equation, Label};
use smallvec::SmallVec;

/// What a symbolic extent counts as where orders are compared.
const ASSUMED: i64 = 64;

/// The sum of products that a string of labels describes, as in NumPy and PyTorch.
///
/// Before `->` stand the labels of each operand's axes, one letter for each, with `,` between operands; behind it those
/// of the result. Labels that the result does not have are summed. One that an operand has twice is its diagonal. `...`
/// stands for axes without a letter, which broadcast from the last; the result has them where it has `...`, else they
/// are summed. Without `->` the result has the axes of `...` and then, in the order of the alphabet, capitals first, all
/// letters that occur once. An axis of extent 1 fits any other of its label. Blanks mean nothing.
///
/// The operands are multiplied pairwise, in the order that takes the fewest multiplications (for more than eight
/// operands, nearly so). The dtype is the common one; sums of integers wrap in it.
///
/// ```
/// use tracewright::{Tensor, einsum};
/// let (a, b) = (Tensor::from([[1i64, 2], [3, 4]]), Tensor::from([5i64, 6]));
/// assert_eq!(einsum("ij,j->i", &[&a, &b]).to_vec::<i64>()?, [17, 39]);
/// assert_eq!(einsum("ii", &[&a]).item::<i64>()?, 5);
/// assert_eq!(einsum("ij,ik,k->j", &[&a, &a, &b]).to_vec::<i64>()?, [134, 190]);
/// let e = einsum("ij,jk", &[&a, &Tensor::from([[1i64], [2], [3]])]).err().unwrap();
/// assert_eq!(e.rule(), "`j` of \"ij,jk\" has extent 2 in operand 0 (axis 1) and 3 in operand 1 (axis 0)");
/// # Ok::<(), tracewright::Error>(())
/// ```
///
/// # Errors
/// If the string is not legal, does not fit the operands, or extents of one label differ; if products or sums of bools
/// are asked for.
#[track_caller]
pub fn einsum(equation: &str, operands: &[&Tensor]) -> Tensor {
    checked(operands, || {
        let parsed = Equation::parse(equation)?;
        let shapes: Vec<Shape> = operands.iter().map(|t| t.shape()).collect();
        let contraction = parsed.resolve(&shapes)?;
        let dtype = operands.iter().map(|t| t.dtype()).reduce(promote).expect("there is an operand");
        let summed = contraction.operands.iter().flatten().any(|l| !contraction.output.contains(l));
        if dtype == DType::Bool && (operands.len() > 1 || summed) {
            let rule = format!("{equation:?} asks for products or sums of bools");
            return Err(Error::new(Code::DType, "einsum", rule, "numbers; convert with to_dtype"));
        }
        let steps = contraction.order(&shapes);
        let mut attributes: SmallVec<[i64; 8]> = equation.bytes().map(i64::from).collect();
        attributes.extend(steps.iter().flat_map(|&(a, b)| [a as i64, b as i64]));
        Ok(run(Call::composed("einsum", &attributes, Extents::Symbolic), operands, &|t| {
            let shapes: Vec<Shape> = t.iter().map(|t| t.ty().shape).collect();
            match parsed.resolve(&shapes) {
                Ok(contraction) => {
                    let operands: Vec<Tensor> = t.iter().map(|t| prim::cast(t, dtype)).collect();
                    contraction.compute(&operands, &steps)
                }
                Err(e) => Tensor::error(e.at(crate::dispatch::here())),
            }
        }))
    })
}

/// A value with a label for each axis, all different.
struct Part {
    tensor: Tensor,
    labels: Vec<Label>,
}

impl Contraction {
    /// True if an axis only broadcasts.
    fn broadcasts(&self, label: &Label, extent: &Dim) -> bool {
        extent.is(1) && !self.extents[label].is(1)
    }

    /// The pairs to be multiplied, by number.
    fn order(&self, shapes: &[Shape]) -> Vec<(usize, usize)> {
        let labels: Vec<&Label> = self.extents.keys().collect();
        let set = |all: &mut dyn Iterator<Item = &Label>| -> Set {
            all.filter_map(|l| labels.iter().position(|m| *m == l)).fold(0, |set, i| set | 1 << i)
        };
        let operands: Vec<Set> = (self.operands.iter().zip(shapes))
            .map(|(all, shape)| {
                set(&mut all.iter().zip(shape.iter()).filter(|(l, d)| !self.broadcasts(l, d)).map(|(l, _)| l))
            })
            .collect();
        let size = |d: &Dim| d.eval(&|_| Some(ASSUMED)).unwrap_or(ASSUMED) as f64;
        let sizes: Vec<f64> = self.extents.values().map(size).collect();
        order::order(&operands, set(&mut self.output.iter()), &sizes)
    }

    fn compute(&self, operands: &[Tensor], steps: &[(usize, usize)]) -> Tensor {
        let mut parts: Vec<Option<Part>> = (0..operands.len()).map(|i| Some(self.part(i, &operands[i]))).collect();
        for i in 0..parts.len() {
            if let Some(part) = parts[i].take() {
                parts[i] = Some(self.summed(part, &parts));
            }
        }
        for &(a, b) in steps {
            let (Some(a), Some(b)) = (parts[a].take(), parts[b].take()) else { unreachable!("each is used once") };
            let product = self.product(a, b, &parts);
            parts.push(Some(product));
        }
        let Some(Some(Part { tensor, labels })) = parts.pop() else { unreachable!("the last one is left") };
        let place = |l: &Label| labels.iter().position(|m| m == l).expect("the result has the labels of the output");
        prim::transpose(&tensor, &self.output.iter().map(place).collect::<Axes>())
    }

    /// An operand without axes that only broadcast, and with one axis per label.
    fn part(&self, i: usize, operand: &Tensor) -> Part {
        let (mut labels, shape) = (self.operands[i].clone(), operand.ty().shape);
        let kept: Vec<usize> = (0..labels.len()).filter(|&a| !self.broadcasts(&labels[a], &shape[a])).collect();
        let mut tensor = prim::reshape(operand, &kept.iter().map(|&a| shape[a].clone()).collect());
        labels = kept.iter().map(|&a| labels[a]).collect();
        while let Some((a, b)) = twice(&labels) {
            tensor = main_diagonal(&tensor, a, b);
            let label = labels.remove(b);
            labels.remove(a);
            labels.push(label);
        }
        Part { tensor, labels }
    }

    /// With what only this part has summed.
    fn summed(&self, part: Part, others: &[Option<Part>]) -> Part {
        let needed = |l: &Label| self.output.contains(l) || others.iter().flatten().any(|o| o.labels.contains(l));
        let axes: Axes = (0..part.labels.len()).filter(|&a| !needed(&part.labels[a])).collect();
        if axes.is_empty() || part.tensor.error_ref().is_some() {
            return part;
        }
        let labels = part.labels.iter().enumerate().filter(|(a, _)| !axes.contains(a)).map(|(_, &l)| l).collect();
        Part { tensor: record(reduce::ReduceSum { axes }, &[&part.tensor]), labels }
    }

    fn product(&self, a: Part, b: Part, others: &[Option<Part>]) -> Part {
        if let Some(t) = [&a.tensor, &b.tensor].into_iter().find(|t| t.error_ref().is_some()) {
            return Part { tensor: t.clone(), labels: self.output.clone() };
        }
        let needed = |l: &Label| self.output.contains(l) || others.iter().flatten().any(|o| o.labels.contains(l));
        let shared: Vec<Label> = a.labels.iter().copied().filter(|l| b.labels.contains(l)).collect();
        let (batch, contract): (Vec<Label>, Vec<Label>) = shared.iter().copied().partition(|l| needed(l));
        let free = |p: &Part| p.labels.iter().copied().filter(|l| !shared.contains(l)).collect::<Vec<Label>>();
        let (of_a, of_b) = (free(&a), free(&b));
        if contract.is_empty() {
            let labels: Vec<Label> = a.labels.iter().copied().chain(of_b).collect();
            let tensor = self.multiplied(&a, &b, &labels);
            return Part { tensor, labels };
        }
        if of_a.is_empty() && of_b.is_empty() {
            // No element is read twice: a sum of products, which fuses with what is around it.
            let dtype = a.tensor.dtype();
            let [a, b] = [a, b].map(|p| Part { tensor: prim::cast(&p.tensor, dtype.accumulator()), ..p });
            let tensor = self.multiplied(&a, &b, &a.labels);
            let sum = self.summed(Part { tensor, labels: a.labels }, others);
            return Part { tensor: prim::cast(&sum.tensor, dtype), ..sum };
        }
        let axes = |p: &Part, all: &[Label]| -> Axes {
            all.iter().map(|l| p.labels.iter().position(|m| m == l).expect("it is shared")).collect()
        };
        let op = DotGeneral {
            lhs_batch: axes(&a, &batch),
            rhs_batch: axes(&b, &batch),
            lhs_contract: axes(&a, &contract),
            rhs_contract: axes(&b, &contract),
        };
        let labels = batch.into_iter().chain(of_a).chain(of_b).collect();
        Part { tensor: record(op, &[&a.tensor, &b.tensor]), labels }
    }

    /// The product element by element, with those labels.
    fn multiplied(&self, a: &Part, b: &Part, labels: &[Label]) -> Tensor {
        let shape: Shape = labels.iter().map(|l| self.extents[l].clone()).collect();
        let [a, b] = [a, b].map(|p| {
            let places: Axes = (0..labels.len()).filter(|&i| p.labels.contains(&labels[i])).collect();
            let order: Axes = (places.iter())
                .map(|&i| p.labels.iter().position(|l| *l == labels[i]).expect("it has this label"))
                .collect();
            let t = prim::transpose(&p.tensor, &order);
            if places.len() == labels.len() { t } else { prim::spread(&t, &shape, &places) }
        });
        record(binary::Mul {}, &[&a, &b])
    }
}

/// The places of a label that occurs twice.
fn twice(labels: &[Label]) -> Option<(usize, usize)> {
    (0..labels.len()).find_map(|a| Some((a, a + 1 + labels[a + 1..].iter().position(|l| *l == labels[a])?)))
}
