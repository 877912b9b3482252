//! Concatenating and stacking.

use super::axes::resolve;
use super::prim;
use crate::dispatch::{Call, Extents, checked, enter, here, refuse, run};
use crate::error::{Code, Error};
use crate::promote::promote;
use crate::tensor::Tensor;
use crate::trace::record;
use ir::ops::view;

/// Tensors one after the other along an axis; all other extents must be equal.
///
/// ```
/// use tracewright::{Tensor, concat};
/// let (x, y) = (Tensor::from([[1i64], [2]]), Tensor::from([[3i64], [4]]));
/// assert_eq!(concat(&[x, y], 1).to_vec::<i64>()?, [1, 3, 2, 4]);
/// # Ok::<(), tracewright::Error>(())
/// ```
#[track_caller]
pub fn concat(tensors: &[Tensor], axis: isize) -> Tensor {
    let _here = enter();
    let refs: Vec<&Tensor> = tensors.iter().collect();
    let Some(first) = tensors.first() else {
        return Tensor::error(Error::new(Code::Empty, "concat", "no tensors", "at least one").at(here()));
    };
    if let Some(e) = tensors.iter().find(|t| t.error_ref().is_some()) {
        return e.clone();
    }
    let rank = first.rank();
    let at = match resolve(axis, rank, "concat") {
        Ok(a) => a,
        Err(e) => return refuse(e, &refs),
    };
    for (i, t) in tensors.iter().enumerate().skip(1) {
        let (a, b) = (first.shape(), t.shape());
        if b.rank() != rank || a.without(&[at]) != b.without(&[at]) {
            let rule = format!("tensors 0 and {i} have shapes {a} and {b}");
            let legal = format!("extents of all axes but {at} are equal");
            return refuse(Error::new(Code::Shape, "concat", rule, legal), &refs);
        }
    }
    let dtype = tensors.iter().map(Tensor::dtype).reduce(promote).expect("there is one");
    run(Call::plain("concat", &[at as i64], Extents::Symbolic), &refs, &|t| {
        let parts: Vec<Tensor> = t.iter().map(|t| prim::cast(t, dtype)).collect();
        record(view::Concatenate { axis: at }, &parts.iter().collect::<Vec<_>>())
    })
}

/// Tensors of one shape side by side along a new axis.
///
/// ```
/// use tracewright::{Tensor, stack};
/// let (x, y) = (Tensor::from([1i64, 2]), Tensor::from([3i64, 4]));
/// assert_eq!(stack(&[x, y], 0).try_shape()?.to_string(), "[2, 2]");
/// # Ok::<(), tracewright::Error>(())
/// ```
#[track_caller]
pub fn stack(tensors: &[Tensor], axis: isize) -> Tensor {
    let _here = enter();
    let refs: Vec<&Tensor> = tensors.iter().collect();
    let Some(first) = tensors.first() else {
        return Tensor::error(Error::new(Code::Empty, "stack", "no tensors", "at least one").at(here()));
    };
    if let Some(e) = tensors.iter().find(|t| t.error_ref().is_some()) {
        return e.clone();
    }
    if let Some(i) = tensors.iter().position(|t| t.shape() != first.shape()) {
        let rule = format!("tensors 0 and {i} have shapes {} and {}", first.shape(), tensors[i].shape());
        return refuse(Error::new(Code::Shape, "stack", rule, "one shape"), &refs);
    }
    let at = match resolve(axis, first.rank() + 1, "stack") {
        Ok(a) => a as isize,
        Err(e) => return refuse(e, &refs),
    };
    concat(&tensors.iter().map(|t| t.unsqueeze(at)).collect::<Vec<_>>(), at)
}

/// Tensors one after the other along the second axis, or the first if they are vectors; scalars become vectors.
///
/// ```
/// use tracewright::{Tensor, hstack};
/// assert_eq!(hstack(&[Tensor::from([1i64, 2]), Tensor::from([3i64])]).to_vec::<i64>()?, [1, 2, 3]);
/// # Ok::<(), tracewright::Error>(())
/// ```
#[track_caller]
pub fn hstack(tensors: &[Tensor]) -> Tensor {
    let _here = enter();
    let parts: Vec<Tensor> = tensors.iter().map(Tensor::atleast_1d).collect();
    let vectors = parts.first().is_some_and(|t| t.error_ref().is_none() && t.rank() == 1);
    concat(&parts, if vectors { 0 } else { 1 })
}

/// Tensors one after the other along the first axis, vectors as rows.
///
/// ```
/// use tracewright::{Tensor, vstack};
/// let rows = vstack(&[Tensor::from([1i64, 2]), Tensor::from([3i64, 4])]);
/// assert_eq!(rows.shape().to_string(), "[2, 2]");
/// ```
#[track_caller]
pub fn vstack(tensors: &[Tensor]) -> Tensor {
    let _here = enter();
    concat(&tensors.iter().map(Tensor::atleast_2d).collect::<Vec<_>>(), 0)
}

/// Tensors one after the other along the third axis, after [`Tensor::atleast_3d`].
///
/// ```
/// use tracewright::{Tensor, dstack};
/// let both = dstack(&[Tensor::from([1i64, 2]), Tensor::from([3i64, 4])]);
/// assert_eq!((both.shape().to_string(), both.to_vec::<i64>()?), ("[1, 2, 2]".into(), vec![1, 3, 2, 4]));
/// # Ok::<(), tracewright::Error>(())
/// ```
#[track_caller]
pub fn dstack(tensors: &[Tensor]) -> Tensor {
    let _here = enter();
    concat(&tensors.iter().map(Tensor::atleast_3d).collect::<Vec<_>>(), 2)
}

/// Tensors one after the other along the second axis, vectors as columns.
///
/// ```
/// use tracewright::{Tensor, column_stack};
/// let columns = column_stack(&[Tensor::from([1i64, 2]), Tensor::from([3i64, 4])]);
/// assert_eq!(columns.to_vec::<i64>()?, [1, 3, 2, 4]);
/// # Ok::<(), tracewright::Error>(())
/// ```
#[track_caller]
pub fn column_stack(tensors: &[Tensor]) -> Tensor {
    let _here = enter();
    let column = |t: &Tensor| match t.error_ref() {
        None if t.rank() < 2 => t.atleast_1d().unsqueeze(1),
        _ => t.clone(),
    };
    concat(&tensors.iter().map(column).collect::<Vec<_>>(), 1)
}

/// Matrices along the diagonal of one, zeros elsewhere; a vector is a row, a scalar one element.
///
/// ```
/// use tracewright::{Tensor, block_diag};
/// let all = block_diag(&[Tensor::from([[1i64], [2]]), Tensor::from(3i64)]);
/// assert_eq!(all.to_vec::<i64>()?, [1, 0, 2, 0, 0, 3]);
/// # Ok::<(), tracewright::Error>(())
/// ```
#[track_caller]
pub fn block_diag(tensors: &[Tensor]) -> Tensor {
    let _here = enter();
    let refs: Vec<&Tensor> = tensors.iter().collect();
    checked(&refs, || {
        if let Some(i) = tensors.iter().position(|t| t.rank() > 2) {
            let rule = format!("tensor {i} has rank {}", tensors[i].rank());
            return Err(Error::new(Code::Rank, "block_diag", rule, "matrices, vectors and scalars"));
        }
        let Some(dtype) = tensors.iter().map(Tensor::dtype).reduce(promote) else {
            return Err(Error::new(Code::Empty, "block_diag", "no tensors", "at least one"));
        };
        Ok(run(Call::composed("block_diag", &[], Extents::Symbolic), &refs, &|t| {
            let blocks: Vec<Tensor> = t.iter().map(|t| prim::cast(&t.atleast_2d(), dtype)).collect();
            let width = |blocks: &[Tensor]| blocks.iter().fold(ir::Dim::from(0), |n, b| n + &b.ty().shape[1]);
            let rows: Vec<Tensor> = (0..blocks.len())
                .map(|i| {
                    let (before, after) = (width(&blocks[..i]), width(&blocks[i + 1..]));
                    prim::pad(&blocks[i], 1, before, after, ir::Scalar::zero(dtype))
                })
                .collect();
            prim::concat(&rows, 0)
        }))
    })
}
