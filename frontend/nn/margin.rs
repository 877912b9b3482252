//! Margin, triplet and embedding losses; all are means over all rows.

use super::loss::{bits, loss};
use crate::dispatch::{Call, Extents, checked, enter, run};
use crate::error::{Code, Error};
use crate::ops::prim;
use crate::promote;
use crate::tensor::Tensor;

/// A mean over vectors, which are the last axes of tensors of one shape.
#[track_caller]
fn of_vectors(
    name: &'static str,
    vectors: &[&Tensor],
    per_vector: Option<&Tensor>,
    numbers: &[f64],
    body: &dyn Fn(&[Tensor]) -> Tensor,
) -> Tensor {
    let operands: Vec<&Tensor> = vectors.iter().copied().chain(per_vector).collect();
    checked(&operands, || {
        let shape = vectors[0].shape();
        if let Some(other) = vectors.iter().find(|v| v.shape() != shape) {
            let rule = format!("the shapes are {shape} and {}", other.shape());
            return Err(Error::new(Code::Shape, name, rule, "one shape"));
        }
        let Some(last) = shape.rank().checked_sub(1) else {
            return Err(Error::new(Code::Rank, name, "the tensors are scalars", "vectors along a last axis"));
        };
        if let Some(y) = per_vector.filter(|y| y.shape() != shape.without(&[last])) {
            let rule = format!("vectors of shape {shape} and signs of shape {}", y.shape());
            return Err(Error::new(Code::Shape, name, rule, "the signs have the shape without the last axis"));
        }
        Ok(run(Call::composed(name, &bits(numbers), Extents::Symbolic), &operands, &|t| {
            let common = t.iter().map(Tensor::dtype).reduce(promote::promote).expect("there is a vector");
            let dtype = promote::float(common);
            let wide: Vec<Tensor> = t.iter().map(|t| prim::cast(t, dtype.accumulator())).collect();
            prim::cast(&body(&wide).mean(..), dtype)
        }))
    })
}

/// The mean over pairs of vectors of `1 - c` where the sign is 1, and of `max(0, c - margin)` where it is -1, with the
/// cosine `c` of the angle between them. `signs` has the shape of the tensors without the last axis.
///
/// ```
/// use tracewright::{Tensor, nn};
/// let (x, y) = (Tensor::from([[1.0f32, 0.0], [1.0, 0.0]]), Tensor::from([[0.0f32, 2.0], [3.0, 0.0]]));
/// let loss = nn::cosine_embedding_loss(&x, &y, &Tensor::from([1.0f32, -1.0]), 0.5);
/// assert!((loss.item::<f32>()? - 0.75).abs() < 1e-6);
/// # Ok::<(), tracewright::Error>(())
/// ```
#[track_caller]
pub fn cosine_embedding_loss(x1: &Tensor, x2: &Tensor, signs: &Tensor, margin: f64) -> Tensor {
    of_vectors("cosine_embedding_loss", &[x1, x2], Some(signs), &[margin], &|t| {
        let square = |x: &Tensor| x.square().sum(-1) + 1e-12;
        let cosine = (&t[0] * &t[1]).sum(-1) / (square(&t[0]) * square(&t[1])).sqrt();
        let y = &t[2];
        y.eq(1.0).where_(1.0 - &cosine, 0.0) + y.eq(-1.0).where_((&cosine - margin).relu(), 0.0)
    })
}

/// The mean of `max(0, |a - p| - |a - n| + margin)` over anchors, vectors that belong to them and such that do not, in the
/// norm of order `norm` with 1e-6 added to each difference, as in PyTorch.
///
/// ```
/// use tracewright::{Tensor, nn};
/// let [a, p, n] = [0.0f32, 1.0, 3.0].map(|x| Tensor::from([[x]]));
/// assert!(nn::triplet_margin_loss(&a, &p, &n, 1.0, 2.0).item::<f32>()? == 0.0);
/// assert!((nn::triplet_margin_loss(&a, &n, &p, 1.0, 2.0).item::<f32>()? - 3.0).abs() < 1e-6);
/// # Ok::<(), tracewright::Error>(())
/// ```
#[track_caller]
pub fn triplet_margin_loss(anchor: &Tensor, positive: &Tensor, negative: &Tensor, margin: f64, norm: f64) -> Tensor {
    of_vectors("triplet_margin_loss", &[anchor, positive, negative], None, &[margin, norm], &|t| {
        let distance = |x: &Tensor| t[0].pairwise_distance(x, norm, 1e-6);
        (distance(&t[1]) - distance(&t[2]) + margin).relu()
    })
}

/// [`triplet_margin_loss`] with a distance of one's own, a function of two tensors of vectors.
///
/// ```
/// use tracewright::{Tensor, nn};
/// let [a, p, n] = [0.0f32, 1.0, 3.0].map(|x| Tensor::from([[x]]));
/// let squares = |x: &Tensor, y: &Tensor| (x - y).square().sum(-1);
/// assert_eq!(nn::triplet_margin_with_distance_loss(&a, &n, &p, squares, 1.0).item::<f32>()?, 9.0);
/// # Ok::<(), tracewright::Error>(())
/// ```
#[track_caller]
pub fn triplet_margin_with_distance_loss(
    anchor: &Tensor,
    positive: &Tensor,
    negative: &Tensor,
    distance: impl Fn(&Tensor, &Tensor) -> Tensor,
    margin: f64,
) -> Tensor {
    let _here = enter();
    (distance(anchor, positive) - distance(anchor, negative) + margin).relu().mean(..)
}

/// The mean over all rows and classes of `max(0, margin - x[target] + x)^power`, which is 0 for the target itself; shapes are those of [`cross_entropy`](super::cross_entropy).
///
/// ```
/// use tracewright::{Tensor, nn};
/// let scores = Tensor::from([[0.5f32, 1.0, -3.0]]);
/// assert_eq!(nn::multi_margin_loss(&scores, &Tensor::from([0i64]), 1.0, 1.0).item::<f32>()?, 0.5);
/// # Ok::<(), tracewright::Error>(())
/// ```
#[track_caller]
pub fn multi_margin_loss(scores: &Tensor, targets: &Tensor, power: f64, margin: f64) -> Tensor {
    let _here = enter();
    loss("multi_margin_loss", &[power, margin], scores, targets, &|x, i| {
        let below = (margin - x.take_along(i, -1) + x).relu();
        let classes = prim::iota(&x.ty().shape, x.rank() - 1);
        let size = if power == 1.0 { below } else { below.pow(power) };
        classes.eq(i).where_(0.0, size).mean(..)
    })
}
