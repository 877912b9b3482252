//! Gamma variates, and what is made of them.

use super::key::Key;
use super::source::{Draw, check, check_float, draw, refused};
use crate::dispatch::enter;
use crate::error::Code;
use crate::ops::{Arg, prim};
use crate::tensor::Tensor;
use ir::{DType, Shape};

#[track_caller]
fn illegal(name: &'static str, dtype: DType, parameters: &[(&str, &Arg)]) -> Option<Tensor> {
    let positive = |(what, p): &(&str, &Arg)| check(name, what, p, "a positive number", |x| x > 0.0);
    check_float(name, dtype).or_else(|| parameters.iter().find_map(positive))
}

/// Gamma numbers of a shape (`concentration`) and a rate, by the method of Marsaglia and Tsang (2000), in f64. The gradient by
/// the concentration holds the quantile fixed, as in PyTorch and JAX (Figurnov, Mohamed and Mnih, 2018).
///
/// ```
/// use tracewright::{DType, Key, random};
/// let x = random::gamma(&Key::new(1), [4000], DType::F32, 3.0, 2.0);
/// assert!((x.mean(..).item::<f32>()? - 1.5).abs() < 0.05);
/// # Ok::<(), tracewright::Error>(())
/// ```
#[track_caller]
pub fn gamma(
    key: &Key,
    shape: impl Into<Shape>,
    dtype: DType,
    concentration: impl Into<Arg>,
    rate: impl Into<Arg>,
) -> Tensor {
    let _here = enter();
    let (name, concentration, rate) = ("gamma", concentration.into(), rate.into());
    if let Some(e) = illegal(name, dtype, &[("concentration", &concentration), ("rate", &rate)]) {
        return e;
    }
    let call = Draw { name, attributes: &[dtype as i64], dtype: DType::F64 };
    draw(call, key, &shape.into(), &[concentration, rate], &|source, p| {
        prim::cast(&(source.log_gamma(&source.fit(&p[0]), false).exp() / source.fit(&p[1])), dtype)
    })
}

/// Logarithms of gamma numbers of that shape and of rate 1: those of small shapes are 0 for a float themselves.
///
/// ```
/// use tracewright::{DType, Key, random};
/// let x = random::log_gamma(&Key::new(1), [4000], DType::F32, 1e-3);
/// assert!((x.mean(..).item::<f32>()? / -1000.0 - 1.0).abs() < 0.1);
/// # Ok::<(), tracewright::Error>(())
/// ```
#[track_caller]
pub fn log_gamma(key: &Key, shape: impl Into<Shape>, dtype: DType, concentration: impl Into<Arg>) -> Tensor {
    let _here = enter();
    let (name, concentration) = ("log_gamma", concentration.into());
    if let Some(e) = illegal(name, dtype, &[("concentration", &concentration)]) {
        return e;
    }
    let call = Draw { name, attributes: &[dtype as i64], dtype: DType::F64 };
    draw(call, key, &shape.into(), &[concentration], &|source, p| {
        prim::cast(&source.log_gamma(&source.fit(&p[0]), false), dtype)
    })
}

/// Chi-squared numbers of so many degrees of freedom.
///
/// ```
/// use tracewright::{DType, Key, random};
/// let x = random::chi2(&Key::new(1), [4000], DType::F32, 3.0);
/// assert!((x.mean(..).item::<f32>()? - 3.0).abs() < 0.15);
/// # Ok::<(), tracewright::Error>(())
/// ```
#[track_caller]
pub fn chi2(key: &Key, shape: impl Into<Shape>, dtype: DType, degrees: impl Into<Arg>) -> Tensor {
    let _here = enter();
    let (name, degrees) = ("chi2", degrees.into());
    if let Some(e) = illegal(name, dtype, &[("number of degrees of freedom", &degrees)]) {
        return e;
    }
    draw(Draw { name, attributes: &[dtype as i64], dtype: DType::F64 }, key, &shape.into(), &[degrees], &|source, p| {
        prim::cast(&(source.log_gamma(&source.fit(&(&p[0] * 0.5)), false).exp() * 2.0), dtype)
    })
}

/// Student's t numbers of so many degrees of freedom.
///
/// ```
/// use tracewright::{DType, Key, random};
/// let x = random::student_t(&Key::new(1), [4000], DType::F32, 10.0);
/// assert!((x.var(0, 0).item::<f32>()? - 1.25).abs() < 0.1);
/// # Ok::<(), tracewright::Error>(())
/// ```
#[track_caller]
pub fn student_t(key: &Key, shape: impl Into<Shape>, dtype: DType, degrees: impl Into<Arg>) -> Tensor {
    let _here = enter();
    let (name, degrees) = ("student_t", degrees.into());
    if let Some(e) = illegal(name, dtype, &[("number of degrees of freedom", &degrees)]) {
        return e;
    }
    draw(Draw { name, attributes: &[dtype as i64], dtype: DType::F64 }, key, &shape.into(), &[degrees], &|source, p| {
        let half = source.fit(&(&p[0] * 0.5));
        let scale = ((half.log() - source.log_gamma(&half, false)) * 0.5).exp();
        prim::cast(&(source.normal(0, DType::F64) * scale), dtype)
    })
}

/// Beta numbers.
///
/// ```
/// use tracewright::{DType, Key, random};
/// let x = random::beta(&Key::new(1), [4000], DType::F32, 2.0, 6.0);
/// assert!((x.mean(..).item::<f32>()? - 0.25).abs() < 0.01);
/// # Ok::<(), tracewright::Error>(())
/// ```
#[track_caller]
pub fn beta(key: &Key, shape: impl Into<Shape>, dtype: DType, a: impl Into<Arg>, b: impl Into<Arg>) -> Tensor {
    let _here = enter();
    let (name, a, b) = ("beta", a.into(), b.into());
    if let Some(e) = illegal(name, dtype, &[("first parameter", &a), ("second parameter", &b)]) {
        return e;
    }
    draw(Draw { name, attributes: &[dtype as i64], dtype: DType::F64 }, key, &shape.into(), &[a, b], &|source, p| {
        let [x, y] = [(0, false), (1, true)].map(|(i, second)| source.log_gamma(&source.fit(&p[i]), second));
        prim::cast(&(x - y).sigmoid(), dtype)
    })
}

/// Dirichlet numbers: parts of 1 along a last axis, which is that of `concentration`. The shape is that of the other axes, to
/// which those of `concentration` broadcast.
///
/// ```
/// use tracewright::{DType, Key, Tensor, random};
/// let x = random::dirichlet(&Key::new(1), [4], DType::F32, &Tensor::from([1.0f32, 2.0, 3.0]));
/// assert_eq!(x.shape().to_string(), "[4, 3]");
/// assert!((x.sum(-1) - 1.0).abs().max(0).item::<f32>()? < 1e-6);
/// # Ok::<(), tracewright::Error>(())
/// ```
#[track_caller]
pub fn dirichlet(key: &Key, shape: impl Into<Shape>, dtype: DType, concentration: &Tensor) -> Tensor {
    let _here = enter();
    let name = "dirichlet";
    if concentration.error_ref().is_some() {
        return concentration.clone();
    }
    let Some(last) = concentration.shape().last().cloned() else {
        return refused(name, Code::Rank, "the concentration is a scalar", "a tensor of one axis or more");
    };
    if let Some(e) = check_float(name, dtype) {
        return e;
    }
    let mut shape: Shape = shape.into();
    shape.push(last);
    let call = Draw { name, attributes: &[dtype as i64], dtype: DType::F64 };
    draw(call, key, &shape, &[concentration.into()], &|source, p| {
        prim::cast(&source.log_gamma(&source.fit(&p[0]), false).softmax(-1), dtype)
    })
}
