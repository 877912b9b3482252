//! Joining tensors.

use super::axes::resolve;
use super::prim;
use crate::dispatch::{Call, Extents, enter, here, refuse, run};
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
