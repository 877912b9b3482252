//! Reads and updates at computed indices. An index out of range is an error of the call, never a wrong number.

use super::axes::resolve;
use super::prim;
use crate::dispatch::{Call, Extents, enter, refuse, run};
use crate::error::{Code, Error};
use crate::tensor::Tensor;
use crate::trace::record;
use ir::ops::index::{Gather, IndexMode};
use ir::ops::{binary, create};
use ir::{Axes, DType, Dim};

impl Tensor {
    #[track_caller]
    pub(super) fn check_indices(&self, name: &'static str, axis: isize, indices: &Tensor) -> Result<usize, Tensor> {
        if let Some(t) = [self, indices].into_iter().find(|t| t.error_ref().is_some()) {
            return Err(t.clone());
        }
        let d = indices.dtype();
        if !d.is_int() {
            let e = Error::new(Code::DType, name, format!("the indices have dtype {d}"), "integers");
            return Err(refuse(e, &[self, indices]));
        }
        resolve(axis, self.rank(), name).map_err(|e| refuse(e, &[self, indices]))
    }

    /// The parts at `indices` along an axis; the axes of `indices`, of any rank, take the place of that axis.
    ///
    /// ```
    /// use tracewright::Tensor;
    /// let x = Tensor::from([[1.0f32, 2.0], [3.0, 4.0], [5.0, 6.0]]);
    /// assert_eq!(x.take(&Tensor::from([2i64, 0]), 0).to_vec::<f32>()?, [5.0, 6.0, 1.0, 2.0]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn take(&self, indices: &Tensor, axis: isize) -> Tensor {
        let _here = enter();
        match self.check_indices("take", axis, indices) {
            Ok(axis) => run(Call::plain("take", &[axis as i64], Extents::Symbolic), &[self, indices], &|t| {
                record(Gather { axis, batch: 0, mode: IndexMode::Error }, &[&t[0], &t[1]])
            }),
            Err(t) => t,
        }
    }

    /// [`Tensor::take`] with indices of rank 1.
    ///
    /// ```
    /// use tracewright::Tensor;
    /// let x = Tensor::from([[1i64, 2], [3, 4]]);
    /// assert_eq!(x.index_select(0, &Tensor::from([1i64, 1])).to_vec::<i64>()?, [3, 4, 3, 4]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn index_select(&self, axis: isize, indices: &Tensor) -> Tensor {
        let _here = enter();
        if indices.error_ref().is_none() && self.error_ref().is_none() && indices.rank() != 1 {
            let rule = format!("the indices have rank {}", indices.rank());
            return refuse(Error::new(Code::Rank, "index_select", rule, "rank 1"), &[self, indices]);
        }
        self.take(indices, axis)
    }

    /// Along an axis, the element at the index that stands at the same place of `indices`; all other extents must be
    /// equal. NumPy calls it `take_along_axis`, PyTorch `gather`.
    ///
    /// ```
    /// use tracewright::Tensor;
    /// let x = Tensor::from([[1i64, 2], [3, 4]]);
    /// assert_eq!(x.take_along(&Tensor::from([[1i64], [0]]), 1).to_vec::<i64>()?, [2, 3]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn take_along(&self, indices: &Tensor, axis: isize) -> Tensor {
        let _here = enter();
        let axis = match self.check_indices("take_along", axis, indices) {
            Ok(a) => a,
            Err(t) => return t,
        };
        let (x, i) = (self.shape(), indices.shape());
        if x.rank() != i.rank() || x.without(&[axis]) != i.without(&[axis]) {
            let rule = format!("tensor and indices have shapes {x} and {i}");
            let legal = format!("extents of all axes but {axis} are equal");
            return refuse(Error::new(Code::Shape, "take_along", rule, legal), &[self, indices]);
        }
        run(Call::plain("take_along", &[axis as i64], Extents::Symbolic), &[self, indices], &|t| {
            let last = t[0].rank() - 1;
            let mut swap: Axes = (0..=last).collect();
            swap.swap(axis, last);
            let (x, i) = (prim::transpose(&t[0], &swap), prim::transpose(&t[1], &swap));
            let taken = record(Gather { axis: last, batch: last, mode: IndexMode::Error }, &[&x, &i]);
            prim::transpose(&taken, &swap)
        })
    }

    /// 1 at the index and 0 elsewhere, along a new last axis of extent `classes`. Indices outside give zeros.
    ///
    /// ```
    /// use tracewright::{DType, Tensor};
    /// let y = Tensor::from([1i64, 5]).one_hot(3, DType::U8);
    /// assert_eq!(y.to_vec::<u8>()?, [0, 1, 0, 0, 0, 0]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn one_hot(&self, classes: usize, dtype: DType) -> Tensor {
        let _here = enter();
        if self.error_ref().is_some() {
            return self.clone();
        }
        if !self.dtype().is_int() {
            let rule = format!("the indices have dtype {}", self.dtype());
            return refuse(Error::new(Code::DType, "one_hot", rule, "integers"), &[self]);
        }
        let attributes = [classes as i64, dtype as i64];
        run(Call::composed("one_hot", &attributes, Extents::Symbolic), &[self], &|t| {
            let mut shape = t[0].ty().shape;
            let kept: Axes = (0..shape.rank()).collect();
            shape.push(Dim::from(classes));
            let axis = shape.rank() - 1;
            let spread = record(ir::ops::view::BroadcastInDim { shape: shape.clone(), dims: kept }, &[&t[0]]);
            let spread = prim::cast(&spread, DType::I64);
            let classes = record(create::Iota { dtype: DType::I64, shape, axis }, &[]);
            let hit = record(binary::Compare { direction: binary::Direction::Eq }, &[&spread, &classes]);
            prim::cast(&hit, dtype)
        })
    }
}
