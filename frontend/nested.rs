//! Tensors from nested host data: numbers, arrays, vectors, slices.

use crate::dispatch::{enter, here};
use crate::error::{Code, Error};
use crate::tensor::Tensor;
use ir::{Literal, TypedData};

/// Host data that a tensor can be made of: a number, or an array, vector or slice of such.
pub trait Nested {
    /// The number type at the bottom.
    type Item: TypedData;
    /// Levels of nesting.
    const RANK: usize;
    /// Appends the numbers in order, and compares or notes extents from axis `axis` on.
    #[doc(hidden)]
    fn flatten(&self, axis: usize, dims: &mut [Option<usize>], out: &mut Vec<Self::Item>) -> Result<(), Ragged>;
}

/// Parts of one axis that differ in length.
#[doc(hidden)]
pub struct Ragged {
    axis: usize,
    lengths: [usize; 2],
}

macro_rules! numbers {
    ($(($v:ident, $t:ty)),*) => { $(
        impl Nested for $t {
            type Item = $t;
            const RANK: usize = 0;
            fn flatten(&self, _: usize, _: &mut [Option<usize>], out: &mut Vec<$t>) -> Result<(), Ragged> {
                out.push(*self);
                Ok(())
            }
        }
    )* };
}
ir::for_each_dtype!(numbers);

impl<N: Nested> Nested for [N] {
    type Item = N::Item;
    const RANK: usize = N::RANK + 1;
    fn flatten(&self, axis: usize, dims: &mut [Option<usize>], out: &mut Vec<N::Item>) -> Result<(), Ragged> {
        let before = *dims[axis].get_or_insert(self.len());
        if before != self.len() {
            return Err(Ragged { axis, lengths: [before, self.len()] });
        }
        self.iter().try_for_each(|n| n.flatten(axis + 1, dims, out))
    }
}

macro_rules! lists {
    ($([$($generic:tt)*] $t:ty),*) => { $(
        impl<$($generic)*> Nested for $t {
            type Item = N::Item;
            const RANK: usize = N::RANK + 1;
            fn flatten(&self, axis: usize, dims: &mut [Option<usize>], out: &mut Vec<N::Item>) -> Result<(), Ragged> {
                self[..].flatten(axis, dims, out)
            }
        }
    )* };
}
lists!([N: Nested, const LEN: usize] [N; LEN], [N: Nested] Vec<N>, [N: Nested] &[N]);

impl<N: Nested, const LEN: usize> Nested for &[N; LEN] {
    type Item = N::Item;
    const RANK: usize = N::RANK + 1;
    fn flatten(&self, axis: usize, dims: &mut [Option<usize>], out: &mut Vec<N::Item>) -> Result<(), Ragged> {
        self[..].flatten(axis, dims, out)
    }
}

/// From a number, or from nested arrays, vectors and slices; ragged data gives an error value.
///
/// ```
/// use tracewright::Tensor;
/// let x = Tensor::from(vec![[1i64, 2], [3, 4], [5, 6]]);
/// assert_eq!(x.shape().to_string(), "[3, 2]");
/// ```
impl<N: Nested> From<N> for Tensor {
    #[track_caller]
    fn from(data: N) -> Tensor {
        let _here = enter();
        let mut dims = vec![None; N::RANK];
        let mut out = Vec::new();
        match data.flatten(0, &mut dims, &mut out) {
            Ok(()) => {
                let dims: Vec<usize> = dims.into_iter().map(|d| d.unwrap_or(0)).collect();
                Tensor::constant(Literal::from_vec(&dims, out))
            }
            Err(Ragged { axis, lengths: [a, b] }) => {
                let rule = format!("along axis {axis} one part has {a} entries and another {b}");
                let e = Error::new(Code::Shape, "from", rule, "parts of equal length");
                Tensor::error(e.at(here()).in_scope(&crate::scope::current()))
            }
        }
    }
}
