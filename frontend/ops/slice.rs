//! Slicing, splitting and selecting.

use super::axes::resolve;
use crate::dispatch::{enter, refuse};
use crate::error::{Code, Error, Result};
use crate::tensor::Tensor;
use crate::view::{Step, view};
use ir::{Axes, Dim, Shape};
use std::ops::{Bound, RangeBounds};

/// Parts that a tensor is split into at most, where they may be empty.
const MOST_PARTS: usize = 1 << 20;

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
        let count = (&end - &start).ceil_div(&Dim::from(step));
        let starts = Shape::from_iter((0..rank).map(|i| if i == axis { start.clone() } else { Dim::from(0) }));
        let strides: Axes = (0..rank).map(|i| if i == axis { step } else { 1 }).collect();
        let (counts, limits) = (shape.with_axis(axis, count), shape.with_axis(axis, end));
        view(name, self, [Step::Slice { starts, counts, strides, limits }])
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

    /// Parts of one extent along an axis; the last has what is left.
    ///
    /// ```
    /// use tracewright::{DType, Tensor};
    /// let parts = Tensor::arange(5, DType::I64).split_every(2, 0)?;
    /// assert_eq!(parts.iter().map(|p| p.size(0)).collect::<Vec<_>>(), [2, 2, 1]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn split_every(&self, size: usize, axis: isize) -> Result<Vec<Tensor>> {
        let _here = enter();
        self.parts("split_every", axis, size, |n| {
            let count = n.div_ceil(size.max(1)).max(1);
            (size > 0 || n == 0).then(|| (0..count).map(|i| size.min(n - i * size)).collect())
        })
    }

    /// At most `count` parts along an axis, as PyTorch's `chunk` has them: of the least extent for which there are not
    /// more; the last has what is left.
    ///
    /// ```
    /// use tracewright::{DType, Tensor};
    /// let parts = Tensor::arange(7, DType::I64).chunk(3, 0)?;
    /// assert_eq!(parts.iter().map(|p| p.size(0)).collect::<Vec<_>>(), [3, 3, 1]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn chunk(&self, count: usize, axis: isize) -> Result<Vec<Tensor>> {
        let _here = enter();
        self.parts("chunk", axis, count, |n| {
            let size = n.div_ceil(count.max(1));
            let made = if n == 0 { count } else { n.div_ceil(size) };
            (1..=MOST_PARTS).contains(&count).then(|| (0..made).map(|i| size.min(n - i * size)).collect())
        })
    }

    /// Exactly `count` parts along an axis, as NumPy's `array_split` has them: the first ones may be longer by one.
    /// `hsplit` and its like are this along their axis.
    ///
    /// ```
    /// use tracewright::{DType, Tensor};
    /// let parts = Tensor::arange(5, DType::I64).tensor_split(3, 0)?;
    /// assert_eq!(parts.iter().map(|p| p.size(0)).collect::<Vec<_>>(), [2, 2, 1]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn tensor_split(&self, count: usize, axis: isize) -> Result<Vec<Tensor>> {
        let _here = enter();
        self.parts("tensor_split", axis, count, |n| {
            (1..=MOST_PARTS)
                .contains(&count)
                .then(|| (0..count).map(|i| n / count + usize::from(i < n % count)).collect())
        })
    }

    /// Parts of the extents that `sizes` makes of that of the axis, which must be a number.
    #[track_caller]
    fn parts(
        &self,
        name: &'static str,
        axis: isize,
        asked: usize,
        sizes: impl FnOnce(usize) -> Option<Vec<usize>>,
    ) -> Result<Vec<Tensor>> {
        let ty = self.try_type()?;
        let refused = |e: Error| e.with_operands([ty.to_string()]).at(crate::dispatch::here()).observed();
        let at = resolve(axis, ty.rank(), name).map_err(refused)?;
        let Some(sizes) = sizes(crate::tensor::extent(&ty.shape[at])) else {
            let (what, legal) = match name {
                "split_every" => ("parts of extent 0".to_string(), "an extent of at least 1".to_string()),
                _ => (format!("{asked} parts"), format!("a number from 1 to {MOST_PARTS}")),
            };
            return Err(refused(Error::new(Code::Argument, name, what, legal)));
        };
        self.split(&sizes, axis)
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
}
