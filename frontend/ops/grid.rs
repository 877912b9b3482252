//! Grids of coordinates, combinations, and matrices of powers.

use super::broadcast::common_shape;
use super::join::stack;
use super::prim;
use crate::dispatch::{Call, Extents, checked, enter, here, refuse, run};
use crate::error::{Code, Error, Result};
use crate::tensor::Tensor;
use ir::{Scalar, Shape};

/// Elements of all choices together, at most.
const MOST_CHOSEN: usize = 1 << 28;

/// How many choices there are, if that is a small number.
fn choices(n: usize, r: usize, repeated: bool) -> Option<usize> {
    let n = if repeated { n.checked_add(r)?.saturating_sub(1) } else { n };
    // None of none; a binomial coefficient, whose factors cancel from the smaller side.
    (0..r.min(n.saturating_sub(r)))
        .try_fold(usize::from(r <= n || r == 0), |count, i| (count <= MOST_CHOSEN).then(|| count * (n - i) / (i + 1)))
}

/// Which axis of a [`meshgrid`] the first tensor goes along.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Indexing {
    /// The first, the second tensor along the second: as indices of a matrix.
    Ij,
    /// The second, and the second tensor along the first: as coordinates of a plane.
    Xy,
}

/// Vectors (or scalars) spread over the grid that they make: all results have the extents of all tensors, and result `i`
/// changes along axis `i` only, but for what [`Indexing::Xy`] says.
///
/// ```
/// use tracewright::{Indexing, Tensor, meshgrid};
/// let grid = meshgrid(&[Tensor::from([1i64, 2]), Tensor::from([3i64, 4, 5])], Indexing::Ij);
/// assert_eq!(grid[0].to_vec::<i64>()?, [1, 1, 1, 2, 2, 2]);
/// assert_eq!(grid[1].to_vec::<i64>()?, [3, 4, 5, 3, 4, 5]);
/// # Ok::<(), tracewright::Error>(())
/// ```
#[track_caller]
pub fn meshgrid(tensors: &[Tensor], indexing: Indexing) -> Vec<Tensor> {
    let _here = enter();
    let refs: Vec<&Tensor> = tensors.iter().collect();
    let all = |t: Tensor| vec![t; tensors.len()];
    if let Some(e) = tensors.iter().find(|t| t.error_ref().is_some()) {
        return all(e.clone());
    }
    if let Some(i) = tensors.iter().position(|t| t.rank() > 1) {
        let rule = format!("tensor {i} has rank {}", tensors[i].rank());
        return all(refuse(Error::new(Code::Rank, "meshgrid", rule, "vectors and scalars"), &refs));
    }
    let mut shape: Shape = tensors.iter().map(|t| t.numel()).collect();
    let swap = indexing == Indexing::Xy && tensors.len() > 1;
    if swap {
        (shape[0], shape[1]) = (shape[1].clone(), shape[0].clone());
    }
    let spread = |(i, t): (usize, &Tensor)| {
        let axis = if swap && i < 2 { 1 - i } else { i };
        let line = (0..shape.rank()).map(|a| if a == axis { t.numel() } else { 1.into() });
        t.reshape(line.collect::<Shape>()).broadcast_to(shape.clone())
    };
    tensors.iter().enumerate().map(spread).collect()
}

/// Every choice of one element from each vector, as rows, the last vector changing fastest.
///
/// ```
/// use tracewright::{Tensor, cartesian_prod};
/// let rows = cartesian_prod(&[Tensor::from([1i64, 2]), Tensor::from([3i64, 4])]);
/// assert_eq!(rows.to_vec::<i64>()?, [1, 3, 1, 4, 2, 3, 2, 4]);
/// # Ok::<(), tracewright::Error>(())
/// ```
#[track_caller]
pub fn cartesian_prod(tensors: &[Tensor]) -> Tensor {
    let _here = enter();
    let columns: Vec<Tensor> = meshgrid(tensors, Indexing::Ij).iter().map(|t| t.flatten(0, -1)).collect();
    stack(&columns, -1)
}

/// The shape that shapes broadcast to: aligned at the last axis, extents are equal or 1.
///
/// ```
/// use tracewright::{Shape, broadcast_shapes};
/// let common = broadcast_shapes(&[Shape::from([2, 1]), Shape::from([3])])?;
/// assert_eq!(common.to_string(), "[2, 3]");
/// # Ok::<(), tracewright::Error>(())
/// ```
///
/// # Errors
/// If they do not.
#[track_caller]
pub fn broadcast_shapes(shapes: &[Shape]) -> Result<Shape> {
    let _here = enter();
    common_shape("broadcast_shapes", shapes.iter()).map_err(|e| e.at(here()).observed())
}

/// Tensors broadcast to the shape that all of them have together.
///
/// ```
/// use tracewright::{Tensor, broadcast_tensors};
/// let both = broadcast_tensors(&[Tensor::from([1i64, 2]), Tensor::from([[3i64], [4]])]);
/// assert_eq!(both[1].to_vec::<i64>()?, [3, 3, 4, 4]);
/// # Ok::<(), tracewright::Error>(())
/// ```
#[track_caller]
pub fn broadcast_tensors(tensors: &[Tensor]) -> Vec<Tensor> {
    let _here = enter();
    let refs: Vec<&Tensor> = tensors.iter().collect();
    let all = |t: Tensor| vec![t; tensors.len()];
    if let Some(e) = tensors.iter().find(|t| t.error_ref().is_some()) {
        return all(e.clone());
    }
    let shapes: Vec<Shape> = tensors.iter().map(|t| t.shape()).collect();
    match common_shape("broadcast_tensors", shapes.iter()) {
        Ok(shape) => tensors.iter().map(|t| t.broadcast_to(shape.clone())).collect(),
        Err(e) => all(refuse(e, &refs)),
    }
}

impl Tensor {
    /// The choices of `r` elements of a vector, in the order in which it has them, as rows; each element once, or any
    /// number of times if `repeated`. The extent must be a number.
    ///
    /// ```
    /// use tracewright::Tensor;
    /// let x = Tensor::from([7i64, 8, 9]);
    /// assert_eq!(x.combinations(2, false).to_vec::<i64>()?, [7, 8, 7, 9, 8, 9]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn combinations(&self, r: usize, repeated: bool) -> Tensor {
        checked(&[self], || {
            if self.rank() != 1 {
                let rule = format!("the tensor has rank {}", self.rank());
                return Err(Error::new(Code::Rank, "combinations", rule, "a vector"));
            }
            let n = self.size(0);
            let choices = choices(n, r, repeated);
            if choices.is_none_or(|n| n.saturating_mul(r.max(1)) > MOST_CHOSEN) {
                let rule = format!("the choices of {r} of {n} elements");
                return Err(Error::new(Code::Memory, "combinations", rule, format!("at most {MOST_CHOSEN} elements")));
            }
            // Rows of one length more, from those of one length less.
            let mut rows: Vec<Vec<i64>> = vec![vec![]];
            for _ in 0..r {
                let longer = |row: &Vec<i64>| {
                    let first = row.last().map_or(0, |last| last + i64::from(!repeated));
                    (first..n as i64).map(|i| row.iter().copied().chain([i]).collect()).collect::<Vec<Vec<i64>>>()
                };
                rows = rows.iter().flat_map(longer).collect();
            }
            let places = Tensor::from_slice(&rows.concat(), [rows.len(), r]);
            Ok(self.take(&places, 0))
        })
    }

    /// The powers `n - 1` to 0 of each element, or 0 to `n - 1` if `increasing`, along a new last axis.
    ///
    /// ```
    /// use tracewright::Tensor;
    /// assert_eq!(Tensor::from([2i64, 3]).vander(3, true).to_vec::<i64>()?, [1, 2, 4, 1, 3, 9]);
    /// # Ok::<(), tracewright::Error>(())
    /// ```
    #[track_caller]
    pub fn vander(&self, n: usize, increasing: bool) -> Tensor {
        checked(&[self], || {
            if self.dtype() == ir::DType::Bool {
                return Err(Error::new(Code::DType, "vander", "the tensor is bool", "numbers"));
            }
            let attributes = [n as i64, increasing as i64];
            Ok(run(Call::composed("vander", &attributes, Extents::Symbolic), &[self], &|t| {
                let mut shape = t[0].ty().shape;
                let kept: Vec<usize> = (0..shape.rank()).collect();
                shape.push(n.saturating_sub(1).into());
                let last = kept.len();
                let bases = prim::spread(&t[0], &shape, &kept);
                let first = usize::from(n > 0);
                let powers = prim::pad(&bases, last, first, 0, Scalar::one(t[0].dtype())).cumprod(last as isize);
                let powers = prim::cast(&powers, t[0].dtype());
                if increasing { powers } else { prim::reverse(&powers, last) }
            }))
        })
    }
}
