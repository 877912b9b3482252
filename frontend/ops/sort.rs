//! Sorting, and what follows from it. NaN counts as largest and zeros of either sign as equal; sorting is stable.

use super::axes::resolve;
use super::prim;
use crate::dispatch::{Call, Extents, enter, refuse, run};
use crate::error::{Code, Error};
use crate::promote;
use crate::tensor::Tensor;
use crate::trace::record;
use ir::ops::index::{Gather, IndexMode};
use ir::ops::sort::ArgSort;
use ir::ops::view::BroadcastInDim;
use ir::{Axes, Dim, Shape};

/// Along an axis, the elements at positions that are known to be in range.
pub(super) fn at(x: &Tensor, positions: &Tensor, axis: usize) -> Tensor {
    let last = x.rank() - 1;
    let mut swap: Axes = (0..=last).collect();
    swap.swap(axis, last);
    let (x, positions) = (prim::transpose(x, &swap), prim::transpose(positions, &swap));
    let read = record(Gather { axis: last, batch: last, mode: IndexMode::Fill }, &[&x, &positions]);
    prim::transpose(&read, &swap)
}

impl Tensor {
    /// The axis, if the tensor has it and it is not empty where `some`.
    #[track_caller]
    fn sorted_axis(&self, name: &'static str, axis: isize, some: bool) -> Result<usize, Tensor> {
        if self.error_ref().is_some() {
            return Err(self.clone());
        }
        let at = resolve(axis, self.rank(), name).map_err(|e| refuse(e, &[self]))?;
        if some && self.shape()[at].is(0) {
            let rule = format!("axis {at} is empty, so there is no element to give");
            return Err(refuse(Error::new(Code::Empty, name, rule, "an axis with elements"), &[self]));
        }
        Ok(at)
    }

    #[track_caller]
    fn at_positions(&self, name: &'static str, positions: &Tensor, axis: usize) -> Tensor {
        run(Call::plain(name, &[axis as i64], Extents::Symbolic), &[self, positions], &|t| at(&t[0], &t[1], axis))
    }

    /// The positions (i64) of the elements in sorted order along an axis; equal elements keep their order.
    ///
    /// ```
    /// use tracewright::Tensor;
    /// let x = Tensor::from([3.0f32, 1.0, f32::NAN, 1.0]);
    /// assert_eq!(x.argsort(0, false).to_vec::<i64>()?, [1, 3, 0, 2]);
    /// assert_eq!(x.argsort(0, true).to_vec::<i64>()?, [2, 0, 1, 3]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn argsort(&self, axis: isize, descending: bool) -> Tensor {
        let _here = enter();
        match self.sorted_axis("argsort", axis, false) {
            Ok(axis) => {
                let attributes = [axis as i64, descending as i64];
                run(Call::plain("argsort", &attributes, Extents::Symbolic), &[self], &|t| {
                    record(ArgSort { axis, descending }, &[&t[0]])
                })
            }
            Err(t) => t,
        }
    }

    /// The elements in sorted order along an axis, and the positions (i64) at which they stood.
    ///
    /// ```
    /// use tracewright::Tensor;
    /// let (values, indices) = Tensor::from([[3i64, 1, 2], [4, 6, 5]]).sort(-1, true);
    /// assert_eq!(values.to_vec::<i64>()?, [3, 2, 1, 6, 5, 4]);
    /// assert_eq!(indices.to_vec::<i64>()?, [0, 2, 1, 1, 2, 0]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn sort(&self, axis: isize, descending: bool) -> (Tensor, Tensor) {
        let _here = enter();
        let at = match self.sorted_axis("sort", axis, false) {
            Ok(a) => a,
            Err(t) => return (t.clone(), t),
        };
        let indices = self.argsort(axis, descending);
        (self.at_positions("sort", &indices, at), indices)
    }

    /// The `k` largest or smallest elements along an axis, in order, and their positions (i64).
    ///
    /// ```
    /// use tracewright::Tensor;
    /// let (values, indices) = Tensor::from([3.0f32, 9.0, 4.0, 1.0]).topk(2, 0, true);
    /// assert_eq!(values.to_vec::<f32>()?, [9.0, 4.0]);
    /// assert_eq!(indices.to_vec::<i64>()?, [1, 2]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn topk(&self, k: usize, axis: isize, largest: bool) -> (Tensor, Tensor) {
        let _here = enter();
        let at = match self.sorted_axis("topk", axis, false) {
            Ok(a) => a,
            Err(t) => return (t.clone(), t),
        };
        let extent = self.shape()[at].clone();
        if (&extent - &Dim::from(k)).known().is_some_and(|rest| rest < 0) {
            let rule = format!("axis {at} of extent {extent} has no {k} elements");
            let t = refuse(Error::new(Code::Index, "topk", rule, "k is at most the extent"), &[self]);
            return (t.clone(), t);
        }
        let indices = self.argsort(axis, largest).narrow(axis, 0, k);
        (self.at_positions("topk", &indices, at), indices)
    }

    /// The `k`-th smallest element along an axis, counted from 1 as PyTorch does, and its position (i64).
    ///
    /// ```
    /// use tracewright::Tensor;
    /// let (value, index) = Tensor::from([[3i64, 9, 4, 1]]).kthvalue(2, -1);
    /// assert_eq!((value.to_vec::<i64>()?, index.to_vec::<i64>()?), (vec![3], vec![0]));
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn kthvalue(&self, k: usize, axis: isize) -> (Tensor, Tensor) {
        let _here = enter();
        let at = match self.sorted_axis("kthvalue", axis, false) {
            Ok(a) => a,
            Err(t) => return (t.clone(), t),
        };
        let extent = self.shape()[at].clone();
        if k == 0 || (&extent - &Dim::from(k)).known().is_some_and(|rest| rest < 0) {
            let rule = format!("axis {at} of extent {extent} has no element number {k}");
            let t = refuse(Error::new(Code::Index, "kthvalue", rule, "k goes from 1 to the extent"), &[self]);
            return (t.clone(), t);
        }
        let indices = self.argsort(axis, false).narrow(axis, k - 1, 1);
        (self.at_positions("kthvalue", &indices, at).squeeze(axis), indices.squeeze(axis))
    }

    /// For each value, the first position (i64) in the last axis of this sorted tensor at which it could stand: before
    /// elements that equal it, or behind them if `right`. The tensor has one axis, or the leading axes of `values`.
    ///
    /// ```
    /// use tracewright::Tensor;
    /// let sorted = Tensor::from([1.0f32, 3.0, 3.0, 5.0]);
    /// let values = Tensor::from([0.0f32, 3.0, 4.0, 9.0]);
    /// assert_eq!(sorted.searchsorted(&values, false).to_vec::<i64>()?, [0, 1, 3, 4]);
    /// assert_eq!(sorted.searchsorted(&values, true).to_vec::<i64>()?, [0, 3, 3, 4]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn searchsorted(&self, values: &Tensor, right: bool) -> Tensor {
        let _here = enter();
        if let Some(t) = [self, values].into_iter().find(|t| t.error_ref().is_some()) {
            return t.clone();
        }
        let (x, v) = (self.shape(), values.shape());
        let leading = x.rank().saturating_sub(1);
        if x.rank() == 0 || (leading > 0 && (v.rank() != x.rank() || v[..leading] != x[..leading])) {
            let rule = format!("the sorted tensor has shape {x}, the values have {v}");
            let legal = "one axis, or the leading axes of the values and one more";
            return refuse(Error::new(Code::Shape, "searchsorted", rule, legal), &[self, values]);
        }
        let dtype = promote::promote(self.dtype(), values.dtype());
        // Halvings that find a place; unknown if the number of elements is.
        let halvings = x[leading].as_usize().map(|n| n.checked_ilog2().map_or(0, |bits| bits as i64 + 1));
        let attributes = [right as i64, halvings.unwrap_or(-1)];
        run(Call::composed("searchsorted", &attributes, Extents::Symbolic), &[self, values], &|t| {
            let (sorted, values) = (prim::cast(&t[0], dtype), prim::cast(&t[1], dtype));
            let shape = values.ty().shape;
            let n = sorted.ty().shape[leading].clone();
            // True where an element stands before the value.
            let before = |element: &Tensor, value: &Tensor| {
                let ordered = if right { element.le(value) } else { element.lt(value) };
                match (dtype.is_float(), right) {
                    (false, _) => ordered,
                    (true, true) => ordered.logical_or(value.is_nan()),
                    (true, false) => ordered.logical_or(value.is_nan().logical_and(element.is_nan().logical_not())),
                }
            };
            let Some(halvings) = halvings else {
                // The number of elements before each value.
                let mut wide: Shape = shape.clone();
                wide.insert(leading, n);
                let all: Axes = (0..wide.rank()).filter(|&a| a != leading).collect();
                let of_sorted: Axes = (0..=leading).collect();
                let values = record(BroadcastInDim { shape: wide.clone(), dims: all }, &[&values]);
                let sorted = record(BroadcastInDim { shape: wide, dims: of_sorted }, &[&sorted]);
                return before(&sorted, &values).sum(leading as isize);
            };
            let mut place = prim::full(ir::Scalar::I64(0), &shape);
            let count = prim::extent(&n);
            for halving in (0..halvings).rev() {
                let further = &place + (1i64 << halving);
                let last = &further - 1;
                let element =
                    record(Gather { axis: leading, batch: leading, mode: IndexMode::Clamp }, &[&sorted, &last]);
                let fits = before(&element, &values).logical_and(further.le(&count));
                place = fits.where_(&further, &place);
            }
            place
        })
    }
}
