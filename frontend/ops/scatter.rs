//! Updates at computed indices, as functions: each gives a copy. Updates take effect one after the other in row-major
//! order, so the outcome is the same at every run. An index out of range is an error of the call.

use super::prim;
use crate::dispatch::{Call, Extents, enter, refuse, run};
use crate::error::{Code, Error};
use crate::promote::promote;
use crate::tensor::Tensor;
use crate::trace::record;
use ir::ops::index::{IndexMode, Scatter};
use ir::{Axes, DType, Scalar, Shape};

pub use ir::ops::index::Update;

/// How [`Tensor::scatter_reduce`] and [`Tensor::index_reduce`] combine updates with what is there: an [`Update`], or
/// their mean; with the element that was there, or without it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Merge {
    /// `None` for the mean.
    how: Option<Update>,
    with_self: bool,
}

impl Merge {
    /// The mean of the element and the updates that meet it; of integers rounded down.
    pub const MEAN: Merge = Merge { how: None, with_self: true };

    /// Only the updates, where there are any: PyTorch's `include_self=False`.
    pub fn without_self(self) -> Merge {
        Merge { with_self: false, ..self }
    }

    fn attribute(self) -> i64 {
        self.how.map_or(-1, |how| how as i64) * 2 + self.with_self as i64
    }
}

impl From<Update> for Merge {
    fn from(how: Update) -> Merge {
        Merge { how: Some(how), with_self: true }
    }
}

/// `updates` combined into `x` at `indices`, all of them ready for [`Scatter`].
fn scattered(x: &Tensor, indices: &Tensor, updates: &Tensor, axis: usize, batch: usize, merge: Merge) -> Tensor {
    if let Some(t) = [x, indices, updates].into_iter().find(|t| t.error_ref().is_some()) {
        return t.clone();
    }
    let (shape, dtype) = (x.ty().shape, x.dtype());
    let many = updates.ty().shape;
    let scatter = |x: &Tensor, updates: &Tensor, combine: Update| {
        record(Scatter { axis, batch, mode: IndexMode::Error, combine }, &[x, indices, updates])
    };
    let start = if merge.with_self || merge.how == Some(Update::Set) {
        x.clone()
    } else {
        let nowhere = prim::full(Scalar::Bool(false), &shape);
        let met = scatter(&nowhere, &prim::full(Scalar::Bool(true), &many), Update::Set);
        let neutral = match merge.how {
            Some(Update::Mul) => Scalar::one(dtype),
            Some(Update::Min) => Scalar::highest(dtype),
            Some(Update::Max) => Scalar::lowest(dtype),
            _ => Scalar::zero(dtype),
        };
        met.where_(prim::full(neutral, &shape), x)
    };
    let Some(combine) = merge.how else {
        let sum = scatter(&start, updates, Update::Add);
        let itself = prim::full(Scalar::I64(merge.with_self as i64), &shape);
        let count = scatter(&itself, &prim::full(Scalar::I64(1), &many), Update::Add).maximum(1);
        let count = prim::cast(&count, dtype);
        return if dtype.is_float() { sum / count } else { sum.floor_divide(count) };
    };
    scatter(&start, updates, combine)
}

/// The dtype in which elements and updates are combined; `set` keeps that of the elements.
fn common(x: &Tensor, updates: &Tensor, how: Merge) -> DType {
    if how.how == Some(Update::Set) { x.dtype() } else { promote(x.dtype(), updates.dtype()) }
}

impl Tensor {
    /// A copy in which the parts of `updates` are combined into the places at `indices` along an axis; `updates` has the
    /// shape that [`Tensor::take`] would give.
    #[track_caller]
    fn update_parts(
        &self,
        name: &'static str,
        axis: isize,
        indices: &Tensor,
        updates: &Tensor,
        merge: impl Into<Merge>,
    ) -> Tensor {
        let axis = match self.check_indices(name, axis, indices) {
            Ok(a) => a,
            Err(t) => return t,
        };
        if updates.error_ref().is_some() {
            return updates.clone();
        }
        let (x, i, u) = (self.shape(), indices.shape(), updates.shape());
        let wanted: Shape = x[..axis].iter().chain(i.iter()).chain(&x[axis + 1..]).cloned().collect();
        if u != wanted {
            let rule = format!("updates have shape {u}");
            let e = Error::new(Code::Shape, name, rule, format!("shape {wanted}"));
            return refuse(e, &[self, indices, updates]);
        }
        let merge = merge.into();
        let dtype = common(self, updates, merge);
        if dtype == DType::Bool && matches!(merge.how, None | Some(Update::Add | Update::Mul)) {
            let e = Error::new(Code::DType, name, "the elements are bool", "numbers; convert with to_dtype");
            return refuse(e, &[self, indices, updates]);
        }
        let attributes = [axis as i64, merge.attribute()];
        run(Call::plain(name, &attributes, Extents::Symbolic), &[self, indices, updates], &|t| {
            let (x, u) = (prim::cast(&t[0], dtype), prim::cast(&t[2], dtype));
            scattered(&x, &t[1], &u, axis, 0, merge)
        })
    }

    /// A copy to which the parts of `updates` are added at `indices` along an axis; `updates` has the shape that
    /// [`Tensor::take`] would give.
    ///
    /// ```
    /// use tracewright::{DType, Tensor};
    /// let x = Tensor::zeros([3], DType::F32);
    /// let y = x.index_add(0, &Tensor::from([2i64, 2]), &Tensor::from([1.0f32, 0.5]));
    /// assert_eq!(y.to_vec::<f32>()?, [0.0, 0.0, 1.5]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn index_add(&self, axis: isize, indices: &Tensor, updates: &Tensor) -> Tensor {
        let _here = enter();
        self.update_parts("index_add", axis, indices, updates, Update::Add)
    }

    /// A copy whose parts at `indices` along an axis are those of `updates`, which has the shape that [`Tensor::take`]
    /// would give and is converted to the dtype of the tensor. Of several updates of one place the last stays.
    ///
    /// ```
    /// use tracewright::Tensor;
    /// let x = Tensor::from([[1i64, 2], [3, 4], [5, 6]]);
    /// let y = x.index_copy(0, &Tensor::from([2i64, 0]), &Tensor::from([[7i64, 8], [9, 9]]));
    /// assert_eq!(y.to_vec::<i64>()?, [9, 9, 3, 4, 7, 8]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn index_copy(&self, axis: isize, indices: &Tensor, updates: &Tensor) -> Tensor {
        let _here = enter();
        self.update_parts("index_copy", axis, indices, updates, Update::Set)
    }

    /// A copy into whose parts at `indices` along an axis those of `updates` are combined, as an [`Update`] or [`Merge`]
    /// says; `updates` has the shape that [`Tensor::take`] would give.
    ///
    /// ```
    /// use tracewright::{Tensor, Update};
    /// let (x, at) = (Tensor::from([1i64, 5, 3]), Tensor::from([0i64, 1, 0]));
    /// let y = x.index_reduce(0, &at, &Tensor::from([4i64, 4, 2]), Update::Max);
    /// assert_eq!(y.to_vec::<i64>()?, [4, 5, 3]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn index_reduce(&self, axis: isize, indices: &Tensor, updates: &Tensor, how: impl Into<Merge>) -> Tensor {
        let _here = enter();
        self.update_parts("index_reduce", axis, indices, updates, how)
    }

    /// A copy whose parts at `indices` of the first axis are those of `updates`, or to which these are added.
    ///
    /// ```
    /// use tracewright::Tensor;
    /// let (x, at) = (Tensor::from([1i64, 2, 3]), Tensor::from([0i64, 0]));
    /// assert_eq!(x.index_put(&at, &Tensor::from([5i64, 6]), false).to_vec::<i64>()?, [6, 2, 3]);
    /// assert_eq!(x.index_put(&at, &Tensor::from([5i64, 6]), true).to_vec::<i64>()?, [12, 2, 3]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn index_put(&self, indices: &Tensor, updates: &Tensor, accumulate: bool) -> Tensor {
        let _here = enter();
        let how = if accumulate { Update::Add } else { Update::Set };
        self.update_parts("index_put", 0, indices, updates, how)
    }

    /// A copy in which each element of `updates` stands, along an axis, at the index that stands at its place of
    /// `indices`: the counterpart of [`Tensor::take_along`]. `indices` and `updates` have one shape, which is that of the
    /// tensor but for this axis. Of several updates of one place the last stays. PyTorch and JAX call it `scatter`.
    ///
    /// ```
    /// use tracewright::{DType, Tensor};
    /// let x = Tensor::zeros([2, 3], DType::I64);
    /// let y = x.scatter(1, &Tensor::from([[2i64], [0]]), &Tensor::from([[7i64], [8]]));
    /// assert_eq!(y.to_vec::<i64>()?, [0, 0, 7, 8, 0, 0]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn scatter(&self, axis: isize, indices: &Tensor, updates: &Tensor) -> Tensor {
        let _here = enter();
        self.update_along("scatter", axis, indices, updates, Update::Set)
    }

    /// [`Tensor::scatter`], with the updates combined into what is there, as an [`Update`] or [`Merge`] says.
    ///
    /// ```
    /// use tracewright::{Merge, Tensor, Update};
    /// let (x, at) = (Tensor::from([[1.0f32, 2.0]]), Tensor::from([[1i64, 1]]));
    /// let u = Tensor::from([[3.0f32, 4.0]]);
    /// assert_eq!(x.scatter_reduce(1, &at, &u, Update::Add).to_vec::<f32>()?, [1.0, 9.0]);
    /// assert_eq!(x.scatter_reduce(1, &at, &u, Update::Mul).to_vec::<f32>()?, [1.0, 24.0]);
    /// assert_eq!(x.scatter_reduce(1, &at, &u, Update::Max).to_vec::<f32>()?, [1.0, 4.0]);
    /// assert_eq!(x.scatter_reduce(1, &at, &u, Merge::MEAN).to_vec::<f32>()?, [1.0, 3.0]);
    /// assert_eq!(x.scatter_reduce(1, &at, &u, Merge::MEAN.without_self()).to_vec::<f32>()?, [1.0, 3.5]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn scatter_reduce(&self, axis: isize, indices: &Tensor, updates: &Tensor, how: impl Into<Merge>) -> Tensor {
        let _here = enter();
        self.update_along("scatter_reduce", axis, indices, updates, how)
    }

    /// [`Tensor::scatter`], with the updates added to what is there.
    ///
    /// ```
    /// use tracewright::Tensor;
    /// let (x, at) = (Tensor::from([1i64, 2]), Tensor::from([1i64, 1]));
    /// assert_eq!(x.scatter_add(0, &at, &Tensor::from([3i64, 4])).to_vec::<i64>()?, [1, 9]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn scatter_add(&self, axis: isize, indices: &Tensor, updates: &Tensor) -> Tensor {
        let _here = enter();
        self.update_along("scatter_add", axis, indices, updates, Update::Add)
    }

    #[track_caller]
    fn update_along(
        &self,
        name: &'static str,
        axis: isize,
        indices: &Tensor,
        updates: &Tensor,
        merge: impl Into<Merge>,
    ) -> Tensor {
        let axis = match self.check_indices(name, axis, indices) {
            Ok(a) => a,
            Err(t) => return t,
        };
        if updates.error_ref().is_some() {
            return updates.clone();
        }
        let (x, i, u) = (self.shape(), indices.shape(), updates.shape());
        if x.rank() != i.rank() || x.without(&[axis]) != i.without(&[axis]) || u != i {
            let rule = format!("tensor, indices and updates have shapes {x}, {i} and {u}");
            let legal =
                format!("indices and updates have one shape, and extents of all axes but {axis} are the tensor's");
            return refuse(Error::new(Code::Shape, name, rule, legal), &[self, indices, updates]);
        }
        let merge = merge.into();
        let dtype = common(self, updates, merge);
        if dtype == DType::Bool && matches!(merge.how, None | Some(Update::Add | Update::Mul)) {
            let e = Error::new(Code::DType, name, "the elements are bool", "numbers; convert with to_dtype");
            return refuse(e, &[self, indices, updates]);
        }
        let attributes = [axis as i64, merge.attribute()];
        run(Call::plain(name, &attributes, Extents::Symbolic), &[self, indices, updates], &|t| {
            let last = t[0].rank() - 1;
            let mut swap: Axes = (0..=last).collect();
            swap.swap(axis, last);
            let [x, i, u] =
                [prim::cast(&t[0], dtype), t[1].clone(), prim::cast(&t[2], dtype)].map(|t| prim::transpose(&t, &swap));
            let updated = scattered(&x, &i, &u, last, last, merge);
            prim::transpose(&updated, &swap)
        })
    }
}
