//! Sorting, as the permutation that sorts: values, and whatever else goes along, are gathered with it, which fuses with
//! what follows and has its gradient.

use super::attribute::op_struct;
use super::batching::in_front;
use super::numeric::{Ordered, with_any};
use super::rules::{arity, one, valid_axes};
use super::samples::{bad, odd, sample, values};
use super::{
    BadSample, Emit, EvalContext, Lowering, OpDef, OpDoc, OpSamples, PerOperand, Sample, Sorting, Types, VjpContext,
};
use crate::graph::{RegionType, Value};
use crate::{DType, Dim, EvalError, Literal, NotDifferentiable, Type, Violation};
use smallvec::{SmallVec, smallvec};
use std::cmp::Ordering;

/// What these ops are.
pub(super) const FAMILY: &str = "Sorting";

op_struct! {
    /// Along an axis, the positions (i64) of the elements in sorted order, of equal ones in the order in which they stand.
    ArgSort = "argsort" {
        /// The axis along which to sort.
        axis: usize,
        /// From the largest element to the smallest.
        descending: bool,
    }
}
impl OpDef for ArgSort {
    fn doc(&self) -> OpDoc {
        OpDoc {
            semantics: "Along an axis, the positions (i64) of the elements from the smallest to the largest, or `descending` from the largest to the smallest; equal elements keep their order. NaN counts as largest, and all NaN as equal, as zeros of either sign do. `gather` with the positions gives the sorted values.",
            constraints: &["`axis` exists"],
            gradient: "None: positions are integers. That of sorted values is the gather's.",
            example: "argsort [3, 1, 2]:f32[3] {axis = 0} = [1, 2, 0]",
        }
    }
    fn infer(&self, operands: &[&Type], _: &[RegionType]) -> Result<Types, Violation> {
        arity(self, operands, 1)?;
        valid_axes(self, operands, &[self.axis], operands[0].rank())?;
        one(DType::I64, &operands[0].shape)
    }
    fn eval(&self, operands: &[&Literal], _: &mut EvalContext<'_>) -> Result<SmallVec<[Literal; 1]>, EvalError> {
        let x = operands[0];
        Ok(smallvec![with_any!(x.dtype(), T => permutation::<T>(x, self.axis, self.descending))])
    }
    fn vjp(&self, _: &mut dyn Emit, _: &VjpContext<'_>) -> Result<PerOperand, NotDifferentiable> {
        Err(NotDifferentiable("positions are integers"))
    }
    fn jvp(
        &self,
        _: &mut dyn Emit,
        _: &[Value],
        _: &[Value],
        _: &[Option<Value>],
    ) -> Result<Option<Value>, NotDifferentiable> {
        Ok(None)
    }
    fn batch(&self, b: &mut dyn Emit, operands: &[Value], axes: &[Option<usize>], size: &Dim) -> Value {
        let x = in_front(b, operands[0], axes[0], size);
        b.emit(ArgSort { axis: self.axis + 1, descending: self.descending }.into(), &[x])
    }
    fn lowering(&self) -> Lowering {
        Lowering::Sort
    }
    fn sorting(&self) -> Option<Sorting> {
        Some(Sorting { axis: self.axis, descending: self.descending })
    }
}

fn permutation<T: Ordered>(x: &Literal, axis: usize, descending: bool) -> Literal {
    let data = x.as_slice::<T>();
    let (n, inner) = (x.dims()[axis], x.dims()[axis + 1..].iter().product::<usize>());
    let outer: usize = x.dims()[..axis].iter().product();
    let mut out = vec![0i64; x.numel()];
    for row in 0..outer * inner {
        let at = |k: usize| (row / inner * n + k) * inner + row % inner;
        let mut order: Vec<usize> = (0..n).collect();
        // A stable sort, in either direction.
        order.sort_by(|&i, &j| {
            let (a, b) = (data[at(i)], data[at(j)]);
            let (a, b) = if descending { (b, a) } else { (a, b) };
            match (a.is_nan(), b.is_nan()) {
                (false, false) if a.less(b) => Ordering::Less,
                (false, false) if b.less(a) => Ordering::Greater,
                (x, y) => x.cmp(&y),
            }
        });
        for (k, i) in order.into_iter().enumerate() {
            out[at(k)] = i as i64;
        }
    }
    Literal::from_vec(x.dims(), out)
}

impl OpSamples for ArgSort {
    fn samples() -> Vec<Sample> {
        let mut all = Vec::new();
        for descending in [false, true] {
            let op = |axis| ArgSort { axis, descending };
            for (axis, dims) in
                [(0, vec![5]), (1, vec![2, 4]), (0, vec![4, 3]), (1, vec![2, 3, 2]), (0, vec![1]), (0, vec![0])]
            {
                all.push(sample(op(axis), &[values(DType::F64, &dims)]));
            }
            all.push(sample(op(1), &[values(DType::I32, &[2, 0])]));
            all.push(sample(op(0), &[values(DType::I32, &[3, 0])]));
            all.push(sample(op(1), &[values(DType::F32, &[2, 70])]));
            all.push(sample(op(0), &[Literal::from_vec(&[6], vec![2i64, 1, 2, 1, 2, 1])]));
            all.extend(DType::ALL.into_iter().map(|d| sample(op(0), &[odd(d, &[24, 2])])));
        }
        all
    }
    fn bad_samples() -> Vec<BadSample> {
        let op = |axis| ArgSort { axis, descending: false };
        vec![
            bad(op(0), [], "takes 1 operand, not 0"),
            bad(op(1), [&[3]], "axis 1 does not exist"),
            bad(op(0), [&[]], "a scalar has no axes"),
        ]
    }
}
