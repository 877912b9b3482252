//! Distributions over the real numbers.

use super::key::Key;
use super::source::{Draw, Source, are, check, check_float, draw, known, refused};
use crate::dispatch::enter;
use crate::error::Code;
use crate::ops::{Arg, prim};
use crate::tensor::Tensor;
use ir::{DType, Scalar, Shape};
use std::f64::consts::{FRAC_PI_2, SQRT_2};

/// A draw with parameters `location` and `scale` of a distribution whose standard form the body yields.
#[track_caller]
fn located(
    name: &'static str,
    key: &Key,
    shape: Shape,
    dtype: DType,
    [location, scale]: [Arg; 2],
    standard: &dyn Fn(&Source, DType) -> Tensor,
) -> Tensor {
    let legal = "a scale that is not negative";
    if let Some(e) = check_float(name, dtype).or_else(|| check(name, "scale", &scale, legal, |x| x >= 0.0)) {
        return e;
    }
    let plain = are([&location, &scale], [0.0, 1.0]);
    let parameters = if plain { vec![] } else { vec![location, scale] };
    let call = Draw { name, attributes: &[dtype as i64, plain as i64], dtype: dtype.accumulator() };
    draw(call, key, &shape, &parameters, &|source, p| {
        let z = standard(source, dtype.accumulator());
        prim::cast(&if plain { z } else { source.fit(&p[0]) + z * source.fit(&p[1]) }, dtype)
    })
}

/// Uniform numbers in `low..high`, from as many random bits as the dtype holds: 53, 24, 11 or 8. `high` itself never
/// comes, unless it is `low`.
///
/// ```
/// use tracewright::{DType, Key, random};
/// let x = random::uniform(&Key::new(1), [1000], DType::F32, -1.0, 1.0);
/// assert!(x.abs().max(..).item::<f32>()? <= 1.0);
/// assert_eq!(random::uniform(&Key::new(1), [2], DType::F64, 3.0, 3.0).to_vec::<f64>()?, [3.0, 3.0]);
/// # Ok::<(), tracewright::Error>(())
/// ```
#[track_caller]
pub fn uniform(key: &Key, shape: impl Into<Shape>, dtype: DType, low: impl Into<Arg>, high: impl Into<Arg>) -> Tensor {
    let _here = enter();
    let (name, low, high) = ("uniform", low.into(), high.into());
    if let Some(e) = check_float(name, dtype) {
        return e;
    }
    if let (Some(a), Some(b)) = (known(&low), known(&high)) {
        let fits = |x: f64| Scalar::of(dtype, x).as_f64().is_finite();
        if !(a <= b && fits(a) && fits(b) && Scalar::of(dtype.accumulator(), b - a).as_f64().is_finite()) {
            let legal = format!("numbers of {dtype}, of which the second is not less, with a difference that is one");
            return refused(name, Code::Argument, format!("the range is {a} to {b}"), legal);
        }
    }
    let unit = are([&low, &high], [0.0, 1.0]);
    let parameters = if unit { vec![] } else { vec![low, high] };
    let wide = dtype.accumulator();
    let call = Draw { name, attributes: &[dtype as i64, unit as i64], dtype };
    draw(call, key, &shape.into(), &parameters, &|source, p| {
        let u = source.unit(0, dtype);
        if unit {
            return prim::cast(&u, dtype);
        }
        // What is rounded up to the end goes to the number before it.
        let last = p[1].stop_gradient().nextafter(f64::NEG_INFINITY);
        let [low, high, last] = [&p[0], &p[1], &last].map(|p| source.fit(&prim::cast(p, wide)));
        let x = &low + u * (high - &low);
        prim::cast(&x.minimum(last).maximum(low), dtype)
    })
}

/// [`uniform`] of the shape and dtype of a tensor.
#[track_caller]
pub fn uniform_like(key: &Key, like: &Tensor, low: impl Into<Arg>, high: impl Into<Arg>) -> Tensor {
    let _here = enter();
    if like.error_ref().is_some() {
        like.clone()
    } else {
        uniform(&key.beside(like), like.shape(), like.dtype(), low, high)
    }
}

/// Normal numbers: the inverse of the distribution function at uniform numbers of 24 bits (53 for f64), as JAX has it. The
/// largest in f32 is some 5.4 deviations from the mean.
///
/// ```
/// use tracewright::{DType, Key, Tensor, random};
/// let x = random::normal(&Key::new(1), [1000, 2], DType::F32, Tensor::from([0.0f32, 5.0]), 0.1);
/// let mean = x.mean(0).to_vec::<f32>()?;
/// assert!(mean[0].abs() < 0.02 && (mean[1] - 5.0).abs() < 0.02);
/// # Ok::<(), tracewright::Error>(())
/// ```
#[track_caller]
pub fn normal(
    key: &Key,
    shape: impl Into<Shape>,
    dtype: DType,
    mean: impl Into<Arg>,
    deviation: impl Into<Arg>,
) -> Tensor {
    let _here = enter();
    located("normal", key, shape.into(), dtype, [mean.into(), deviation.into()], &|s, dtype| s.normal(0, dtype))
}

/// [`normal`] of the shape and dtype of a tensor.
#[track_caller]
pub fn normal_like(key: &Key, like: &Tensor, mean: impl Into<Arg>, deviation: impl Into<Arg>) -> Tensor {
    let _here = enter();
    if like.error_ref().is_some() {
        like.clone()
    } else {
        normal(&key.beside(like), like.shape(), like.dtype(), mean, deviation)
    }
}

/// Standard normal numbers between two bounds, as those that fall there are distributed: by the error function and its
/// inverse, as JAX does. Where both bounds lie in one tail, beyond some 4 deviations in f32 and 7 in f64, the error function
/// has no digits left to tell the numbers apart, and they become coarse and at last one of the bounds.
///
/// ```
/// use tracewright::{DType, Key, random};
/// let x = random::truncated_normal(&Key::new(1), [1000], DType::F32, -2.0, 2.0);
/// assert!(x.abs().max(..).item::<f32>()? <= 2.0);
/// # Ok::<(), tracewright::Error>(())
/// ```
#[track_caller]
pub fn truncated_normal(
    key: &Key,
    shape: impl Into<Shape>,
    dtype: DType,
    lower: impl Into<Arg>,
    upper: impl Into<Arg>,
) -> Tensor {
    let _here = enter();
    let (name, lower, upper) = ("truncated_normal", lower.into(), upper.into());
    if let Some(e) = check_float(name, dtype) {
        return e;
    }
    if let (Some(a), Some(b)) = (known(&lower), known(&upper))
        && (a >= b || a.is_nan() || b.is_nan())
    {
        return refused(
            name,
            Code::Argument,
            format!("the bounds are {a} and {b}"),
            "a lower bound below the upper one",
        );
    }
    let wide = dtype.accumulator();
    let call = Draw { name, attributes: &[dtype as i64], dtype: wide };
    draw(call, key, &shape.into(), &[lower, upper], &|source, p| {
        let [a, b] = [&p[0], &p[1]].map(|x| source.fit(&(x / SQRT_2).erf()));
        let x = (&a + source.open(0, wide) * (b - &a)).erfinv() * SQRT_2;
        prim::cast(&x.maximum(source.fit(&p[0])).minimum(source.fit(&p[1])), dtype)
    })
}

/// Exponential numbers of a rate: of mean `1 / rate`.
///
/// ```
/// use tracewright::{DType, Key, random};
/// let x = random::exponential(&Key::new(1), [4000], DType::F32, 2.0);
/// assert!((x.mean(..).item::<f32>()? - 0.5).abs() < 0.05);
/// # Ok::<(), tracewright::Error>(())
/// ```
#[track_caller]
pub fn exponential(key: &Key, shape: impl Into<Shape>, dtype: DType, rate: impl Into<Arg>) -> Tensor {
    let _here = enter();
    let (name, rate) = ("exponential", rate.into());
    if let Some(e) = check_float(name, dtype).or_else(|| check(name, "rate", &rate, "a positive rate", |x| x > 0.0)) {
        return e;
    }
    let wide = dtype.accumulator();
    draw(Draw { name, attributes: &[dtype as i64], dtype: wide }, key, &shape.into(), &[rate], &|source, p| {
        let u = source.unit(0, if wide == DType::F64 { wide } else { DType::F32 });
        // Not -0 where nothing is missing from 1.
        prim::cast(&((1.0 - u).log().abs() / source.fit(&p[0])), dtype)
    })
}

/// Gumbel numbers: `location - scale * log(-log(u))` of uniform `u`.
///
/// ```
/// use tracewright::{DType, Key, random};
/// let x = random::gumbel(&Key::new(1), [4000], DType::F32, 0.0, 1.0);
/// assert!((x.mean(..).item::<f32>()? - 0.5772).abs() < 0.1);
/// # Ok::<(), tracewright::Error>(())
/// ```
#[track_caller]
pub fn gumbel(
    key: &Key,
    shape: impl Into<Shape>,
    dtype: DType,
    location: impl Into<Arg>,
    scale: impl Into<Arg>,
) -> Tensor {
    let _here = enter();
    located("gumbel", key, shape.into(), dtype, [location.into(), scale.into()], &standard_gumbel)
}

pub(super) fn standard_gumbel(source: &Source, dtype: DType) -> Tensor {
    -(-source.open(0, dtype).log()).log()
}

/// Laplace numbers: of density `exp(-|x - location| / scale) / (2 scale)`.
///
/// ```
/// use tracewright::{DType, Key, random};
/// let x = random::laplace(&Key::new(1), [4000], DType::F32, 1.0, 0.5);
/// assert!((x.mean(..).item::<f32>()? - 1.0).abs() < 0.05);
/// # Ok::<(), tracewright::Error>(())
/// ```
#[track_caller]
pub fn laplace(
    key: &Key,
    shape: impl Into<Shape>,
    dtype: DType,
    location: impl Into<Arg>,
    scale: impl Into<Arg>,
) -> Tensor {
    let _here = enter();
    located("laplace", key, shape.into(), dtype, [location.into(), scale.into()], &|source, dtype| {
        let u = source.symmetric(0, dtype);
        -u.sign() * (1.0 - u.abs()).log()
    })
}

/// Cauchy numbers: without mean or variance, `location` is their median.
///
/// ```
/// use tracewright::{DType, Key, random};
/// let x = random::cauchy(&Key::new(1), [4000], DType::F32, 1.0, 0.5);
/// assert!((x.median(0).0.item::<f32>()? - 1.0).abs() < 0.1);
/// # Ok::<(), tracewright::Error>(())
/// ```
#[track_caller]
pub fn cauchy(
    key: &Key,
    shape: impl Into<Shape>,
    dtype: DType,
    location: impl Into<Arg>,
    scale: impl Into<Arg>,
) -> Tensor {
    let _here = enter();
    located("cauchy", key, shape.into(), dtype, [location.into(), scale.into()], &|source, dtype| {
        (source.symmetric(0, dtype) * FRAC_PI_2).tan()
    })
}

/// Numbers whose logarithms are normal with that mean and deviation.
///
/// ```
/// use tracewright::{DType, Key, random};
/// let x = random::log_normal(&Key::new(1), [1000], DType::F32, 0.0, 0.25);
/// assert!((x.log().std(0, 0).item::<f32>()? - 0.25).abs() < 0.03);
/// # Ok::<(), tracewright::Error>(())
/// ```
#[track_caller]
pub fn log_normal(
    key: &Key,
    shape: impl Into<Shape>,
    dtype: DType,
    mean: impl Into<Arg>,
    deviation: impl Into<Arg>,
) -> Tensor {
    let _here = enter();
    let wide = dtype.accumulator();
    let x =
        located("log_normal", key, shape.into(), wide, [mean.into(), deviation.into()], &|s, dtype| s.normal(0, dtype));
    if x.error_ref().is_some() { x } else { x.exp().to_dtype(dtype) }
}

/// Logistic numbers: those whose distribution function is the sigmoid of `(x - location) / scale`.
///
/// ```
/// use tracewright::{DType, Key, random};
/// let x = random::logistic(&Key::new(1), [4000], DType::F32, 2.0, 0.5);
/// assert!((x.mean(..).item::<f32>()? - 2.0).abs() < 0.06);
/// # Ok::<(), tracewright::Error>(())
/// ```
#[track_caller]
pub fn logistic(
    key: &Key,
    shape: impl Into<Shape>,
    dtype: DType,
    location: impl Into<Arg>,
    scale: impl Into<Arg>,
) -> Tensor {
    let _here = enter();
    located("logistic", key, shape.into(), dtype, [location.into(), scale.into()], &|source, dtype| {
        let u = source.open(0, dtype);
        u.log() - (1.0 - u).log()
    })
}

/// A draw with two positive parameters, of which the body makes numbers from exponential ones.
#[track_caller]
fn positive(
    name: &'static str,
    key: &Key,
    shape: Shape,
    dtype: DType,
    [scale, concentration]: [Arg; 2],
    body: &dyn Fn(Tensor, Tensor, Tensor) -> Tensor,
) -> Tensor {
    let refused = |what: &str, p: &Arg| check(name, what, p, "a positive number", |x| x > 0.0);
    let e = check_float(name, dtype)
        .or_else(|| refused("scale", &scale))
        .or_else(|| refused("concentration", &concentration));
    if let Some(e) = e {
        return e;
    }
    let wide = dtype.accumulator();
    let call = Draw { name, attributes: &[dtype as i64], dtype: wide };
    draw(call, key, &shape, &[scale, concentration], &|source, p| {
        let e = (1.0 - source.unit(0, if wide == DType::F64 { wide } else { DType::F32 })).log().abs();
        prim::cast(&body(e, source.fit(&p[0]), source.fit(&p[1])), dtype)
    })
}

/// Weibull numbers: the share up to `x` is `1 - exp(-(x / scale)^concentration)`.
///
/// ```
/// use tracewright::{DType, Key, random};
/// let x = random::weibull(&Key::new(1), [4000], DType::F32, 3.0, 1.0);
/// assert!((x.mean(..).item::<f32>()? - 3.0).abs() < 0.2);
/// # Ok::<(), tracewright::Error>(())
/// ```
#[track_caller]
pub fn weibull(
    key: &Key,
    shape: impl Into<Shape>,
    dtype: DType,
    scale: impl Into<Arg>,
    concentration: impl Into<Arg>,
) -> Tensor {
    let _here = enter();
    let parameters = [scale.into(), concentration.into()];
    positive("weibull", key, shape.into(), dtype, parameters, &|e, scale, concentration| {
        scale * e.pow(1.0 / concentration)
    })
}

/// Pareto numbers, from `scale` on: the share beyond `x` is `(scale / x)^concentration`.
///
/// ```
/// use tracewright::{DType, Key, random};
/// let x = random::pareto(&Key::new(1), [4000], DType::F32, 2.0, 3.0);
/// assert!(x.min(0).item::<f32>()? >= 2.0 && (x.mean(..).item::<f32>()? - 3.0).abs() < 0.2);
/// # Ok::<(), tracewright::Error>(())
/// ```
#[track_caller]
pub fn pareto(
    key: &Key,
    shape: impl Into<Shape>,
    dtype: DType,
    scale: impl Into<Arg>,
    concentration: impl Into<Arg>,
) -> Tensor {
    let _here = enter();
    let parameters = [scale.into(), concentration.into()];
    positive("pareto", key, shape.into(), dtype, parameters, &|e, scale, concentration| {
        scale * (e / concentration).exp()
    })
}
