//! Rolling, and repeating elements.

use super::axes::{Reduction, resolve};
use super::prim;
use crate::dispatch::{Call, Extents, checked, run, run_sized};
use crate::error::{Code, Error};
use crate::tensor::Tensor;
use ir::{Dim, Shape};
use smallvec::SmallVec;

/// The part of an axis from `start` on, then the part before it.
fn rolled(x: &Tensor, axis: usize, start: &Dim) -> Tensor {
    if x.error_ref().is_some() || start.is(0) {
        return x.clone();
    }
    let n = x.ty().shape[axis].clone();
    prim::concat(&[prim::slice(x, axis, start.clone(), n, 1), prim::slice(x, axis, 0, start.clone(), 1)], axis)
}

/// Every element `n` times in its place.
fn each(x: &Tensor, axis: usize, n: usize) -> Tensor {
    let shape = x.ty().shape;
    let mut wide = shape.clone();
    wide.insert(axis + 1, Dim::from(n));
    let kept: Vec<usize> = (0..wide.rank()).filter(|&a| a != axis + 1).collect();
    prim::reshape(&prim::spread(x, &wide, &kept), &shape.with_axis(axis, &shape[axis] * n))
}

impl Tensor {
    /// Moved on by `shifts[i]` places along `axes[i]`; what leaves at one end comes in at the other. With `..` as axes
    /// there is one shift, of all elements in row-major order. A symbolic extent is at least 1.
    ///
    /// ```
    /// use tracewright::Tensor;
    /// assert_eq!(Tensor::from([1i64, 2, 3]).roll(&[1], [0]).to_vec::<i64>()?, [3, 1, 2]);
    /// let x = Tensor::from([[1i64, 2], [3, 4]]);
    /// assert_eq!(x.roll(&[1, -1], [0, 1]).to_vec::<i64>()?, [4, 3, 2, 1]);
    /// assert_eq!(x.roll(&[1], ..).to_vec::<i64>()?, [4, 1, 2, 3]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn roll(&self, shifts: &[isize], axes: impl Into<Reduction>) -> Tensor {
        checked(&[self], || {
            let axes = axes.into();
            let flat = axes.listed().is_none();
            let named = axes.listed().unwrap_or(&[0]).iter();
            let rank = if flat { 1 } else { self.rank() };
            let at = named.map(|&a| resolve(a, rank, "roll")).collect::<Result<SmallVec<[usize; 4]>, Error>>()?;
            if at.len() != shifts.len() {
                let rule = format!("{} shifts for {} axes", shifts.len(), at.len());
                return Err(Error::new(Code::Argument, "roll", rule, "one shift per axis"));
            }
            let shape = self.shape();
            let start = |n: Dim, shift: isize| match shift.checked_neg() {
                _ if n.is(0) => n,
                Some(back) => Dim::from(back as i64).modulo(&n),
                None => (&n - Dim::from(shift as i64).modulo(&n)).modulo(&n),
            };
            if flat {
                let start = start(shape.numel(), shifts[0]);
                return Ok(run_sized(
                    Call::composed("roll", &[-1], Extents::Symbolic),
                    &[self],
                    &[start],
                    &|t, start| {
                        let shape = t[0].ty().shape;
                        let x = prim::reshape(&t[0], &Shape::from([shape.numel()]));
                        prim::reshape(&rolled(&x, 0, &start[0]), &shape)
                    },
                ));
            }
            // Outside of a trace an axis at a time is faster than all at once.
            Ok(at.iter().zip(shifts).fold(self.clone(), |x, (&axis, &shift)| {
                let attributes = [axis as i64];
                let call = Call::composed("roll", &attributes, Extents::Symbolic);
                run_sized(call, &[&x], &[start(shape[axis].clone(), shift)], &|t, start| rolled(&t[0], axis, &start[0]))
            }))
        })
    }

    /// The whole tensor repeated `times[i]` times along axis `i`. Where one of both has fewer axes, it gets more in
    /// front. PyTorch's `repeat` is the same, with at least as many numbers as axes.
    ///
    /// ```
    /// use tracewright::Tensor;
    /// assert_eq!(Tensor::from([1i64, 2]).tile(&[2, 2]).to_vec::<i64>()?, [1, 2, 1, 2, 1, 2, 1, 2]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn tile(&self, times: &[usize]) -> Tensor {
        checked(&[self], || {
            let attributes: SmallVec<[i64; 8]> = times.iter().map(|&n| n as i64).collect();
            Ok(run(Call::composed("tile", &attributes, Extents::Symbolic), &[self], &|t| {
                let old = t[0].ty().shape;
                let rank = old.rank().max(times.len());
                let (missing, offset) = (rank - times.len(), rank - old.rank());
                let repeats = |i: usize| if i < missing { 1 } else { times[i - missing] };
                let extent = |i: usize| if i < offset { Dim::from(1) } else { old[i - offset].clone() };
                let wide: Shape = (0..rank).flat_map(|i| [Dim::from(repeats(i)), extent(i)]).collect();
                let places: Vec<usize> = (offset..rank).map(|i| 2 * i + 1).collect();
                let new: Shape = (0..rank).map(|i| extent(i) * repeats(i)).collect();
                prim::reshape(&prim::spread(&t[0], &wide, &places), &new)
            }))
        })
    }

    /// Every element `n` times, one beside the other, along an axis.
    ///
    /// ```
    /// use tracewright::Tensor;
    /// let x = Tensor::from([[1i64, 2], [3, 4]]);
    /// assert_eq!(x.repeat_interleave(2, 1).to_vec::<i64>()?, [1, 1, 2, 2, 3, 3, 4, 4]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn repeat_interleave(&self, n: usize, axis: isize) -> Tensor {
        checked(&[self], || {
            let axis = resolve(axis, self.rank(), "repeat_interleave")?;
            let attributes = [n as i64, axis as i64];
            let call = Call::composed("repeat_interleave", &attributes, Extents::Symbolic);
            Ok(run(call, &[self], &|t| each(&t[0], axis, n)))
        })
    }

    /// Part `i` of an axis `counts[i]` times, one beside the other; `total` is the sum of the counts, which a trace has
    /// to know. If they make more, what is too much falls away; if they make less, that is an error of the call.
    ///
    /// ```
    /// use tracewright::Tensor;
    /// let (x, counts) = (Tensor::from([7i64, 8, 9]), Tensor::from([2i64, 0, 1]));
    /// assert_eq!(x.repeat_each(&counts, 0, 3).to_vec::<i64>()?, [7, 7, 9]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn repeat_each(&self, counts: &Tensor, axis: isize, total: usize) -> Tensor {
        checked(&[self, counts], || {
            let axis = resolve(axis, self.rank(), "repeat_each")?;
            let (n, c) = (self.shape()[axis].clone(), counts.shape());
            if !counts.dtype().is_int() {
                let rule = format!("the counts have dtype {}", counts.dtype());
                return Err(Error::new(Code::DType, "repeat_each", rule, "integers"));
            }
            if c != Shape::from([n.clone()]) {
                let rule = format!("counts of shape {c} for axis {axis} of extent {n}");
                return Err(Error::new(Code::Shape, "repeat_each", rule, format!("shape [{n}]")));
            }
            let ends = counts.cumsum(0);
            let places = Tensor::arange(total, ir::DType::I64);
            Ok(self.take(&ends.searchsorted(&places, true), axis as isize))
        })
    }
}
