//! Sliding windows.

use super::axes::resolve;
use super::prim;
use super::reduce::dim_scalar;
use crate::dispatch::{Call, Extents, checked, run};
use crate::error::{Code, Error};
use crate::tensor::Tensor;
use crate::trace::record;
use ir::ops::index::{Gather, IndexMode};
use ir::{DType, Dim, Scalar, Shape};

/// How many windows an axis has.
fn windows(op: &'static str, axis: usize, extent: &Dim, size: usize, step: usize) -> Result<Dim, Error> {
    if step == 0 {
        return Err(Error::new(Code::Argument, op, "the step is 0", "a step of at least 1"));
    }
    let rest = extent - &Dim::from(size);
    if rest.known().is_some_and(|n| n < 0) {
        let rule = format!("windows of {size} elements do not fit axis {axis} of extent {extent}");
        return Err(Error::new(Code::Shape, op, rule, format!("at most {extent} elements")));
    }
    Ok(rest.floor_div(&Dim::from(step)) + 1)
}

/// The windows of an axis, in its place, and what is in them, as an axis behind it.
fn unfolded(x: &Tensor, axis: usize, size: usize, step: usize, count: &Dim) -> Tensor {
    let mut shape = x.ty().shape;
    let end = (count - 1) * step + size;
    shape.insert(axis + 1, Dim::from(size));
    shape[axis] = count.clone();
    if step >= size {
        // They do not overlap, so each is the start of a row.
        let some = prim::slice(x, axis, 0, end, 1);
        let rows = prim::pad(&some, axis, 0, step - size, Scalar::zero(x.dtype()));
        let wide = shape.with_axis(axis + 1, Dim::from(step));
        return prim::slice(&prim::reshape(&rows, &wide), axis + 1, 0, size, 1);
    }
    let grid = Shape::from([count.clone(), Dim::from(size)]);
    let places = prim::iota(&grid, 0) * step as i64 + prim::iota(&grid, 1);
    record(Gather { axis, batch: 0, mode: IndexMode::Clamp }, &[x, &places])
}

impl Tensor {
    /// Windows of `size` elements along an axis, one every `step` elements. The axis counts windows; what is in them is a
    /// new last axis. Elements behind the last whole window fall away. No window fits an axis that is too short, which is
    /// refused; a symbolic one, when a call makes it shorter by more than a step.
    ///
    /// ```
    /// use tracewright::{DType, Tensor};
    /// let x = Tensor::arange(5, DType::I64);
    /// assert_eq!(x.unfold(0, 3, 2).to_vec::<i64>()?, [0, 1, 2, 2, 3, 4]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn unfold(&self, axis: isize, size: usize, step: usize) -> Tensor {
        checked(&[self], || {
            let axis = resolve(axis, self.rank(), "unfold")?;
            windows("unfold", axis, &self.shape()[axis], size, step)?;
            let attributes = [axis as i64, size as i64, step as i64];
            Ok(run(Call::composed("unfold", &attributes, Extents::Symbolic), &[self], &|t| match windows(
                "unfold",
                axis,
                &t[0].ty().shape[axis],
                size,
                step,
            ) {
                Ok(count) => prim::to_back(&unfolded(&t[0], axis, size, step, &count), &[axis + 1]),
                Err(e) => Tensor::error(e),
            }))
        })
    }

    /// The patches of images, each as a column: of a tensor `[.., channels, height, width]` those of `size` elements, one
    /// every `step`, give `[.., channels * size, patches]`. The images are padded with [`Tensor::pad`] before if they are
    /// to be. PyTorch calls it `F.unfold`, others im2col.
    ///
    /// ```
    /// use tracewright::{DType, Tensor};
    /// let x = Tensor::arange(9, DType::I64).reshape([1, 3, 3]);
    /// let patches = x.im2col([2, 2], [1, 1]);
    /// assert_eq!(patches.shape().to_string(), "[4, 4]");
    /// assert_eq!(patches.select(1, 0).to_vec::<i64>()?, [0, 1, 3, 4]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn im2col(&self, size: [usize; 2], step: [usize; 2]) -> Tensor {
        checked(&[self], || {
            let shape = self.shape();
            let Some(c) = shape.rank().checked_sub(3) else {
                let rule = format!("the tensor has rank {}", shape.rank());
                return Err(Error::new(Code::Rank, "im2col", rule, "[.., channels, height, width]"));
            };
            for i in 0..2 {
                windows("im2col", c + 1 + i, &shape[c + 1 + i], size[i], step[i])?;
            }
            let attributes = [size[0] as i64, size[1] as i64, step[0] as i64, step[1] as i64];
            Ok(run(Call::composed("im2col", &attributes, Extents::Symbolic), &[self], &|t| {
                let shape = t[0].ty().shape;
                let count = |i: usize| windows("im2col", c + 1 + i, &shape[c + 1 + i], size[i], step[i]);
                let (Ok(rows), Ok(columns)) = (count(0), count(1)) else { unreachable!("checked before") };
                let x = if step[0] >= size[0] && step[1] >= size[1] {
                    // [.., channels, rows, size, columns, size]
                    let x = unfolded(&t[0], c + 2, size[1], step[1], &columns);
                    let x = unfolded(&x, c + 1, size[0], step[0], &rows);
                    prim::to_back(&x, &[c, c + 2, c + 4, c + 1, c + 3])
                } else {
                    // Where the elements of each patch stand in an image whose rows are joined.
                    let grid: Shape =
                        [size[0].into(), size[1].into(), rows.clone(), columns.clone()].into_iter().collect();
                    let place = |i: usize| prim::iota(&grid, i + 2) * step[i] as i64 + prim::iota(&grid, i);
                    let width = prim::broadcast(&dim_scalar(&shape[c + 2], DType::I64), &grid);
                    let places = place(0) * width + place(1);
                    let joined = shape[..=c].iter().cloned().chain([&shape[c + 1] * &shape[c + 2]]).collect();
                    let image = prim::reshape(&t[0], &joined);
                    record(Gather { axis: c + 1, batch: 0, mode: IndexMode::Clamp }, &[&image, &places])
                };
                let all = &shape[c] * size[0] * size[1];
                prim::reshape(&x, &shape[..c].iter().cloned().chain([all, rows * columns]).collect())
            }))
        })
    }
}
