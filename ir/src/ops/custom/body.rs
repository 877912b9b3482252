//! The fast body of an op: code of its own, over slices of the operands' and results' elements.

use crate::{DType, TypedData, for_each_dtype};
use smallvec::SmallVec;
use std::ops::Range;

/// Code that a step of a program runs, for an op of the kind [`Opaque`](crate::Lowering::Opaque).
pub trait Body: Send + Sync {
    /// True if results are made row by row, along a first axis that all have in common. Calls for separate rows then run
    /// on several threads.
    fn is_by_rows(&self) -> bool {
        false
    }
    /// About how many additions a row takes, for operands of those extents.
    fn work_per_row(&self, _operands: &[&[usize]]) -> u64 {
        1
    }
    /// Fills the results, which hold zeros; or those of their rows that the call asks for.
    fn run(&self, call: &mut Call<'_>) -> Result<(), String>;
}

macro_rules! elements {
    ($(($v:ident, $t:ty)),*) => {
        /// Elements to read, in row-major order.
        #[derive(Clone, Copy)]
        pub enum Elements<'a> { $(
            #[doc = concat!("Elements of type `", stringify!($t), "`.")]
            $v(&'a [$t])
        ),* }

        /// Elements to write, in row-major order.
        pub enum ElementsMut<'a> { $(
            #[doc = concat!("Elements of type `", stringify!($t), "`.")]
            $v(&'a mut [$t])
        ),* }

        impl Elements<'_> {
            /// The element type.
            pub fn dtype(&self) -> DType { match self { $(Elements::$v(_) => DType::$v),* } }
        }
        impl ElementsMut<'_> {
            /// The element type.
            pub fn dtype(&self) -> DType { match self { $(ElementsMut::$v(_) => DType::$v),* } }
        }

        $(impl SliceOf for $t {
            fn of(all: Elements<'_>) -> Option<&[$t]> { match all { Elements::$v(x) => Some(x), _ => None } }
            fn of_mut(all: ElementsMut<'_>) -> Option<&mut [$t]> { match all { ElementsMut::$v(x) => Some(x), _ => None } }
        })*
    };
}
for_each_dtype!(elements);

/// Typed access to [`Elements`].
pub trait SliceOf: TypedData {
    /// The elements, if they are of this type.
    fn of(all: Elements<'_>) -> Option<&[Self]>;
    /// The same for writing.
    fn of_mut(all: ElementsMut<'_>) -> Option<&mut [Self]>;
}

/// An operand or result of a call.
pub struct Operand<'a> {
    /// Extents.
    pub dims: &'a [usize],
    /// Its elements.
    pub elements: Elements<'a>,
}

/// A result of a call.
pub struct Output<'a> {
    /// Extents of the whole result.
    pub dims: &'a [usize],
    /// The elements of the rows that the call asks for.
    pub elements: ElementsMut<'a>,
}

/// One call of a body: whole operands, and results or some rows of them.
pub struct Call<'a> {
    operands: SmallVec<[Operand<'a>; 4]>,
    dims: SmallVec<[&'a [usize]; 2]>,
    results: SmallVec<[Option<ElementsMut<'a>>; 2]>,
    rows: Range<usize>,
}

impl<'a> Call<'a> {
    /// A call for those rows.
    pub fn new(
        operands: SmallVec<[Operand<'a>; 4]>,
        results: impl IntoIterator<Item = Output<'a>>,
        rows: Range<usize>,
    ) -> Call<'a> {
        let (dims, results) = results.into_iter().map(|o| (o.dims, Some(o.elements))).unzip();
        Call { operands, dims, results, rows }
    }

    /// All elements of an operand. Panics if they are of another type, or if there is no such operand.
    pub fn operand<T: SliceOf>(&self, number: usize) -> &'a [T] {
        let Some(operand) = self.operands.get(number) else { panic!("there is no operand {number}") };
        let dtype = operand.elements.dtype();
        T::of(operand.elements).unwrap_or_else(|| panic!("operand {number} is {dtype}, read as {}", T::DTYPE))
    }
    /// Extents of an operand.
    pub fn dims(&self, number: usize) -> &'a [usize] {
        self.operands.get(number).unwrap_or_else(|| panic!("there is no operand {number}")).dims
    }
    /// Element type of an operand.
    pub fn dtype(&self, number: usize) -> DType {
        self.operands.get(number).unwrap_or_else(|| panic!("there is no operand {number}")).elements.dtype()
    }
    /// The rows of the results that are asked for; all of them unless the body splits.
    pub fn rows(&self) -> Range<usize> {
        self.rows.clone()
    }
    /// Extents of a whole result.
    pub fn result_dims(&self, number: usize) -> &'a [usize] {
        self.dims.get(number).unwrap_or_else(|| panic!("there is no result {number}"))
    }
    /// The elements of a result, zero so far: those of the rows that are asked for. Panics if they are of another type,
    /// if there is no such result, or if it is asked for a second time.
    pub fn result<T: SliceOf>(&mut self, number: usize) -> &'a mut [T] {
        let Some(result) = self.results.get_mut(number) else { panic!("there is no result {number}") };
        let Some(elements) = result.take() else { panic!("result {number} was taken before") };
        let dtype = elements.dtype();
        T::of_mut(elements).unwrap_or_else(|| panic!("result {number} is {dtype}, written as {}", T::DTYPE))
    }
}
