//! Padding.

use super::prim;
use crate::dispatch::{Call, Extents, checked, run_sized};
use crate::error::{Code, Error};
use crate::promote::Number;
use crate::tensor::Tensor;
use crate::trace::record;
use ir::ops::view;
use ir::{Axes, Dim};
use smallvec::SmallVec;

/// What [`Tensor::pad`] puts at the ends of axes. A number is [`PadMode::Constant`].
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum PadMode {
    /// One value everywhere.
    Constant(Number),
    /// The elements mirrored at the first and the last one, which are not repeated: `3 2 | 1 2 3 | 2 1`.
    Reflect,
    /// The first and the last element again: `1 1 | 1 2 3 | 3 3`.
    Replicate,
    /// The elements of the other end: `2 3 | 1 2 3 | 1 2`.
    Circular,
}

impl<N: Into<Number>> From<N> for PadMode {
    fn from(value: N) -> PadMode {
        PadMode::Constant(value.into())
    }
}

/// An error if an axis of that extent has too few elements.
fn check(mode: PadMode, axis: usize, extent: &Dim, (low, high): (usize, usize)) -> Result<(), Error> {
    let most = match mode {
        PadMode::Constant(_) => return Ok(()),
        PadMode::Replicate if extent.is(0) && (low, high) != (0, 0) => {
            let rule = format!("axis {axis} is empty, so there is no element to repeat");
            return Err(Error::new(Code::Empty, "pad", rule, "an axis with elements, or a constant"));
        }
        PadMode::Replicate => return Ok(()),
        PadMode::Reflect => extent - 1,
        PadMode::Circular => extent.clone(),
    };
    let asked = low.max(high);
    if asked == 0 || (&most - &Dim::from(asked)).known().is_none_or(|rest| rest >= 0) {
        return Ok(());
    }
    let (word, most) = match mode {
        PadMode::Reflect => ("reflected", most.known().map_or(0, |n| n.max(0))),
        _ => ("wrapped", most.known().unwrap_or(0)),
    };
    let rule = format!("{asked} elements of axis {axis} of extent {extent} cannot be {word}");
    Err(Error::new(Code::Shape, "pad", rule, format!("at most {most} at each end of axis {axis}")))
}

fn padded(x: &Tensor, axis: usize, low: &Dim, high: &Dim, mode: PadMode) -> Tensor {
    if x.error_ref().is_some() {
        return x.clone();
    }
    let shape = x.ty().shape;
    let n = &shape[axis];
    let part = |start: Dim, count: &Dim| prim::slice(x, axis, start.clone(), start + count, 1);
    let edge = |at: Dim, count: &Dim| prim::broadcast(&part(at, &Dim::from(1)), &shape.with_axis(axis, count.clone()));
    let (before, after) = match mode {
        PadMode::Reflect => {
            (prim::reverse(&part(Dim::from(1), low), axis), prim::reverse(&part(n - 1 - high, high), axis))
        }
        PadMode::Replicate => (edge(Dim::from(0), low), edge(n - 1, high)),
        _ => (part(n - low, low), part(Dim::from(0), high)),
    };
    let one = Dim::from(1);
    let parts = [(low, before), (&one, x.clone()), (high, after)];
    let parts: Vec<Tensor> = parts.into_iter().filter(|p| !p.0.is(0)).map(|p| p.1).collect();
    prim::concat(&parts, axis)
}

impl Tensor {
    /// With `before` and `after` elements added at the ends of each axis, given as `(before, after)`: a number
    /// everywhere, or what [`PadMode`] says. PyTorch's `F.pad` counts axes from the last; here each has its pair.
    ///
    /// The elements added by `Reflect` are fewer than the axis has, those by `Circular` as many at most.
    ///
    /// ```
    /// use tracewright::{PadMode, Tensor};
    /// assert_eq!(Tensor::from([1i64, 2]).pad(&[(1, 2)], 9).to_vec::<i64>()?, [9, 1, 2, 9, 9]);
    /// let x = Tensor::from([1i64, 2, 3]);
    /// assert_eq!(x.pad(&[(2, 1)], PadMode::Reflect).to_vec::<i64>()?, [3, 2, 1, 2, 3, 2]);
    /// assert_eq!(x.pad(&[(2, 1)], PadMode::Replicate).to_vec::<i64>()?, [1, 1, 1, 2, 3, 3]);
    /// assert_eq!(x.pad(&[(2, 1)], PadMode::Circular).to_vec::<i64>()?, [2, 3, 1, 2, 3, 1]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn pad(&self, ends: &[(usize, usize)], mode: impl Into<PadMode>) -> Tensor {
        checked(&[self], || {
            let (shape, mode) = (self.shape(), mode.into());
            let rank = shape.rank();
            if ends.len() != rank {
                let rule = format!("{} pairs for a tensor of rank {rank}", ends.len());
                return Err(Error::new(Code::Rank, "pad", rule, "one pair per axis"));
            }
            let sizes: SmallVec<[Dim; 8]> = ends.iter().flat_map(|&(low, high)| [low.into(), high.into()]).collect();
            if let PadMode::Constant(value) = mode {
                value.fits("pad", self.dtype())?;
                let value = value.scalar(self.dtype());
                let bits = [value.bits() as i64];
                return Ok(run_sized(Call::plain("pad", &bits, Extents::Symbolic), &[self], &sizes, &|t, sizes| {
                    let low = sizes.iter().step_by(2).cloned().collect();
                    let high = sizes.iter().skip(1).step_by(2).cloned().collect();
                    record(view::Pad { value, low, high, interior: Axes::from_elem(0, rank) }, &[&t[0]])
                }));
            }
            shape.iter().zip(ends).enumerate().try_for_each(|(axis, (n, &e))| check(mode, axis, n, e))?;
            let name = match mode {
                PadMode::Reflect => "pad_reflect",
                PadMode::Replicate => "pad_replicate",
                _ => "pad_circular",
            };
            // An axis at a time: outside of a trace each is a kernel, whose elements are one of three instead of one of
            // three to the power of the axes.
            let padded_axes = ends.iter().enumerate().filter(|(_, e)| **e != (0, 0));
            Ok(padded_axes.fold(self.clone(), |x, (axis, &(low, high))| {
                let axis_only = [axis as i64];
                let call = Call::composed(name, &axis_only, Extents::Symbolic);
                run_sized(call, &[&x], &[low.into(), high.into()], &|t, e| padded(&t[0], axis, &e[0], &e[1], mode))
            }))
        })
    }
}
