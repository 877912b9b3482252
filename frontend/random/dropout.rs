//! Dropout.

use super::key::Key;
use super::source::{Draw, check, check_float, draw};
use crate::dispatch::enter;
use crate::ops::{Arg, prim};
use crate::tensor::Tensor;
use ir::{DType, Dim, Shape};

/// Zeros with that probability, and all else over the probability to stay, so that means stay as they are. The gradient has
/// the same zeros.
///
/// ```
/// use tracewright::{DType, Key, Tensor, random};
/// let x = random::dropout(&Key::new(0), &Tensor::ones([1000], DType::F32), 0.5);
/// assert!(x.to_vec::<f32>()?.iter().all(|&x| x == 0.0 || x == 2.0));
/// # Ok::<(), tracewright::Error>(())
/// ```
#[track_caller]
pub fn dropout(key: &Key, x: &Tensor, probability: f64) -> Tensor {
    let _here = enter();
    masked("dropout", key, x, probability, |shape| shape)
}

/// [`dropout`] of whole features: one draw for each place along the first two axes, batch and feature. With one more axis it
/// is PyTorch's `dropout1d`, with two `dropout2d`, with three `dropout3d`.
///
/// ```
/// use tracewright::{DType, Key, Tensor, random};
/// let x = random::feature_dropout(&Key::new(0), &Tensor::ones([2, 8, 3, 3], DType::F32), 0.5);
/// let kept = x.reshape([16, 9]).sum(1).to_vec::<f32>()?;
/// assert!(kept.iter().all(|&sum| sum == 0.0 || sum == 18.0));
/// # Ok::<(), tracewright::Error>(())
/// ```
#[track_caller]
pub fn feature_dropout(key: &Key, x: &Tensor, probability: f64) -> Tensor {
    let _here = enter();
    masked("feature_dropout", key, x, probability, features)
}

/// [`dropout`] for networks of SELU units: what is dropped gets the value at which SELU saturates, and the outcome is scaled
/// and shifted so that mean 0 and variance 1 stay (Klambauer et al., *Self-Normalizing Neural Networks*, 2017).
///
/// ```
/// use tracewright::{DType, Key, random};
/// let x = random::normal(&Key::new(0), [4000], DType::F32, 0.0, 1.0);
/// let y = random::alpha_dropout(&Key::new(1), &x, 0.5);
/// assert!(y.mean(0).item::<f32>()?.abs() < 0.1 && (y.var(0, 0).item::<f32>()? - 1.0).abs() < 0.1);
/// # Ok::<(), tracewright::Error>(())
/// ```
#[track_caller]
pub fn alpha_dropout(key: &Key, x: &Tensor, probability: f64) -> Tensor {
    let _here = enter();
    saturating("alpha_dropout", key, x, probability, |shape| shape)
}

/// [`alpha_dropout`] of whole features, as [`feature_dropout`] drops them.
///
/// ```
/// use tracewright::{DType, Key, Tensor, random};
/// let x = random::feature_alpha_dropout(&Key::new(0), &Tensor::zeros([2, 8, 3], DType::F32), 0.5);
/// let spread = (x.max(-1) - x.min(-1)).max(..);
/// assert_eq!(spread.item::<f32>()?, 0.0);
/// # Ok::<(), tracewright::Error>(())
/// ```
#[track_caller]
pub fn feature_alpha_dropout(key: &Key, x: &Tensor, probability: f64) -> Tensor {
    let _here = enter();
    saturating("feature_alpha_dropout", key, x, probability, features)
}

/// A draw for each batch and feature.
fn features(shape: Shape) -> Shape {
    shape.iter().enumerate().map(|(axis, d)| if axis < 2 { d.clone() } else { Dim::from(1) }).collect()
}

#[track_caller]
fn saturating(name: &'static str, key: &Key, x: &Tensor, probability: f64, of: impl Fn(Shape) -> Shape) -> Tensor {
    if let Some(e) = refused(name, x, probability) {
        return e;
    }
    let (keep, dtype) = (1.0 - probability, x.dtype());
    if keep == 1.0 || keep == 0.0 {
        return if keep == 1.0 { x.clone() } else { x.zeros_like() };
    }
    // -alpha * scale of SELU.
    let saturated = -1.758_099_340_847_376_6;
    let scale = (keep + saturated * saturated * keep * probability).powf(-0.5);
    let shift = -scale * saturated * probability;
    let call = Draw { name, attributes: &[], dtype: DType::F32 };
    let drawn = of(x.shape());
    let kept = draw(call, key, &drawn, &[keep.into()], &|source, p| source.unit(0, DType::F32).lt(source.fit(&p[0])));
    let wide = x.to_dtype(dtype.accumulator());
    (kept.where_(wide, saturated) * scale + shift).to_dtype(dtype)
}

/// [`Tensor::leaky_relu`] with a slope for each element, uniform in `low..high`: PyTorch's `rrelu` in training.
///
/// ```
/// use tracewright::{Key, Tensor, random};
/// let x = random::rrelu(&Key::new(0), &Tensor::from([-1.0f32, 2.0]), 0.25, 0.75).to_vec::<f32>()?;
/// assert!((-0.75..=-0.25).contains(&x[0]) && x[1] == 2.0);
/// # Ok::<(), tracewright::Error>(())
/// ```
#[track_caller]
pub fn rrelu(key: &Key, x: &Tensor, low: f64, high: f64) -> Tensor {
    let _here = enter();
    let slope = super::continuous::uniform_like(key, x, low, high);
    if slope.error_ref().is_some() { slope } else { x.leaky_relu(slope) }
}

#[track_caller]
fn refused(name: &'static str, x: &Tensor, probability: f64) -> Option<Tensor> {
    if x.error_ref().is_some() {
        return Some(x.clone());
    }
    let legal = "a number from 0 to 1";
    check_float(name, x.dtype())
        .or_else(|| check(name, "probability", &Arg::from(probability), legal, |p| (0.0..=1.0).contains(&p)))
}

/// One draw for each place of the shape that `of` makes of that of `x`.
#[track_caller]
fn masked(name: &'static str, key: &Key, x: &Tensor, probability: f64, of: impl Fn(Shape) -> Shape) -> Tensor {
    if let Some(e) = refused(name, x, probability) {
        return e;
    }
    let (keep, dtype, shape) = (1.0 - probability, x.dtype(), x.shape());
    if keep == 1.0 {
        return x.clone();
    }
    if keep == 0.0 {
        return x.zeros_like();
    }
    let drawn = of(shape.clone());
    if drawn == shape {
        let call = Draw { name, attributes: &[], dtype: dtype.accumulator() };
        return draw(call, key, &shape, &[x.into(), keep.into(), (1.0 / keep).into()], &|source, p| {
            let [x, keep, scale] = [0, 1, 2].map(|i| source.fit(&p[i]));
            let kept = source.unit(0, DType::F32).lt(prim::cast(&keep, DType::F32));
            prim::cast(&kept.where_(x * scale, 0.0), dtype)
        });
    }
    let call = Draw { name, attributes: &[], dtype: DType::F32 };
    let kept = draw(call, key, &drawn, &[keep.into()], &|source, p| source.unit(0, DType::F32).lt(source.fit(&p[0])));
    kept.where_((x.to_dtype(dtype.accumulator()) * (1.0 / keep)).to_dtype(dtype), 0.0)
}
