//! Counts, differences, and statistics over axes.

use super::axes::{Reduction, resolve};
use super::prim;
use super::reduce::{Input, count, dim_scalar, reduction};
use crate::dispatch::{Call, Extents, checked, enter, run};
use crate::error::{Code, Error};
use crate::promote;
use crate::tensor::Tensor;
use crate::trace::record;
use ir::ops::reduce;
use ir::{Axes, DType, Shape};

/// How often [`Tensor::diff`] is taken at most.
const MOST_DIFFERENCES: usize = 256;

fn listed(axes: &Axes) -> Vec<isize> {
    axes.iter().map(|&a| a as isize).collect()
}

impl Tensor {
    /// How many elements (i64) over axes are not 0; NaN is not.
    ///
    /// ```
    /// use tracewright::Tensor;
    /// assert_eq!(Tensor::from([[1.0f32, 0.0], [2.0, 3.0]]).count_nonzero(1).to_vec::<i64>()?, [1, 2]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn count_nonzero(&self, axes: impl Into<Reduction>) -> Tensor {
        reduction(self, "count_nonzero", axes.into(), Input::Truth, 0, false, &|x, axes| {
            record(reduce::ReduceSum { axes: axes.clone() }, &[&prim::cast(x, DType::I64)])
        })
        .to_dtype(DType::I64)
    }

    /// The smallest and the largest element over axes; NaN wins.
    ///
    /// ```
    /// use tracewright::Tensor;
    /// let (least, most) = Tensor::from([3i64, 1, 2]).aminmax(..);
    /// assert_eq!((least.item::<i64>()?, most.item::<i64>()?), (1, 3));
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn aminmax(&self, axes: impl Into<Reduction>) -> (Tensor, Tensor) {
        let _here = enter();
        let axes = axes.into();
        (self.min(axes.clone()), self.max(axes))
    }

    /// Variance ([`Tensor::var`]) and mean over axes.
    ///
    /// ```
    /// use tracewright::Tensor;
    /// let (variance, mean) = Tensor::from([1.0f32, 3.0]).var_mean(.., 1);
    /// assert_eq!((variance.item::<f32>()?, mean.item::<f32>()?), (2.0, 2.0));
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn var_mean(&self, axes: impl Into<Reduction>, correction: u32) -> (Tensor, Tensor) {
        let _here = enter();
        let axes = axes.into();
        (self.var(axes.clone(), correction), self.mean(axes))
    }

    /// Standard deviation ([`Tensor::std`]) and mean over axes.
    ///
    /// ```
    /// use tracewright::Tensor;
    /// let (deviation, mean) = Tensor::from([1.0f32, 3.0]).std_mean(.., 0);
    /// assert_eq!((deviation.item::<f32>()?, mean.item::<f32>()?), (1.0, 2.0));
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn std_mean(&self, axes: impl Into<Reduction>, correction: u32) -> (Tensor, Tensor) {
        let _here = enter();
        let axes = axes.into();
        (self.std(axes.clone(), correction), self.mean(axes))
    }

    /// [`Tensor::sum`], in which NaN counts as 0.
    ///
    /// ```
    /// use tracewright::Tensor;
    /// assert_eq!(Tensor::from([1.0f32, f32::NAN, 2.0]).nansum(..).item::<f32>()?, 3.0);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn nansum(&self, axes: impl Into<Reduction>) -> Tensor {
        reduction(self, "nansum", axes.into(), Input::Wide, 0, true, &|x, axes| {
            if !x.dtype().is_float() {
                return x.sum(listed(axes).as_slice());
            }
            x.is_nan().where_(0.0, x).sum(listed(axes).as_slice())
        })
    }

    /// [`Tensor::mean`] of what is not NaN; NaN if there is nothing else.
    ///
    /// ```
    /// use tracewright::Tensor;
    /// assert_eq!(Tensor::from([1.0f32, f32::NAN, 2.0]).nanmean(..).item::<f32>()?, 1.5);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn nanmean(&self, axes: impl Into<Reduction>) -> Tensor {
        reduction(self, "nanmean", axes.into(), Input::Float, 0, true, &|x, axes| {
            let (axes, nan) = (listed(axes), x.is_nan());
            let there = prim::cast(&nan.logical_not(), DType::I64).sum(axes.as_slice());
            nan.where_(0.0, x).sum(axes.as_slice()) / prim::cast(&there, x.dtype())
        })
    }

    /// Whether all elements are close, as [`Tensor::is_close`] has it: a bool scalar.
    ///
    /// ```
    /// use tracewright::Tensor;
    /// let x = Tensor::from([1.0f32, 2.0]);
    /// assert!(x.all_close(&(&x + 1e-6), 1e-5, 1e-8).item::<bool>()?);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn all_close(&self, other: &Tensor, relative: f64, absolute: f64) -> Tensor {
        checked(&[self, other], || Ok(self.is_close(other, relative, absolute).all(..)))
    }

    /// Whether both tensors have one shape and equal elements: a bool scalar. NaN equals nothing.
    ///
    /// ```
    /// use tracewright::Tensor;
    /// let x = Tensor::from([1.0f32, 2.0]);
    /// assert!(x.equal(&x).item::<bool>()? && !x.equal(&x.unsqueeze(0)).item::<bool>()?);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn equal(&self, other: &Tensor) -> Tensor {
        checked(&[self, other], || match self.shape() == other.shape() {
            true => Ok(self.eq(other).all(..)),
            false => Ok(Tensor::full(Shape::scalar(), false, DType::Bool)),
        })
    }

    /// Summed over the axes along which [`Tensor::broadcast_to`] would repeat a tensor of that shape to this one's: the
    /// gradient of it. PyTorch's `sum_to_size`.
    ///
    /// ```
    /// use tracewright::{DType, Tensor};
    /// assert_eq!(Tensor::ones([2, 3], DType::F32).sum_to([1, 3]).to_vec::<f32>()?, [2.0, 2.0, 2.0]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn sum_to(&self, shape: impl Into<Shape>) -> Tensor {
        checked(&[self], || {
            let (old, new) = (self.shape(), shape.into());
            let offset = old.rank().checked_sub(new.rank());
            if !offset.is_some_and(|o| new.iter().zip(&old[o..]).all(|(d, s)| d.is(1) || d == s)) {
                let rule = format!("shape {new} does not broadcast to {old}");
                let legal = "aligned at the last axis, extents are equal or 1 in the new shape";
                return Err(Error::new(Code::Shape, "sum_to", rule, legal));
            }
            let offset = old.rank() - new.rank();
            let repeated = (0..old.rank()).filter(|&a| a < offset || (new[a - offset].is(1) && !old[a].is(1)));
            let axes: Vec<isize> = repeated.map(|a| a as isize).collect();
            Ok(self.sum(axes.as_slice()).reshape(new))
        })
    }

    /// The differences of neighbours along an axis, `n` times; of bools whether they differ. What comes before or behind
    /// the axis is joined to it by [`concat`](crate::concat). A symbolic extent is at least `n`.
    ///
    /// ```
    /// use tracewright::Tensor;
    /// let x = Tensor::from([1i64, 4, 9, 16]);
    /// assert_eq!(x.diff(1, 0).to_vec::<i64>()?, [3, 5, 7]);
    /// assert_eq!(x.diff(2, 0).to_vec::<i64>()?, [2, 2]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn diff(&self, n: usize, axis: isize) -> Tensor {
        checked(&[self], || {
            let axis = resolve(axis, self.rank(), "diff")?;
            // Nothing is left after as many times as there are elements.
            let extent = self.shape()[axis].clone();
            let n = extent.as_usize().map_or(n, |extent| n.min(extent));
            if n > MOST_DIFFERENCES {
                let rule = format!("{n} times along axis {axis} of extent {extent}");
                return Err(Error::new(Code::Argument, "diff", rule, format!("at most {MOST_DIFFERENCES} times")));
            }
            Ok(run(Call::composed("diff", &[n as i64, axis as i64], Extents::Symbolic), &[self], &|t| {
                (0..n).fold(t[0].clone(), |x, _| {
                    if x.error_ref().is_some() {
                        return x;
                    }
                    let end = x.ty().shape[axis].clone();
                    if end.is(0) {
                        return x;
                    }
                    let (after, before) =
                        (prim::slice(&x, axis, 1, end.clone(), 1), prim::slice(&x, axis, 0, end - 1, 1));
                    if x.dtype() == DType::Bool { after.ne(before) } else { after - before }
                })
            }))
        })
    }

    /// The integral along an axis by the trapezoidal rule, of values at distances `dx`.
    ///
    /// ```
    /// use tracewright::Tensor;
    /// assert_eq!(Tensor::from([1.0f32, 3.0, 5.0]).trapezoid(0.5, 0).item::<f32>()?, 3.0);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn trapezoid(&self, dx: f64, axis: isize) -> Tensor {
        checked(&[self], || {
            let axis = resolve(axis, self.rank(), "trapezoid")?;
            let attributes = [dx.to_bits() as i64, axis as i64];
            Ok(run(Call::composed("trapezoid", &attributes, Extents::Symbolic), &[self], &|t| {
                let dtype = promote::float(t[0].dtype());
                let x = prim::cast(&t[0], dtype.accumulator());
                prim::cast(&(pairs(&x, axis).sum(axis as isize) * (dx / 2.0)), dtype)
            }))
        })
    }

    /// The integral along an axis by the trapezoidal rule, of values at the places `x`: a vector, or of the same shape.
    ///
    /// ```
    /// use tracewright::Tensor;
    /// let (y, x) = (Tensor::from([1.0f32, 3.0, 5.0]), Tensor::from([0.0f32, 1.0, 3.0]));
    /// assert_eq!(y.trapezoid_at(&x, 0).item::<f32>()?, 10.0);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn trapezoid_at(&self, x: &Tensor, axis: isize) -> Tensor {
        let operands = [self, x];
        checked(&operands, || {
            let axis = resolve(axis, self.rank(), "trapezoid")?;
            let (shape, places) = (self.shape(), x.shape());
            if places != shape && places != Shape::from([shape[axis].clone()]) {
                let rule = format!("values of shape {shape} at places of shape {places}");
                let legal = format!("places of shape {shape} or [{}]", shape[axis]);
                return Err(Error::new(Code::Shape, "trapezoid", rule, legal));
            }
            Ok(run(Call::composed("trapezoid_at", &[axis as i64], Extents::Symbolic), &operands, &|t| {
                let dtype = promote::float(promote::promote(t[0].dtype(), t[1].dtype()));
                let [y, x] = [0, 1].map(|i| prim::cast(&t[i], dtype.accumulator()));
                let shape = y.ty().shape;
                let x = if x.rank() == shape.rank() { x } else { prim::spread(&x, &shape, &[axis]) };
                prim::cast(&((pairs(&y, axis) * x.diff(1, axis as isize)).sum(axis as isize) * 0.5), dtype)
            }))
        })
    }

    /// The integrals from the first element on, by the trapezoidal rule, of values at distances `dx` along an axis, which
    /// gets shorter by one.
    ///
    /// ```
    /// use tracewright::Tensor;
    /// let y = Tensor::from([1.0f32, 3.0, 5.0]).cumulative_trapezoid(1.0, 0);
    /// assert_eq!(y.to_vec::<f32>()?, [2.0, 6.0]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn cumulative_trapezoid(&self, dx: f64, axis: isize) -> Tensor {
        checked(&[self], || {
            let axis = resolve(axis, self.rank(), "cumulative_trapezoid")?;
            let attributes = [dx.to_bits() as i64, axis as i64];
            Ok(run(Call::composed("cumulative_trapezoid", &attributes, Extents::Symbolic), &[self], &|t| {
                let dtype = promote::float(t[0].dtype());
                let x = prim::cast(&t[0], dtype.accumulator());
                prim::cast(&(pairs(&x, axis).cumsum(axis as isize) * (dx / 2.0)), dtype)
            }))
        })
    }

    /// The slopes along an axis of values at distances `dx`, from their neighbours on both sides, at the ends on one, as
    /// NumPy and PyTorch have it.
    ///
    /// ```
    /// use tracewright::Tensor;
    /// let y = Tensor::from([1.0f32, 4.0, 9.0, 16.0]).gradient(1.0, 0);
    /// assert_eq!(y.to_vec::<f32>()?, [3.0, 4.0, 6.0, 7.0]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn gradient(&self, dx: f64, axis: isize) -> Tensor {
        checked(&[self], || {
            let axis = resolve(axis, self.rank(), "gradient")?;
            let n = self.shape()[axis].clone();
            if n.known().is_some_and(|n| n < 2) {
                let rule = format!("axis {axis} has extent {n}");
                return Err(Error::new(Code::Shape, "gradient", rule, "at least 2 elements"));
            }
            let attributes = [dx.to_bits() as i64, axis as i64];
            Ok(run(Call::composed("gradient", &attributes, Extents::Symbolic), &[self], &|t| {
                let dtype = promote::float(t[0].dtype());
                let x = prim::cast(&t[0], dtype.accumulator());
                let n = x.ty().shape[axis].clone();
                let part = |start: ir::Dim, end: ir::Dim| prim::slice(&x, axis, start, end, 1);
                let (zero, two) = (ir::Dim::from(0), ir::Dim::from(2));
                let first = part(1.into(), two.clone()) - part(zero.clone(), 1.into());
                let last = part(&n - 1, n.clone()) - part(&n - 2, &n - 1);
                let inner = (part(two, n.clone()) - part(zero, &n - 2)) * 0.5;
                prim::cast(&(prim::concat(&[first, inner, last], axis) / dx), dtype)
            }))
        })
    }

    /// The most frequent element along an axis, of several the smallest, and the last position (i64) at which it stands.
    ///
    /// ```
    /// use tracewright::Tensor;
    /// let (value, index) = Tensor::from([3i64, 1, 3, 1, 2]).mode(0);
    /// assert_eq!((value.item::<i64>()?, index.item::<i64>()?), (1, 3));
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn mode(&self, axis: isize) -> (Tensor, Tensor) {
        let _here = enter();
        let index = checked(&[self], || {
            let axis = resolve(axis, self.rank(), "mode")?;
            if self.shape()[axis].is(0) {
                let rule = format!("axis {axis} is empty, so there is no element to give");
                return Err(Error::new(Code::Empty, "mode", rule, "an axis with elements"));
            }
            Ok(run(Call::composed("mode", &[axis as i64], Extents::Symbolic), &[self], &|t| {
                let x = prim::to_back(&t[0], &[axis]);
                let last = x.rank() - 1;
                let order = x.argsort(-1, false);
                let sorted = super::sort::at(&x, &order, last);
                let (shape, n) = (x.ty().shape, x.ty().shape[last].clone());
                let place = prim::iota(&shape, last);
                // Where the run of equal elements began, and so how long it is up to here.
                let (after, before) =
                    (prim::slice(&sorted, last, 1, n.clone(), 1), prim::slice(&sorted, last, 0, n - 1, 1));
                let begins = prim::pad(&after.ne(before), last, 1, 0, ir::Scalar::Bool(true));
                let start = begins.where_(&place, 0).cummax(-1).0;
                let longest = (place - start).argmax(-1).unsqueeze(-1);
                super::sort::at(&order, &longest, last).squeeze(-1)
            }))
        });
        if index.error_ref().is_some() {
            return (index.clone(), index);
        }
        (self.take_along(&index.unsqueeze(axis), axis).squeeze(axis), index)
    }

    /// The vector product along an axis of extent 3 of both tensors, which broadcast.
    ///
    /// ```
    /// use tracewright::Tensor;
    /// let z = Tensor::from([1.0f32, 0.0, 0.0]).cross(&Tensor::from([0.0f32, 1.0, 0.0]), 0);
    /// assert_eq!(z.to_vec::<f32>()?, [0.0, 0.0, 1.0]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn cross(&self, other: &Tensor, axis: isize) -> Tensor {
        let operands = [self, other];
        checked(&operands, || {
            let shapes = [self.shape(), other.shape()];
            let common = super::broadcast::common_shape("cross", shapes.iter())?;
            let axis = resolve(axis, common.rank(), "cross")?;
            // Counted from the last axis, which both have.
            let back = axis as isize - common.rank() as isize;
            if let Some(i) = shapes.iter().position(|s| resolve(back, s.rank(), "cross").is_ok_and(|a| !s[a].is(3))) {
                let rule = format!("axis {axis} of operand {i}, of shape {}, has not extent 3", shapes[i]);
                return Err(Error::new(Code::Shape, "cross", rule, "extent 3"));
            }
            super::matmul::numbers("cross", &operands)?;
            Ok(run(Call::composed("cross", &[back as i64], Extents::Symbolic), &operands, &|t| {
                let turned = |t: &Tensor, by: isize| t.roll(&[by], [back]);
                turned(&t[0], -1) * turned(&t[1], -2) - turned(&t[0], -2) * turned(&t[1], -1)
            }))
        })
    }

    /// The covariances of variables, which are the rows of a matrix, or one vector; the columns are observations. Divides
    /// by their number less `correction`.
    ///
    /// ```
    /// use tracewright::Tensor;
    /// let x = Tensor::from([[0.0f32, 1.0, 2.0], [2.0, 1.0, 0.0]]);
    /// assert_eq!(x.cov(1).to_vec::<f32>()?, [1.0, -1.0, -1.0, 1.0]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn cov(&self, correction: u32) -> Tensor {
        checked(&[self], || {
            variables("cov", self)?;
            Ok(run(Call::composed("cov", &[correction as i64], Extents::Symbolic), &[self], &|t| {
                let dtype = promote::float(t[0].dtype());
                let covariance = covariance(&prim::cast(&t[0], dtype.accumulator()), correction);
                let shape: Shape = t[0].ty().shape.iter().rev().skip(1).flat_map(|n| [n.clone(), n.clone()]).collect();
                prim::cast(&prim::reshape(&covariance, &shape), dtype)
            }))
        })
    }

    /// The correlations of variables, which are the rows of a matrix, or one vector; the columns are observations.
    ///
    /// ```
    /// use tracewright::Tensor;
    /// let x = Tensor::from([[0.0f32, 1.0, 2.0], [4.0, 2.0, 0.0]]);
    /// assert_eq!(x.corrcoef().to_vec::<f32>()?, [1.0, -1.0, -1.0, 1.0]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn corrcoef(&self) -> Tensor {
        checked(&[self], || {
            variables("corrcoef", self)?;
            Ok(run(Call::composed("corrcoef", &[], Extents::Symbolic), &[self], &|t| {
                let dtype = promote::float(t[0].dtype());
                let covariance = covariance(&prim::cast(&t[0], dtype.accumulator()), 1);
                let deviation = covariance.diagonal(0, 0, 1).sqrt();
                let all = (covariance / deviation.unsqueeze(1) / deviation.unsqueeze(0)).clamp(-1.0, 1.0);
                let shape: Shape = t[0].ty().shape.iter().rev().skip(1).flat_map(|n| [n.clone(), n.clone()]).collect();
                prim::cast(&prim::reshape(&all, &shape), dtype)
            }))
        })
    }
}

/// The sums of neighbours along an axis.
fn pairs(x: &Tensor, axis: usize) -> Tensor {
    let end = x.ty().shape[axis].clone();
    if end.is(0) {
        return x.clone();
    }
    prim::slice(x, axis, 1, end.clone(), 1) + prim::slice(x, axis, 0, end - 1, 1)
}

fn variables(name: &'static str, x: &Tensor) -> Result<(), Error> {
    if (1..=2).contains(&x.rank()) {
        return Ok(());
    }
    let rule = format!("the tensor has rank {}", x.rank());
    Err(Error::new(Code::Rank, name, rule, "a matrix, or a vector"))
}

/// The covariances of the rows, or of one vector, as a matrix.
fn covariance(x: &Tensor, correction: u32) -> Tensor {
    let x = x.atleast_2d();
    let centred = &x - x.mean(super::keepdims(1));
    let divisor = count(&x, &[1]) - correction as i64;
    let divisor = dim_scalar(&divisor, x.dtype()).maximum(0.0);
    super::einsum::einsum("ik,jk->ij", &[&centred, &centred]) / divisor
}
