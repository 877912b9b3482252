//! Medians and quantiles.

use super::axes::Reduction;
use super::prim;
use super::reduce::{count, dim_scalar, keep, merged};
use super::sort::at;
use crate::dispatch::{Call, Extents, checked, enter, refuse, run};
use crate::error::{Code, Error};
use crate::promote;
use crate::tensor::Tensor;
use crate::trace::record;
use ir::ops::index::{Gather, IndexMode};
use ir::ops::sort::ArgSort;
use ir::{Axes, DType, Dim, Shape};
use smallvec::SmallVec;

/// The shares that [`Tensor::quantile`] asks for: a number, or several, for which the result has a first axis.
#[derive(Clone, Debug)]
pub enum Shares {
    /// One number from 0 to 1.
    One(f64),
    /// Several.
    Several(Vec<f64>),
    /// A scalar or a vector of them. One that is not between 0 and 1 gives NaN.
    Tensor(Tensor),
}

impl From<f64> for Shares {
    fn from(q: f64) -> Shares {
        Shares::One(q)
    }
}
impl From<&[f64]> for Shares {
    fn from(q: &[f64]) -> Shares {
        Shares::Several(q.to_vec())
    }
}
impl<const N: usize> From<[f64; N]> for Shares {
    fn from(q: [f64; N]) -> Shares {
        Shares::Several(q.to_vec())
    }
}
impl From<&Tensor> for Shares {
    fn from(q: &Tensor) -> Shares {
        Shares::Tensor(q.clone())
    }
}

/// What a quantile is that falls between two elements, or how its place among `n` of them follows from the share `q`:
/// the first five as PyTorch and NumPy have them, the others NumPy's (Hyndman and Fan, "Sample quantiles in statistical
/// packages", 1996). The place of the first element is 0.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Interpolation {
    /// The place is `q * (n - 1)`; between elements what a straight line gives.
    Linear,
    /// The element below that place.
    Lower,
    /// The element above.
    Higher,
    /// The mean of both, if the place is between elements.
    Midpoint,
    /// The nearer one, or of both the one whose index is even.
    Nearest,
    /// The first element with at least the share `q` up to it: the place is `ceil(q * n) - 1`.
    InvertedCdf,
    /// The same, or the mean with the next one where `q * n` is an integer.
    AveragedInvertedCdf,
    /// The element nearest to the place `q * n - 1`, or of both the one that is even when counted from 1.
    ClosestObservation,
    /// A straight line through the places `q * n - 1`.
    InterpolatedInvertedCdf,
    /// A straight line through the places `q * n - 1/2`.
    Hazen,
    /// A straight line through the places `q * (n + 1) - 1`.
    Weibull,
    /// A straight line through the places `q * (n + 1/3) - 2/3`.
    MedianUnbiased,
    /// A straight line through the places `q * (n + 1/4) - 5/8`.
    NormalUnbiased,
}

impl Interpolation {
    /// The two elements that count, as indices, and how far the quantile is from the first to the second.
    fn place(self, q: &Tensor, n: &Tensor) -> (Tensor, Tensor, Tensor) {
        // The parameters of the straight lines: at `q * (n + 1 - a - b) + a - 1`.
        let line = |a: f64, b: f64| q * (n + (1.0 - a - b)) + (a - 1.0);
        let exact = match self {
            Interpolation::Linear
            | Interpolation::Lower
            | Interpolation::Higher
            | Interpolation::Midpoint
            | Interpolation::Nearest => q * (n - 1.0),
            Interpolation::InvertedCdf
            | Interpolation::AveragedInvertedCdf
            | Interpolation::InterpolatedInvertedCdf => q * n - 1.0,
            Interpolation::ClosestObservation => q * n - 1.5,
            Interpolation::Hazen => line(0.5, 0.5),
            Interpolation::Weibull => line(0.0, 0.0),
            Interpolation::MedianUnbiased => line(1.0 / 3.0, 1.0 / 3.0),
            Interpolation::NormalUnbiased => line(0.375, 0.375),
        };
        let last = (n - 1.0).maximum(0.0);
        let inside = |t: Tensor| t.maximum(0.0).minimum(&last);
        let (below, above) = (exact.floor(), exact.ceil());
        let one = |t: Tensor| {
            let t = inside(t);
            let none = t.zeros_like();
            (t.clone(), t, none)
        };
        match self {
            Interpolation::Lower => one(below),
            Interpolation::Higher | Interpolation::InvertedCdf => one(above),
            Interpolation::Nearest => one(exact.round()),
            Interpolation::ClosestObservation => {
                let odd = below.remainder(2.0).eq(1.0).logical_and(below.eq(&exact));
                one(odd.where_(&below, &below + 1.0))
            }
            Interpolation::Midpoint => {
                let share = exact.ones_like() * 0.5;
                (inside(below), inside(above), share)
            }
            Interpolation::AveragedInvertedCdf => {
                let share = below.eq(&exact).where_(0.5, exact.ones_like());
                (inside(below.clone()), inside(below + 1.0), share)
            }
            _ => {
                let exact = inside(exact);
                let below = exact.floor();
                let share = &exact - &below;
                (below, inside(exact.ceil()), share)
            }
        }
    }
}

impl Tensor {
    /// The axes, which are not empty.
    fn ordered_axes(&self, name: &'static str, axes: Reduction) -> Result<(Axes, bool), Error> {
        let (axes, kept) = axes.ordered(self.rank(), name)?;
        if let Some(a) = axes.iter().find(|&&a| self.shape()[a].is(0)) {
            let rule = format!("axis {a} is empty, so there is no element to give");
            return Err(Error::new(Code::Empty, name, rule, "an axis with elements"));
        }
        Ok((axes, kept))
    }

    #[track_caller]
    fn middle(&self, name: &'static str, axes: Reduction, skip: bool) -> (Tensor, Tensor) {
        let _here = enter();
        if self.error_ref().is_some() {
            return (self.clone(), self.clone());
        }
        let (axes, kept) = match self.ordered_axes(name, axes) {
            Ok(axes) => axes,
            Err(e) => {
                let t = refuse(e, &[self]);
                return (t.clone(), t);
            }
        };
        let mut attributes: SmallVec<[i64; 8]> = axes.iter().map(|&a| a as i64).collect();
        attributes.extend([kept as i64, 0]);
        let float = self.dtype().is_float();
        let indices = run(Call::composed(name, &attributes, Extents::Symbolic), &[self], &|t| {
            let x = merged(&t[0], &axes);
            let axis = x.rank() - 1;
            let sorted = record(ArgSort { axis, descending: false }, &[&x]);
            let last = &x.ty().shape[axis] - 1;
            let middle = |last: &Tensor| last.floor_divide(2);
            let all = dim_scalar(&last, DType::I64);
            let place = match (float, skip) {
                (false, _) => middle(&all),
                // NaN comes last.
                (true, true) => middle(&(x.is_nan().logical_not().sum(axis as isize) - 1).maximum(0)),
                (true, false) => x.is_nan().any(axis as isize).where_(&all, middle(&all)),
            };
            let line = x.ty().shape.with_axis(axis, Dim::from(1));
            let place = prim::reshape(&prim::broadcast(&place, &line.without(&[axis])), &line);
            // An axis that a call makes empty has no such place, which is an error.
            let found = record(Gather { axis, batch: axis, mode: IndexMode::Clamp }, &[&sorted, &place]);
            keep(prim::reshape(&found, &line.without(&[axis])), &t[0], &axes, kept)
        });
        attributes.pop();
        attributes.push(1);
        let values = run(Call::composed(name, &attributes, Extents::Symbolic), &[self, &indices], &|t| {
            let x = merged(&t[0], &axes);
            let axis = x.rank() - 1;
            let line = x.ty().shape.with_axis(axis, Dim::from(1));
            let values = at(&x, &prim::reshape(&t[1], &line), axis);
            prim::reshape(&values, &t[1].ty().shape)
        });
        (values, indices)
    }

    /// The middle element over axes, of two the smaller, as PyTorch has it, and its position (i64), as
    /// [`Tensor::argmax`] counts; NaN if there is one.
    ///
    /// ```
    /// use tracewright::Tensor;
    /// let (value, index) = Tensor::from([4.0f32, 1.0, 3.0, 2.0]).median(0);
    /// assert_eq!((value.item::<f32>()?, index.item::<i64>()?), (2.0, 3));
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn median(&self, axes: impl Into<Reduction>) -> (Tensor, Tensor) {
        self.middle("median", axes.into(), false)
    }

    /// [`Tensor::median`] of what is not NaN; NaN if there is nothing else.
    ///
    /// ```
    /// use tracewright::Tensor;
    /// let (value, index) = Tensor::from([4.0f32, f32::NAN, 3.0]).nanmedian(0);
    /// assert_eq!((value.item::<f32>()?, index.item::<i64>()?), (3.0, 2));
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn nanmedian(&self, axes: impl Into<Reduction>) -> (Tensor, Tensor) {
        self.middle("nanmedian", axes.into(), true)
    }

    #[track_caller]
    fn shares(
        &self,
        name: &'static str,
        q: Shares,
        axes: Reduction,
        interpolation: Interpolation,
        skip: bool,
    ) -> Tensor {
        let _here = enter();
        let listed = match &q {
            Shares::One(q) => std::slice::from_ref(q),
            Shares::Several(q) => q,
            Shares::Tensor(_) => &[],
        };
        if let Some(q) = listed.iter().find(|q| !(0.0..=1.0).contains(*q)) {
            let rule = format!("the share is {q}");
            return refuse(Error::new(Code::Argument, name, rule, "a number from 0 to 1"), &[self]);
        }
        let q = match q {
            Shares::One(q) => Tensor::from(q),
            Shares::Several(q) => Tensor::from_slice(&q, [q.len()]),
            Shares::Tensor(q) => q,
        };
        checked(&[self, &q], || {
            if !q.dtype().is_float() || q.rank() > 1 {
                let rule = format!("the shares are {}", q.ty());
                return Err(Error::new(Code::Argument, name, rule, "a float scalar or vector"));
            }
            let (axes, kept) = self.ordered_axes(name, axes)?;
            let mut attributes: SmallVec<[i64; 8]> = axes.iter().map(|&a| a as i64).collect();
            attributes.extend([kept as i64, interpolation as i64]);
            Ok(run(Call::composed(name, &attributes, Extents::Symbolic), &[self, &q], &|t| {
                let dtype = promote::float(t[0].dtype());
                let wide = prim::cast(&t[0], dtype.accumulator());
                let result = quantiles(&merged(&wide, &axes), &t[1], interpolation, skip);
                let result = prim::cast(&result, dtype);
                if !kept || result.error_ref().is_some() {
                    return result;
                }
                let shape = t[0].ty().shape;
                let ones = |a: usize| if axes.contains(&a) { Dim::from(1) } else { shape[a].clone() };
                let several = t[1].ty().shape;
                prim::reshape(&result, &several.iter().cloned().chain((0..shape.rank()).map(ones)).collect())
            }))
        })
    }

    /// The value below which the share `q` of the elements over axes lie, interpolated linearly between neighbours; NaN
    /// if there is one. For several shares the result has a first axis. Integers give f32.
    ///
    /// ```
    /// use tracewright::Tensor;
    /// let x = Tensor::from([4.0f32, 1.0, 3.0, 2.0]);
    /// assert_eq!(x.quantile(0.5, 0).item::<f32>()?, 2.5);
    /// assert_eq!(x.quantile([0.0, 1.0], ..).to_vec::<f32>()?, [1.0, 4.0]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn quantile(&self, q: impl Into<Shares>, axes: impl Into<Reduction>) -> Tensor {
        self.shares("quantile", q.into(), axes.into(), Interpolation::Linear, false)
    }

    /// [`Tensor::quantile`], with what to give between elements.
    ///
    /// ```
    /// use tracewright::{Interpolation, Tensor};
    /// let x = Tensor::from([4.0f32, 1.0, 3.0, 2.0]);
    /// assert_eq!(x.quantile_with(0.5, 0, Interpolation::Lower).item::<f32>()?, 2.0);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn quantile_with(
        &self,
        q: impl Into<Shares>,
        axes: impl Into<Reduction>,
        interpolation: Interpolation,
    ) -> Tensor {
        self.shares("quantile", q.into(), axes.into(), interpolation, false)
    }

    /// [`Tensor::quantile_with`] of what is not NaN; NaN if there is nothing else.
    ///
    /// ```
    /// use tracewright::{Interpolation, Tensor};
    /// let x = Tensor::from([4.0f32, f32::NAN, 3.0]);
    /// assert_eq!(x.nanquantile(0.5, 0, Interpolation::Linear).item::<f32>()?, 3.5);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn nanquantile(
        &self,
        q: impl Into<Shares>,
        axes: impl Into<Reduction>,
        interpolation: Interpolation,
    ) -> Tensor {
        self.shares("nanquantile", q.into(), axes.into(), interpolation, true)
    }
}

/// Quantiles of the last axis, those of several shares along a first one.
fn quantiles(x: &Tensor, q: &Tensor, interpolation: Interpolation, skip: bool) -> Tensor {
    if x.error_ref().is_some() {
        return x.clone();
    }
    let (axis, single) = (x.rank() - 1, q.rank() == 0);
    let shape = x.ty().shape;
    let sorted = record(ArgSort { axis, descending: false }, &[x]);
    let values = at(x, &sorted, axis);
    // Places have the leading axes of x and one for the shares.
    let several = Shape::from([q.ty().shape.numel()]);
    let wide = shape.with_axis(axis, several[0].clone());
    let q = prim::broadcast(&prim::reshape(&prim::cast(q, DType::F64), &several), &wide);
    let n = if skip {
        let there = prim::cast(&x.is_nan().logical_not(), DType::F64).sum(axis as isize);
        let leading: Vec<usize> = (0..axis).collect();
        prim::spread(&there, &wide, &leading)
    } else {
        prim::broadcast(&dim_scalar(&count(x, &[axis]), DType::F64), &wide)
    };
    let (below, above, share) = interpolation.place(&q, &n);
    let share = prim::cast(&share, x.dtype());
    let pick = |place: &Tensor| {
        let place = prim::cast(place, DType::I64);
        record(Gather { axis, batch: axis, mode: IndexMode::Clamp }, &[&values, &place])
    };
    let (below, above) = (pick(&below), pick(&above));
    let between = &below + (&above - &below) * &share;
    // What has the whole weight counts alone, and infinities of one sign have nothing between them.
    let same = below.is_inf().logical_and(below.eq(&above));
    let between = share.eq(0.0).logical_or(same).where_(&below, between);
    let between = share.eq(1.0).where_(&above, between);
    let mut bad = q.ge(0.0).logical_and(q.le(1.0)).logical_not();
    if !skip {
        let nan = x.is_nan().any(axis as isize);
        let leading: Vec<usize> = (0..axis).collect();
        bad = bad.logical_or(prim::spread(&nan, &wide, &leading));
    }
    let result = bad.where_(f64::NAN, between);
    match single {
        true => prim::reshape(&result, &shape.without(&[axis])),
        false => {
            let order: Axes = [axis].into_iter().chain(0..axis).collect();
            prim::transpose(&result, &order)
        }
    }
}
