//! Histograms, bins and distinct elements: counting by value, by range, and which there are.

use super::prim;
use crate::dispatch::{Call, Extents, enter, refuse, run};
use crate::error::{Code, Error, Result};
use crate::tensor::Tensor;
use crate::trace::record;
use ir::ops::index::{IndexMode, Scatter, Update};
use ir::{DType, Scalar, Shape};

/// The distinct elements of a tensor; see [`Tensor::unique`].
#[derive(Clone, Debug)]
pub struct Unique {
    /// The distinct elements in sorted order.
    pub values: Tensor,
    /// For each element of the tensor, in its shape, the position (i64) of its value.
    pub inverse: Tensor,
    /// How often each value occurs (i64).
    pub counts: Tensor,
}

/// How many of the positions there are of each below `length`; those outside do not count, if that is not an error.
fn counted(positions: &Tensor, length: usize, mode: IndexMode) -> Tensor {
    let flat = prim::reshape(positions, &Shape::from([positions.ty().shape.numel()]));
    let ones = prim::full(Scalar::I64(1), &flat.ty().shape);
    let none = prim::full(Scalar::I64(0), &Shape::from([length]));
    record(Scatter { axis: 0, batch: 0, mode, combine: Update::Add }, &[&none, &flat, &ones])
}

impl Tensor {
    /// How often each of the integers `0..length` occurs (i64); any other is an error of the call.
    ///
    /// ```
    /// use tracewright::Tensor;
    /// assert_eq!(Tensor::from([1i64, 3, 1]).bincount(4).to_vec::<i64>()?, [0, 2, 0, 1]);
    /// assert!(Tensor::from([4i64]).bincount(4).to_vec::<i64>().is_err());
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn bincount(&self, length: usize) -> Tensor {
        let _here = enter();
        if self.error_ref().is_some() {
            return self.clone();
        }
        if !self.dtype().is_int() {
            let rule = format!("the elements have dtype {}", self.dtype());
            return refuse(Error::new(Code::DType, "bincount", rule, "integers"), &[self]);
        }
        let attributes = [length as i64];
        run(Call::composed("bincount", &attributes, Extents::Symbolic), &[self], &|t| {
            counted(&t[0], length, IndexMode::Error)
        })
    }

    /// How many elements (i64) lie in each of `bins` ranges of equal width between `low` and `high`. A range has its lower
    /// end, the last one both; what lies outside, and NaN, is not counted.
    ///
    /// ```
    /// use tracewright::Tensor;
    /// let x = Tensor::from([0.0f32, 0.4, 1.0, 1.5, 2.0, 7.0, f32::NAN]);
    /// assert_eq!(x.histogram(2, 0.0, 2.0).to_vec::<i64>()?, [2, 3]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn histogram(&self, bins: usize, low: f64, high: f64) -> Tensor {
        let _here = enter();
        if self.error_ref().is_some() {
            return self.clone();
        }
        if bins == 0 || !(low < high && (high - low).is_finite()) {
            let rule = format!("{bins} bins from {low} to {high}");
            let legal = "one bin at least, between finite ends of which the second is larger";
            return refuse(Error::new(Code::Argument, "histogram", rule, legal), &[self]);
        }
        let attributes = [bins as i64, low.to_bits() as i64, high.to_bits() as i64];
        run(Call::composed("histogram", &attributes, Extents::Symbolic), &[self], &|t| {
            let x = prim::cast(&t[0], DType::F64);
            let place = ((&x - low) * bins as f64 / (high - low)).floor();
            let bin = prim::cast(&place, DType::I64).minimum(bins as i64 - 1).maximum(0);
            let inside = x.ge(low).logical_and(x.le(high));
            counted(&inside.where_(&bin, -1), bins, IndexMode::Fill)
        })
    }

    /// The distinct elements, in sorted order, with where they stand and how often. As the number of values decides the
    /// shape, this cannot be traced. Every NaN is a value of its own.
    ///
    /// ```
    /// use tracewright::Tensor;
    /// let found = Tensor::from([3i64, 1, 3, 2, 1]).unique()?;
    /// assert_eq!(found.values.to_vec::<i64>()?, [1, 2, 3]);
    /// assert_eq!(found.inverse.to_vec::<i64>()?, [2, 0, 2, 1, 0]);
    /// assert_eq!(found.counts.to_vec::<i64>()?, [2, 1, 2]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the tensor is an error value, or traced.
    #[track_caller]
    pub fn unique(&self) -> Result<Unique> {
        let _here = enter();
        let shape = self.try_shape()?;
        let flat = self.reshape([shape.numel()]);
        let (sorted, order) = flat.sort(0, false);
        let runs = runs(&sorted)?;
        let inverse = Tensor::zeros([shape.numel()], DType::I64).index_copy(0, &order, &runs.inverse);
        Ok(Unique { inverse: inverse.reshape(shape).ok()?, ..runs })
    }

    /// Each run of equal elements, in row-major order, as one: its value, to which run each element belongs, and how many
    /// elements it has. As the number of runs decides the shape, this cannot be traced.
    ///
    /// ```
    /// use tracewright::Tensor;
    /// let found = Tensor::from([1i64, 1, 3, 3, 3, 1]).unique_consecutive()?;
    /// assert_eq!(found.values.to_vec::<i64>()?, [1, 3, 1]);
    /// assert_eq!(found.inverse.to_vec::<i64>()?, [0, 0, 1, 1, 1, 2]);
    /// assert_eq!(found.counts.to_vec::<i64>()?, [2, 3, 1]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the tensor is an error value, or traced.
    #[track_caller]
    pub fn unique_consecutive(&self) -> Result<Unique> {
        let _here = enter();
        let shape = self.try_shape()?;
        let runs = runs(&self.reshape([shape.numel()]))?;
        Ok(Unique { inverse: runs.inverse.reshape(shape).ok()?, ..runs })
    }
}

/// The runs of equal elements of a vector.
fn runs(x: &Tensor) -> Result<Unique> {
    let n = x.try_shape()?.numel();
    let (numbers, count) = if n.is(0) {
        (Tensor::zeros([n], DType::I64), 0)
    } else {
        let differs = x.slice(0, 1..).ne(x.slice(0, ..-1));
        let numbers = differs.pad(&[(1, 0)], false).cumsum(0);
        let last = numbers.slice(0, -1..).reshape(Shape::scalar()).item::<i64>()?;
        (numbers, last as usize + 1)
    };
    let values = Tensor::zeros([count], x.dtype()).index_copy(0, &numbers, x);
    Ok(Unique { values: values.ok()?, counts: numbers.bincount(count).ok()?, inverse: numbers })
}
