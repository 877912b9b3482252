//! Dynamic slices: their starts are known at run time only.

use super::prim;
use super::reduce::dim_scalar;
use crate::dispatch::{Call, Extents, enter, refuse, run};
use crate::error::{Code, Error};
use crate::tensor::Tensor;
use crate::trace::record;
use ir::ops::create::Iota;
use ir::ops::index::{Gather, IndexMode};
use ir::{DType, Dim, Scalar, Shape};
use smallvec::SmallVec;

/// Positions along an axis of a tensor of that shape, one for each of its elements.
type Positions<'a> = Box<dyn Fn(&Shape, usize) -> Tensor + 'a>;

/// The positions 0, 1, … along an axis.
fn counted(shape: &Shape, axis: usize) -> Tensor {
    record(Iota { dtype: DType::I64, shape: shape.clone(), axis }, &[])
}

/// The start, moved so that `size` elements fit into the extent, for each element of a tensor: computed where it is used,
/// so that it fuses.
fn clamped(start: &Tensor, extent: &Dim, size: &Dim, shape: &Shape) -> Tensor {
    let last = dim_scalar(&(extent - size), DType::I64);
    prim::broadcast(&prim::cast(start, DType::I64), shape).minimum(&last).maximum(0)
}

/// The part of `x` whose elements stand, along each axis that has them, at those positions: those of several axes become
/// one index into the elements in order, so that all of it is one kernel.
fn at(x: &Tensor, sizes: &Shape, positions: &[Option<Positions<'_>>]) -> Tensor {
    let shape = x.ty().shape;
    let gather =
        |x: &Tensor, axis: usize, at: &Tensor| record(Gather { axis, batch: 0, mode: IndexMode::Clamp }, &[x, at]);
    let given: SmallVec<[usize; 4]> = (0..shape.rank()).filter(|&a| positions[a].is_some()).collect();
    let along = |shape: &Shape, axis: usize, at: usize| match &positions[axis] {
        Some(position) => position(shape, at),
        None => counted(shape, at),
    };
    match given.as_slice() {
        [] => return x.clone(),
        &[axis] => return gather(x, axis, &along(&Shape::from([sizes[axis].clone()]), axis, 0)),
        _ => {}
    }
    let mut index = prim::full(Scalar::I64(0), sizes);
    for (axis, stride) in shape.strides().iter().enumerate() {
        index += along(sizes, axis, axis) * dim_scalar(stride, DType::I64);
    }
    gather(&prim::reshape(x, &Shape::from([shape.numel()])), 0, &index)
}

impl Tensor {
    /// The part of those sizes that begins at `starts`, one integer scalar for each axis, known at run time only. As in
    /// JAX a start is moved, where it has to be, so that the part lies in the tensor; it is never an error.
    ///
    /// ```
    /// use tracewright::{DType, Tensor};
    /// let x = Tensor::arange(12, DType::I64).reshape([3, 4]);
    /// let (row, column) = (Tensor::from(1i64), Tensor::from(9i64));
    /// assert_eq!(x.dynamic_slice(&[row, column], &[2, 2]).to_vec::<i64>()?, [6, 7, 10, 11]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn dynamic_slice(&self, starts: &[Tensor], sizes: &[usize]) -> Tensor {
        let _here = enter();
        let sizes: Shape = sizes.iter().map(|&n| Dim::from(n)).collect();
        let operands: SmallVec<[&Tensor; 4]> = std::iter::once(self).chain(starts).collect();
        if let Some(t) = operands.iter().find(|t| t.error_ref().is_some()) {
            return (*t).clone();
        }
        if let Some(e) = self.wrong_starts("dynamic_slice", starts, &sizes) {
            return refuse(e, &operands);
        }
        let attributes: SmallVec<[i64; 4]> = sizes.iter().map(|d| d.known().unwrap_or(-1)).collect();
        run(Call::composed("dynamic_slice", &attributes, Extents::Symbolic), &operands, &|t| {
            let shape = t[0].ty().shape;
            if sizes.iter().any(|d| d.is(0)) {
                return prim::full(Scalar::zero(t[0].dtype()), &sizes);
            }
            let position = |axis: usize| -> Option<Positions<'_>> {
                let (extent, size, start) = (&shape[axis], &sizes[axis], &t[axis + 1]);
                let from = move |s: &Shape, at: usize| clamped(start, extent, size, s) + counted(s, at);
                (extent != size).then(|| Box::new(from) as _)
            };
            let positions: SmallVec<[Option<Positions<'_>>; 4]> = (0..shape.rank()).map(position).collect();
            at(&t[0], &sizes, &positions)
        })
    }

    /// A copy in which the part that begins at `starts`, one integer scalar for each axis, known at run time only, is
    /// `update`, converted to the dtype of the tensor. As in JAX a start is moved, where it has to be, so that the part
    /// lies in the tensor; it is never an error.
    ///
    /// ```
    /// use tracewright::{DType, Tensor};
    /// let x = Tensor::zeros([2, 3], DType::I64);
    /// let y = x.dynamic_update_slice(&Tensor::from([[1i64, 2]]), &[Tensor::from(1i64), Tensor::from(5i64)]);
    /// assert_eq!(y.to_vec::<i64>()?, [0, 0, 0, 0, 1, 2]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn dynamic_update_slice(&self, update: &Tensor, starts: &[Tensor]) -> Tensor {
        let _here = enter();
        let operands: SmallVec<[&Tensor; 4]> = [self, update].into_iter().chain(starts).collect();
        if let Some(t) = operands.iter().find(|t| t.error_ref().is_some()) {
            return (*t).clone();
        }
        let sizes = update.shape();
        if let Some(e) = self.wrong_starts("dynamic_update_slice", starts, &sizes) {
            return refuse(e, &operands);
        }
        let none = sizes.iter().any(|d| d.is(0));
        run(Call::composed("dynamic_update_slice", &[none as i64], Extents::Symbolic), &operands, &|t| {
            let shape = t[0].ty().shape;
            let sizes = t[1].ty().shape;
            if none {
                return t[0].clone();
            }
            // Each element asks for itself whether it is updated, and from where.
            let mut sources: SmallVec<[Option<Positions<'_>>; 4]> = SmallVec::new();
            let mut inside: Option<Tensor> = None;
            for axis in 0..shape.rank() {
                let (extent, size, start) = (&shape[axis], &sizes[axis], &t[axis + 2]);
                if extent == size {
                    sources.push(None);
                    continue;
                }
                let from = move |s: &Shape, at: usize| counted(s, at) - clamped(start, extent, size, s);
                let here = from(&shape, axis);
                let here = here.ge(0).logical_and(here.lt(dim_scalar(size, DType::I64)));
                inside = Some(inside.map_or_else(|| here.clone(), |all| all.logical_and(&here)));
                sources.push(Some(Box::new(move |s: &Shape, at: usize| {
                    from(s, at).minimum(dim_scalar(&(size - 1), DType::I64)).maximum(0)
                })));
            }
            let update = at(&prim::cast(&t[1], t[0].dtype()), &shape, &sources);
            inside.map_or_else(|| update.clone(), |inside| inside.where_(&update, &t[0]))
        })
    }

    /// What is wrong with the starts or sizes of a part.
    fn wrong_starts(&self, name: &'static str, starts: &[Tensor], sizes: &Shape) -> Option<Error> {
        let shape = self.shape();
        if starts.len() != shape.rank() || sizes.rank() != shape.rank() {
            let rule =
                format!("{} starts and {} sizes for a tensor of rank {}", starts.len(), sizes.rank(), shape.rank());
            return Some(Error::new(Code::Rank, name, rule, "one start and one size for each axis"));
        }
        if let Some(t) = starts.iter().find(|t| t.rank() != 0 || !t.dtype().is_int() || t.dtype() == DType::U64) {
            return Some(Error::new(
                Code::DType,
                name,
                format!("a start has type {}", t.ty()),
                "integer scalars, not u64",
            ));
        }
        let large = (0..shape.rank()).find(|&a| (&shape[a] - &sizes[a]).known().is_some_and(|rest| rest < 0))?;
        let rule = format!("the part has size {} on axis {large} of extent {}", sizes[large], shape[large]);
        Some(Error::new(Code::Shape, name, rule, "no size exceeds the extent"))
    }
}
