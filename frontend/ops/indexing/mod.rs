//! Indexing as NumPy has it: one method, [`Tensor::i`], for numbers, ranges, new axes, tensors of indices and masks.
//!
//! - A number takes one position of an axis, which falls away; negative ones count from the end.
//! - A range takes part of an axis, with [`every`] in steps, also backwards. Unlike NumPy, a range that leaves its axis
//!   is an error.
//! - [`NewAxis`] adds an axis of extent 1, [`Ellipsis`] stands for all axes that nothing else names. Axes at the end that
//!   are not named are taken whole.
//! - Tensors of indices broadcast against each other; their axes take the place of the axes they index if these are
//!   neighbours, and come first otherwise. A number beside them counts as one of them for that.
//! - A mask (a tensor of bools) takes the elements where it is true. Since its count decides about the shape, masks are
//!   for eager code; inside a trace use [`Tensor::where_`].

mod advanced;
mod basic;

use super::{Arg, Update};
use crate::dispatch::{Call, Extents, enter, refuse, run, run_sized};
use crate::error::{Code, Error, Result};
use crate::promote::{promote, with_number};
use crate::tensor::Tensor;
use crate::trace;
use crate::view::view;
use basic::Plan;
use ir::Dim;
use smallvec::SmallVec;
use std::ops::{Bound, Range, RangeFrom, RangeFull, RangeInclusive, RangeTo, RangeToInclusive};

/// One part of an index. See [`Tensor::i`].
#[derive(Clone)]
pub enum Index {
    /// One position of an axis, which falls away.
    At(isize),
    /// Part of an axis, in steps; backwards if they are negative.
    Range(Bound<isize>, Bound<isize>, isize),
    /// A new axis of extent 1.
    NewAxis,
    /// All axes that nothing else names.
    Ellipsis,
    /// Computed positions, or a mask.
    Tensor(Tensor),
}

/// A new axis of extent 1, in an index.
#[derive(Clone, Copy, Debug)]
pub struct NewAxis;

/// All axes that nothing else in an index names.
#[derive(Clone, Copy, Debug)]
pub struct Ellipsis;

/// A range in steps, backwards if they are negative: `every(.., -1)` is the axis in reverse.
///
/// ```
/// use tracewright::{DType, Tensor, every};
/// let x = Tensor::arange(6, DType::I64);
/// assert_eq!(x.i(every(1.., 2)).to_vec::<i64>()?, [1, 3, 5]);
/// assert_eq!(x.i(every(..2, -2)).to_vec::<i64>()?, [5, 3]);
/// # Ok::<(), tracewright::Error>(())
/// ```
pub fn every(range: impl Into<Index>, step: isize) -> Index {
    match range.into() {
        Index::Range(start, end, _) => Index::Range(start, end, step),
        other => other,
    }
}

/// An index of a tensor: one [`Index`], or a tuple, array or vector of them.
pub trait Indices {
    /// The parts in order.
    fn parts(self) -> Vec<Index>;
}

macro_rules! numbers {
    ($($t:ty),*) => { $(
        impl From<$t> for Index {
            fn from(at: $t) -> Index { Index::At(at as isize) }
        }
        impl From<Range<$t>> for Index {
            fn from(r: Range<$t>) -> Index {
                Index::Range(Bound::Included(r.start as isize), Bound::Excluded(r.end as isize), 1)
            }
        }
        impl From<RangeInclusive<$t>> for Index {
            fn from(r: RangeInclusive<$t>) -> Index {
                Index::Range(Bound::Included(*r.start() as isize), Bound::Included(*r.end() as isize), 1)
            }
        }
        impl From<RangeFrom<$t>> for Index {
            fn from(r: RangeFrom<$t>) -> Index { Index::Range(Bound::Included(r.start as isize), Bound::Unbounded, 1) }
        }
        impl From<RangeTo<$t>> for Index {
            fn from(r: RangeTo<$t>) -> Index { Index::Range(Bound::Unbounded, Bound::Excluded(r.end as isize), 1) }
        }
        impl From<RangeToInclusive<$t>> for Index {
            fn from(r: RangeToInclusive<$t>) -> Index { Index::Range(Bound::Unbounded, Bound::Included(r.end as isize), 1) }
        }
        single!($t, Range<$t>, RangeInclusive<$t>, RangeFrom<$t>, RangeTo<$t>, RangeToInclusive<$t>);
    )* };
}
macro_rules! single {
    ($($t:ty),*) => { $(impl Indices for $t {
        fn parts(self) -> Vec<Index> { vec![self.into()] }
    })* };
}
numbers!(isize, i32, i64, usize);
single!(Index, RangeFull, NewAxis, Ellipsis, Tensor, &Tensor);

impl From<RangeFull> for Index {
    fn from(_: RangeFull) -> Index {
        Index::Range(Bound::Unbounded, Bound::Unbounded, 1)
    }
}
impl From<NewAxis> for Index {
    fn from(_: NewAxis) -> Index {
        Index::NewAxis
    }
}
impl From<Ellipsis> for Index {
    fn from(_: Ellipsis) -> Index {
        Index::Ellipsis
    }
}
impl From<Tensor> for Index {
    fn from(t: Tensor) -> Index {
        Index::Tensor(t)
    }
}
impl From<&Tensor> for Index {
    fn from(t: &Tensor) -> Index {
        Index::Tensor(t.clone())
    }
}

impl Indices for Vec<Index> {
    fn parts(self) -> Vec<Index> {
        self
    }
}
impl<const N: usize> Indices for [Index; N] {
    fn parts(self) -> Vec<Index> {
        self.into()
    }
}
macro_rules! tuples {
    ($($name:ident)*) => {
        impl<$($name: Into<Index>),*> Indices for ($($name,)*) {
            #[allow(non_snake_case)]
            fn parts(self) -> Vec<Index> {
                let ($($name,)*) = self;
                vec![$($name.into()),*]
            }
        }
    };
}
tuples!();
tuples!(A);
tuples!(A B);
tuples!(A B C);
tuples!(A B C D);
tuples!(A B C D E);
tuples!(A B C D E F);
tuples!(A B C D E F G);
tuples!(A B C D E F G H);

/// An index as Python writes it: `at!(.., 1..5, ..; -1, &ids)`, with a step after a semicolon.
///
/// ```
/// use tracewright::{DType, Tensor, at};
/// let x = Tensor::arange(12, DType::I64).reshape([3, 4]);
/// assert_eq!(x.i(at!(1.., ..; -2)).to_vec::<i64>()?, [7, 5, 11, 9]);
/// # Ok::<(), tracewright::Error>(())
/// ```
#[macro_export]
macro_rules! at {
    ($($part:expr $(; $step:expr)?),* $(,)?) => { [$($crate::at!(@part $part $(; $step)?)),*] };
    (@part $part:expr) => { $crate::Index::from($part) };
    (@part $part:expr; $step:expr) => { $crate::every($part, $step) };
}

impl Tensor {
    /// The part of this tensor at an index, as NumPy has it: numbers, ranges, [`NewAxis`], [`Ellipsis`], tensors of
    /// indices and masks, alone or in a tuple. See [`at!`](crate::at) for steps.
    ///
    /// Numbers, ranges and new axes are views that copy nothing where they are fused. A range that leaves its axis is an
    /// error, and so is an index out of range, also of a tensor of indices, where negative ones count from the end.
    ///
    /// ```
    /// use tracewright::{DType, Ellipsis, NewAxis, Tensor};
    /// let x = Tensor::arange(24, DType::I64).reshape([2, 3, 4]);
    /// assert_eq!(x.i((1, .., -1)).to_vec::<i64>()?, [15, 19, 23]);
    /// assert_eq!(x.i((Ellipsis, 1..3, NewAxis)).shape().to_string(), "[2, 3, 2, 1]");
    /// let ids = Tensor::from([2i64, 0]);
    /// assert_eq!(x.i((.., &ids, 0)).to_vec::<i64>()?, [8, 0, 20, 12]);
    /// assert_eq!(x.i(&x.gt(21)).to_vec::<i64>()?, [22, 23]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn i(&self, index: impl Indices) -> Tensor {
        let _here = enter();
        let parts = index.parts();
        match self.plan(&parts) {
            Ok((plan, tensors)) => self.read_at(&plan, &tensors),
            Err(e) => refuse(e, &[self]),
        }
    }

    /// A copy in which the part at an index is replaced; `value` broadcasts to the shape that [`Tensor::i`] would give. Of
    /// several values for one place the last stays.
    ///
    /// ```
    /// use tracewright::{DType, Tensor};
    /// let x = Tensor::zeros([2, 3], DType::I64);
    /// assert_eq!(x.set_at((.., 1), Tensor::from([7i64, 8])).to_vec::<i64>()?, [0, 7, 0, 0, 8, 0]);
    /// assert_eq!(x.set_at((0, 1..), 5i64).to_vec::<i64>()?, [0, 5, 5, 0, 0, 0]);
    /// let ids = Tensor::from([2i64, 0]);
    /// assert_eq!(x.set_at((1, &ids), Tensor::from([3i64, 4])).to_vec::<i64>()?, [0, 0, 0, 4, 0, 3]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn set_at(&self, index: impl Indices, value: impl Into<Arg>) -> Tensor {
        self.update_at("set_at", index.parts(), value.into(), Update::Set)
    }

    /// A copy with `value` added to the part at an index; several values for one place are all added.
    ///
    /// ```
    /// use tracewright::{DType, Tensor};
    /// let counts = Tensor::zeros([3], DType::I64).add_at(Tensor::from([2i64, 0, 2]), 1i64);
    /// assert_eq!(counts.to_vec::<i64>()?, [1, 0, 2]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn add_at(&self, index: impl Indices, value: impl Into<Arg>) -> Tensor {
        self.update_at("add_at", index.parts(), value.into(), Update::Add)
    }

    #[track_caller]
    fn update_at(&self, name: &'static str, parts: Vec<Index>, value: Arg, how: Update) -> Tensor {
        let _here = enter();
        if self.error_ref().is_some() {
            return self.clone();
        }
        let value = match value {
            Arg::Tensor(t) => t,
            Arg::Number(n) => match n.fits(name, self.dtype()) {
                Ok(()) => Tensor::full(ir::Shape::scalar(), n, with_number(self.dtype(), n)),
                Err(e) => return refuse(e, &[self]),
            },
        };
        if let Some(e) = value.error_ref() {
            return Tensor::error(e.clone());
        }
        let dtype = promote(self.dtype(), value.dtype());
        if dtype != self.dtype() {
            let rule = format!("a value of dtype {} for elements of dtype {}", value.dtype(), self.dtype());
            let legal = "a dtype that the elements' holds; convert with to_dtype";
            return refuse(Error::new(Code::DType, name, rule, legal), &[self, &value]);
        }
        if let ([Index::Tensor(mask)], 0, true) = (parts.as_slice(), value.rank(), trace::active())
            && mask.dtype() == ir::DType::Bool
            && let (mask_shape, shape) = (mask.shape(), self.shape())
            && mask.rank() > 0
            && shape.get(..mask.rank()) == Some(&mask_shape[..])
        {
            // One value goes wherever the mask says, however many places those are.
            let ones = (mask.rank()..shape.rank()).map(|_| Dim::from(1));
            let mask = mask.reshape(mask_shape.iter().cloned().chain(ones).collect::<ir::Shape>());
            let value = value.to_dtype(dtype);
            return match how {
                Update::Set => mask.where_(value, self),
                _ => mask.where_(self + value, self),
            };
        }
        let planned = self.plan(&parts).and_then(|(plan, tensors)| {
            plan.check_value(&value, &advanced::common(&tensors))?;
            Ok((plan, tensors))
        });
        let (plan, tensors) = match planned {
            Ok(found) => found,
            Err(e) => return refuse(e, &[self, &value]),
        };
        let operands: SmallVec<[&Tensor; 4]> = [self, &value].into_iter().chain(&tensors).collect();
        run_sized(Call::composed(name, &plan.key(), Extents::Symbolic), &operands, &plan.sizes(), &|t, sizes| {
            let plan = plan.with_sizes(&t[0].ty().shape, sizes);
            match (how, &t[2..]) {
                (Update::Set, []) => plan.write(&t[0], &t[1]),
                (_, tensors) => advanced::updated(&plan, &t[0], &t[1], tensors, how),
            }
        })
    }

    /// The plan of an index, with its tensors of indices.
    fn plan(&self, parts: &[Index]) -> Result<(Plan, Vec<Tensor>)> {
        if let Some(e) = self.error_ref() {
            return Err(e.clone());
        }
        let mut spread = Vec::with_capacity(parts.len());
        for part in parts {
            match part {
                Index::Tensor(t) if t.error_ref().is_some() => return Err(t.err().expect("it is one")),
                Index::Tensor(t) if t.dtype() == ir::DType::Bool => {
                    spread.extend(advanced::positions(t)?.into_iter().map(Index::Tensor));
                }
                other => spread.push(other.clone()),
            }
        }
        advanced::check_masks(&self.shape(), parts)?;
        let plan = Plan::of(&self.shape(), &spread)?;
        let tensors: Vec<Tensor> =
            spread.into_iter().filter_map(|p| if let Index::Tensor(t) = p { Some(t) } else { None }).collect();
        advanced::check(&plan, &self.shape(), &tensors)?;
        Ok((plan, tensors))
    }

    #[track_caller]
    fn read_at(&self, plan: &Plan, tensors: &[Tensor]) -> Tensor {
        let part = view("index", self, plan.steps());
        let part = match tensors {
            [] => part,
            _ => {
                let operands: SmallVec<[&Tensor; 4]> = [&part].into_iter().chain(tensors).collect();
                let key = plan.key();
                run(Call::composed("index", &key, Extents::Symbolic), &operands, &|t| {
                    advanced::gathered(plan, &t[0], &t[1..])
                })
            }
        };
        match part.try_shape().ok().and_then(|shape| plan.new_axes(&shape)) {
            Some(step) => view("index", &part, [step]),
            None => part,
        }
    }
}
