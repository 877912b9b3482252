//! Parts of tensors, and padding.

use super::axes::resolve;
use crate::dispatch::{Call, Extents, enter, refuse, run};
use crate::error::{Code, Error, Result};
use crate::promote::Number;
use crate::tensor::Tensor;
use crate::trace::record;
use ir::ops::view;
use ir::{Axes, Dim, Shape};
use smallvec::SmallVec;
use std::ops::{Bound, RangeBounds};

/// The place of a bound, moved on by that many places if it is included or excluded.
fn bound(b: Bound<&isize>, extent: &Dim, included: i64, excluded: i64) -> Option<Dim> {
    match b {
        Bound::Included(&n) => Some(position(n, extent) + included),
        Bound::Excluded(&n) => Some(position(n, extent) + excluded),
        Bound::Unbounded => None,
    }
}

/// An index from the end if negative.
fn position(n: isize, extent: &Dim) -> Dim {
    if n < 0 { extent + n as i64 } else { Dim::from(n as i64) }
}

impl Tensor {
    /// The elements of a range along an axis; negative ends count from the end, as in Python, but a range that leaves
    /// the axis is refused.
    ///
    /// ```
    /// use tracewright::{DType, Tensor};
    /// let x = Tensor::arange(5, DType::I64);
    /// assert_eq!(x.slice(0, 1..-1).to_vec::<i64>()?, [1, 2, 3]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn slice(&self, axis: isize, range: impl RangeBounds<isize>) -> Tensor {
        self.slice_step(axis, range, 1)
    }

    /// Every `step`-th element of a range along an axis.
    ///
    /// ```
    /// use tracewright::{DType, Tensor};
    /// assert_eq!(Tensor::arange(6, DType::I64).slice_step(0, 1.., 2).to_vec::<i64>()?, [1, 3, 5]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn slice_step(&self, axis: isize, range: impl RangeBounds<isize>, step: usize) -> Tensor {
        let _here = enter();
        if self.error_ref().is_some() {
            return self.clone();
        }
        let shape = self.shape();
        let at = match resolve(axis, shape.rank(), "slice") {
            Ok(a) => a,
            Err(e) => return refuse(e, &[self]),
        };
        let extent = &shape[at];
        let start = bound(range.start_bound(), extent, 0, 1).unwrap_or(Dim::from(0));
        let end = bound(range.end_bound(), extent, 1, 0).unwrap_or_else(|| extent.clone());
        self.cut("slice", at, start, end, step)
    }

    /// `length` elements from `start` along an axis.
    ///
    /// ```
    /// use tracewright::{DType, Tensor};
    /// assert_eq!(Tensor::arange(6, DType::I64).narrow(0, 2, 3).to_vec::<i64>()?, [2, 3, 4]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn narrow(&self, axis: isize, start: usize, length: usize) -> Tensor {
        let _here = enter();
        if self.error_ref().is_some() {
            return self.clone();
        }
        match resolve(axis, self.rank(), "narrow") {
            Ok(at) => self.cut("narrow", at, start.into(), Dim::from(start) + length, 1),
            Err(e) => refuse(e, &[self]),
        }
    }

    #[track_caller]
    fn cut(&self, name: &'static str, axis: usize, start: Dim, end: Dim, step: usize) -> Tensor {
        let shape = self.shape();
        let extent = &shape[axis];
        let negative = |d: &Dim| d.known().is_some_and(|n| n < 0);
        if step == 0 || negative(&start) || negative(&(&end - &start)) || negative(&(extent - &end)) {
            let rule = match step {
                0 => "the step is 0".to_string(),
                _ => format!("range {start}..{end} does not lie in axis {axis} of extent {extent}"),
            };
            let legal = format!("a range within 0..{extent}, and a positive step");
            return refuse(Error::new(Code::Index, name, rule, legal), &[self]);
        }
        let rank = shape.rank();
        let starts = Shape::from_iter((0..rank).map(|i| if i == axis { start.clone() } else { Dim::from(0) }));
        let limits = shape.with_axis(axis, end.clone());
        let strides: Axes = (0..rank).map(|i| if i == axis { step } else { 1 }).collect();
        let known = |d: &Dim| d.known().unwrap_or(-1);
        let attributes = [axis as i64, known(&start), known(&end), step as i64];
        run(Call::plain(name, &attributes, Extents::Exact), &[self], &|t| {
            let (starts, limits, strides) = (starts.clone(), limits.clone(), strides.clone());
            record(view::Slice { starts, limits, strides }, &[&t[0]])
        })
    }

    /// The part at one index of an axis, which falls away; negative indices count from the end.
    ///
    /// ```
    /// use tracewright::Tensor;
    /// assert_eq!(Tensor::from([[1i64, 2], [3, 4]]).select(0, -1).to_vec::<i64>()?, [3, 4]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn select(&self, axis: isize, index: isize) -> Tensor {
        let _here = enter();
        if self.error_ref().is_some() {
            return self.clone();
        }
        let shape = self.shape();
        let at = match resolve(axis, shape.rank(), "select") {
            Ok(a) => a,
            Err(e) => return refuse(e, &[self]),
        };
        let start = position(index, &shape[at]);
        if let (Some(i), Some(n)) = (start.known(), shape[at].known())
            && !(0..n).contains(&i)
        {
            let rule = format!("index {index} is out of range for axis {at} of extent {n}");
            let legal =
                if n == 0 { "an axis with elements".into() } else { format!("indices go from -{n} to {}", n - 1) };
            return refuse(Error::new(Code::Index, "select", rule, legal), &[self]);
        }
        let part = self.cut("select", at, start.clone(), start + 1, 1);
        part.squeeze(at as isize)
    }

    /// Parts of those extents along an axis, which must add up.
    ///
    /// ```
    /// use tracewright::{DType, Tensor};
    /// let parts = Tensor::arange(5, DType::I64).split(&[2, 3], 0)?;
    /// assert_eq!(parts[1].to_vec::<i64>()?, [2, 3, 4]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn split(&self, sizes: &[usize], axis: isize) -> Result<Vec<Tensor>> {
        let _here = enter();
        let ty = self.try_type()?;
        let at = resolve(axis, ty.rank(), "split").map_err(|e| e.at(crate::dispatch::here()).observed())?;
        let total = sizes.iter().fold(0usize, |n, &size| n.saturating_add(size));
        if !i64::try_from(total).is_ok_and(|n| ty.shape[at].is(n)) {
            let rule = format!("parts of {sizes:?} make {total}, axis {at} has extent {}", ty.shape[at]);
            let e = Error::new(Code::Shape, "split", rule, "parts that add up to the extent");
            return Err(e.with_operands([ty.to_string()]).at(crate::dispatch::here()).observed());
        }
        let mut start = 0;
        let parts = sizes.iter().map(|&n| {
            start += n;
            self.narrow(at as isize, start - n, n)
        });
        parts.map(Tensor::ok).collect()
    }

    /// The parts at every index of an axis, which falls away. The extent must be a number.
    ///
    /// ```
    /// use tracewright::Tensor;
    /// let rows = Tensor::from([[1i64, 2], [3, 4]]).unbind(0)?;
    /// assert_eq!(rows[1].to_vec::<i64>()?, [3, 4]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn unbind(&self, axis: isize) -> Result<Vec<Tensor>> {
        let _here = enter();
        let ty = self.try_type()?;
        let at = resolve(axis, ty.rank(), "unbind").map_err(|e| e.at(crate::dispatch::here()).observed())?;
        (0..crate::tensor::extent(&ty.shape[at])).map(|i| self.select(at as isize, i as isize).ok()).collect()
    }

    /// With `before` and `after` elements of one value added at the ends of each axis, given as `(before, after)`.
    ///
    /// ```
    /// use tracewright::Tensor;
    /// assert_eq!(Tensor::from([1i64, 2]).pad(&[(1, 2)], 9).to_vec::<i64>()?, [9, 1, 2, 9, 9]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn pad(&self, ends: &[(usize, usize)], value: impl Into<Number>) -> Tensor {
        let _here = enter();
        if self.error_ref().is_some() {
            return self.clone();
        }
        let rank = self.rank();
        if ends.len() != rank {
            let rule = format!("{} pairs for a tensor of rank {rank}", ends.len());
            return refuse(Error::new(Code::Rank, "pad", rule, "one pair per axis"), &[self]);
        }
        let value = value.into();
        if let Err(e) = value.fits("pad", self.dtype()) {
            return refuse(e, &[self]);
        }
        let value = value.scalar(self.dtype());
        let mut attributes: SmallVec<[i64; 8]> = ends.iter().flat_map(|&(a, b)| [a as i64, b as i64]).collect();
        attributes.push(value.bits() as i64);
        let low: Shape = ends.iter().map(|e| e.0).collect();
        let high: Shape = ends.iter().map(|e| e.1).collect();
        run(Call::plain("pad", &attributes, Extents::Exact), &[self], &|t| {
            let (low, high, interior) = (low.clone(), high.clone(), Axes::from_elem(0, rank));
            record(view::Pad { value, low, high, interior }, &[&t[0]])
        })
    }
}
