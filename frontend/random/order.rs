//! Shuffles, permutations and choices.

use super::continuous::standard_gumbel;
use super::key::Key;
use super::source::{Draw, draw, refused};
use crate::dispatch::{enter, refuse};
use crate::error::{Code, Error};
use crate::keepdims;
use crate::ops::Arg;
use crate::promote;
use crate::tensor::Tensor;
use ir::{DType, Dim, Shape};

/// The numbers (i64) below `n` in random order, each order as likely: sorted by 64 random bits each.
///
/// ```
/// use tracewright::{Key, random};
/// let order = random::permutation(&Key::new(1), 4);
/// assert_eq!(order.sort(0, false).0.to_vec::<i64>()?, [0, 1, 2, 3]);
/// # Ok::<(), tracewright::Error>(())
/// ```
#[track_caller]
pub fn permutation(key: &Key, n: impl Into<Dim>) -> Tensor {
    let _here = enter();
    let shape = Shape::from([n.into()]);
    let call = Draw { name: "permutation", attributes: &[], dtype: DType::U64 };
    draw(call, key, &shape, &[], &|source, _| source.wide(0)).argsort(0, false)
}

/// The parts of a tensor along an axis in random order, the same order for all.
///
/// ```
/// use tracewright::{Key, Tensor, random};
/// let x = Tensor::from([[1i64, 2], [3, 4], [5, 6]]);
/// let y = random::shuffle(&Key::new(1), &x, 0);
/// assert_eq!(y.sum(1).sort(0, false).0.to_vec::<i64>()?, [3, 7, 11]);
/// # Ok::<(), tracewright::Error>(())
/// ```
#[track_caller]
pub fn shuffle(key: &Key, x: &Tensor, axis: isize) -> Tensor {
    let _here = enter();
    if x.error_ref().is_some() {
        return x.clone();
    }
    match crate::ops::resolve(axis, x.rank(), "shuffle") {
        Ok(at) => x.take(&permutation(key, x.shape()[at].clone()), axis),
        Err(e) => refuse(e, &[x]),
    }
}

/// Along the last axis of weights, which need not sum to 1, `count` positions (i64) drawn with probabilities in proportion;
/// without `replacement` no position comes twice. Weights are not negative; without replacement `count` of them are
/// positive.
///
/// ```
/// use tracewright::{Key, Tensor, random};
/// let weights = Tensor::from([0.0f32, 3.0, 1.0]);
/// let drawn = random::multinomial(&Key::new(1), &weights, 400, true);
/// let counts = drawn.bincount(3).to_vec::<i64>()?;
/// assert!(counts[0] == 0 && (250..350).contains(&counts[1]));
/// # Ok::<(), tracewright::Error>(())
/// ```
#[track_caller]
pub fn multinomial(key: &Key, weights: &Tensor, count: usize, replacement: bool) -> Tensor {
    let _here = enter();
    let name = "multinomial";
    if weights.error_ref().is_some() {
        return weights.clone();
    }
    let shape = weights.shape();
    let Some(n) = shape.last().cloned() else {
        return refuse(Error::new(Code::Rank, name, "the weights are a scalar", "one axis or more"), &[weights]);
    };
    if (&n - if replacement { 1 } else { count as i64 }).known().is_some_and(|rest| rest < 0) && count > 0 {
        let rule = format!("{count} positions of {n} are asked for");
        return refuse(Error::new(Code::Argument, name, rule, "as many as there are, or replacement"), &[weights]);
    }
    let dtype = promote::float(weights.dtype()).accumulator();
    let call = Draw { name, attributes: &[], dtype };
    if !replacement {
        // The first places after Gumbel noise is added to the logarithms.
        let noisy = draw(call, key, &shape, &[weights.into()], &|source, p| {
            source.fit(&p[0].log()) + standard_gumbel(source, dtype)
        });
        return noisy.argsort(-1, true).narrow(-1, 0, count);
    }
    // Uniform numbers among the sums of weights, which are brought to at most 1 for the sums to stay finite.
    let weights = weights.to_dtype(dtype);
    let scaled = if n.is(0) { weights.clone() } else { &weights / weights.max(keepdims(-1)) };
    let sums = scaled.cumsum(-1);
    let total = sums.slice(-1, -1..);
    let mut drawn: Shape = shape[..shape.rank() - 1].iter().cloned().collect();
    drawn.push(Dim::from(count));
    let places = draw(
        Draw { name: "multinomial_places", attributes: &[], dtype },
        key,
        &drawn,
        &[(&total).into()],
        &|source, p| source.unit(0, dtype) * source.fit(&p[0]),
    );
    let found = sums.searchsorted(&places, true);
    // Rounding may reach the total.
    found.minimum(positive_last(&weights))
}

/// The last position along the last axis with a positive weight.
fn positive_last(weights: &Tensor) -> Tensor {
    let positive = weights.gt(0.0).to_dtype(DType::I64);
    (positive.cumsum(-1) * &positive).argmax(-1).unsqueeze(-1)
}

/// `count` parts of a tensor along an axis: with `replacement` any of them, else none twice; with equal probabilities, or in
/// proportion to weights.
///
/// ```
/// use tracewright::{Key, Tensor, random};
/// let x = Tensor::from([10i64, 20, 30]);
/// let all = random::choice(&Key::new(1), &x, 0, 3, false, None);
/// assert_eq!(all.sum(0).item::<i64>()?, 60);
/// let weights = Tensor::from([0.0f32, 0.0, 1.0]);
/// assert_eq!(random::choice(&Key::new(1), &x, 0, 2, true, Some(&weights)).to_vec::<i64>()?, [30, 30]);
/// # Ok::<(), tracewright::Error>(())
/// ```
#[track_caller]
pub fn choice(key: &Key, x: &Tensor, axis: isize, count: usize, replacement: bool, weights: Option<&Tensor>) -> Tensor {
    let _here = enter();
    let name = "choice";
    if let Some(t) = [Some(x), weights].into_iter().flatten().find(|t| t.error_ref().is_some()) {
        return t.clone();
    }
    let n = match crate::ops::resolve(axis, x.rank(), name) {
        Ok(at) => x.shape()[at].clone(),
        Err(e) => return refuse(e, &[x]),
    };
    let indices = match weights {
        Some(w) if w.rank() != 1 || w.shape()[0] != n => {
            let rule = format!("the weights have shape {}, the axis has extent {n}", w.shape());
            return refuse(Error::new(Code::Shape, name, rule, "one weight for each part"), &[x, w]);
        }
        Some(w) => multinomial(key, w, count, replacement),
        None if (&n - if replacement { 1 } else { count as i64 }).known().is_some_and(|rest| rest < 0) && count > 0 => {
            let rule = format!("{count} parts of {n} are asked for");
            return refused(name, Code::Argument, rule, "as many as there are, or replacement");
        }
        None if replacement => {
            let extent = match n.known() {
                Some(n) => Arg::from(n),
                None => Arg::from(crate::ops::dim_scalar(&n, DType::I64)),
            };
            super::discrete::integers(key, [count], DType::I64, 0i64, extent)
        }
        None => permutation(key, n).narrow(0, 0, count),
    };
    x.take(&indices, axis)
}
