//! Distributions over integers and truth values.

use super::continuous::standard_gumbel;
use super::key::Key;
use super::source::{Draw, Source, check, check_float, draw, refused};
use crate::dispatch::{enter, refuse};
use crate::error::{Code, Error};
use crate::ops::{Arg, prim};
use crate::promote::Number;
use crate::tensor::Tensor;
use ir::{DType, Scalar, Shape};

/// Random bits as integers of that dtype: every value is as likely.
///
/// ```
/// use tracewright::{DType, Key, random};
/// let x = random::bits(&Key::new(0), [2], DType::U32);
/// assert_eq!(x.to_vec::<u32>()?, [0x6627_e8d5, 0xe169_c58d]); // as the library Random123 has it
/// # Ok::<(), tracewright::Error>(())
/// ```
#[track_caller]
pub fn bits(key: &Key, shape: impl Into<Shape>, dtype: DType) -> Tensor {
    let _here = enter();
    if !dtype.is_int() {
        return refused("bits", Code::DType, format!("the dtype is {dtype}"), "an integer");
    }
    draw(Draw { name: "bits", attributes: &[], dtype }, key, &shape.into(), &[], &|source, _| {
        prim::cast(&if dtype.size() == 8 { source.wide(0) } else { source.word(0) }, dtype)
    })
}

/// True with that probability.
///
/// ```
/// use tracewright::{Key, Tensor, random};
/// let x = random::bernoulli(&Key::new(1), [100, 3], Tensor::from([0.0f32, 1.0, 0.5]));
/// let counts = x.sum(0).to_vec::<i64>()?;
/// assert!(counts[0] == 0 && counts[1] == 100 && (30..70).contains(&counts[2]));
/// # Ok::<(), tracewright::Error>(())
/// ```
#[track_caller]
pub fn bernoulli(key: &Key, shape: impl Into<Shape>, probability: impl Into<Arg>) -> Tensor {
    let _here = enter();
    let (name, probability) = ("bernoulli", probability.into());
    let legal = "a number from 0 to 1";
    if let Some(e) = check(name, "probability", &probability, legal, |p| (0.0..=1.0).contains(&p)) {
        return e;
    }
    let dtype = match &probability {
        Arg::Tensor(t) if t.error_ref().is_none() && t.dtype() == DType::F64 => DType::F64,
        _ => DType::F32,
    };
    draw(Draw { name, attributes: &[], dtype }, key, &shape.into(), &[probability], &|source, p| {
        source.unit(0, dtype).lt(source.fit(&p[0]))
    })
}

/// The first attempt that succeeds, from 1 on, where each does with that probability; integers or floats.
///
/// ```
/// use tracewright::{DType, Key, random};
/// let x = random::geometric(&Key::new(1), [4000], DType::I64, 0.25);
/// assert!(x.min(0).item::<i64>()? == 1 && (x.mean(..).item::<f32>()? - 4.0).abs() < 0.3);
/// # Ok::<(), tracewright::Error>(())
/// ```
#[track_caller]
pub fn geometric(key: &Key, shape: impl Into<Shape>, dtype: DType, probability: impl Into<Arg>) -> Tensor {
    let _here = enter();
    let (name, probability) = ("geometric", probability.into());
    let legal = "a number above 0 and up to 1";
    let e =
        check_number(name, dtype).or_else(|| check(name, "probability", &probability, legal, |p| p > 0.0 && p <= 1.0));
    if let Some(e) = e {
        return e;
    }
    draw(
        Draw { name, attributes: &[dtype as i64], dtype: DType::F64 },
        key,
        &shape.into(),
        &[probability],
        &|source, p| {
            let trials = (1.0 - source.unit(0, DType::F64)).log() / source.fit(&(-&p[0]).log1p());
            prim::cast(&(trials.floor() + 1.0), dtype)
        },
    )
}

/// Counts of events that come at that rate: Poisson numbers, integers or floats.
///
/// ```
/// use tracewright::{DType, Key, random};
/// let x = random::poisson(&Key::new(1), [4000], DType::I64, 3.0);
/// assert!((x.mean(..).item::<f32>()? - 3.0).abs() < 0.1);
/// # Ok::<(), tracewright::Error>(())
/// ```
#[track_caller]
pub fn poisson(key: &Key, shape: impl Into<Shape>, dtype: DType, rate: impl Into<Arg>) -> Tensor {
    let _here = enter();
    let (name, rate) = ("poisson", rate.into());
    let e =
        check_number(name, dtype).or_else(|| check(name, "rate", &rate, "a rate that is not negative", |x| x >= 0.0));
    if let Some(e) = e {
        return e;
    }
    draw(Draw { name, attributes: &[dtype as i64], dtype: DType::F64 }, key, &shape.into(), &[rate], &|source, p| {
        prim::cast(&source.poisson(&source.fit(&p[0])), dtype)
    })
}

#[track_caller]
fn check_number(name: &'static str, dtype: DType) -> Option<Tensor> {
    (dtype == DType::Bool).then(|| refused(name, Code::DType, "the dtype is bool", "an integer or a float"))
}

/// Integers from `low` to below `high`, each as likely to within 2^-64 of the range. Numbers may lie one beyond the dtype at
/// the upper end, so that its whole range can be asked for; an empty range of numbers is an error, one of tensors gives `low`.
///
/// ```
/// use tracewright::{DType, Key, random};
/// let x = random::integers(&Key::new(1), [1000], DType::I8, -100, 128);
/// assert!(x.min(0).item::<i8>()? < -90 && x.max(0).item::<i8>()? > 110);
/// # Ok::<(), tracewright::Error>(())
/// ```
#[track_caller]
pub fn integers(key: &Key, shape: impl Into<Shape>, dtype: DType, low: impl Into<Arg>, high: impl Into<Arg>) -> Tensor {
    let _here = enter();
    let (name, low, high) = ("integers", low.into(), high.into());
    if !dtype.is_int() {
        return refused(name, Code::DType, format!("the dtype is {dtype}"), "an integer");
    }
    for t in [&low, &high] {
        if let Arg::Tensor(t) = t
            && t.error_ref().is_none()
            && !t.dtype().is_int()
        {
            return refuse(Error::new(Code::DType, name, format!("a bound is {}", t.dtype()), "integers"), &[t]);
        }
    }
    let [least, most] = [Scalar::lowest(dtype), Scalar::highest(dtype)].map(|s| s.as_i128().unwrap_or(0));
    for (bound, beyond) in [(&low, 0), (&high, 1)] {
        match bound {
            Arg::Number(Number::Int(n)) if !(least..=most + beyond).contains(n) => {
                let legal = format!("numbers from {least} to {}", most + beyond);
                return refused(name, Code::Argument, format!("the bound {n} does not fit {dtype}"), legal);
            }
            Arg::Number(n @ (Number::Float(_) | Number::Bool(_))) => {
                return refused(name, Code::Argument, format!("a bound is {n:?}"), "an integer");
            }
            _ => {}
        }
    }
    let range = match (&low, &high) {
        (Arg::Number(Number::Int(a)), Arg::Number(Number::Int(b))) => Some(b - a),
        _ => None,
    };
    if range.is_some_and(|n| n <= 0) {
        let rule = format!("there is no integer from {} to below {}", low.text(), high.text());
        return refused(name, Code::Argument, rule, "a first bound below the second");
    }
    // Beyond all 64-bit integers, which modulo 2^64 is below them.
    let top = matches!(high, Arg::Number(Number::Int(n)) if n > most && dtype.size() == 8);
    // Ends modulo 2^64, which their difference does not mind.
    let end = |bound: Arg| match bound {
        Arg::Number(Number::Int(n)) => Arg::Number(Number::Int((n as u64).into())),
        tensor => tensor,
    };
    let narrow = range.is_some_and(|n| n <= 1 << 32);
    let whole = range == Some(1 << 64);
    let call = Draw { name, attributes: &[dtype as i64, narrow as i64, whole as i64, top as i64], dtype: DType::U64 };
    draw(call, key, &shape.into(), &[end(low), end(high)], &|source, p| {
        let low = source.fit(&p[0]);
        if whole {
            return prim::cast(&(low + source.wide(0)), dtype);
        }
        let range = source.fit(&(&p[1] - &p[0]));
        // An empty range has no place to go; as signed numbers one that is turned round is negative.
        let empty = if narrow || top { None } else { Some(source.fit(&is_empty(&p[0], &p[1], dtype))) };
        let place = scaled(source, &range, narrow);
        // From the lowest one on, the range is all of them, and 0 modulo 2^64.
        let place = if top { range.eq(0).where_(source.wide(0), place) } else { place };
        let place = match empty {
            Some(empty) => empty.where_(0, place),
            None => place,
        };
        prim::cast(&(low + place), dtype)
    })
}

/// Whether the range between two ends, as u64, is empty.
fn is_empty(low: &Tensor, high: &Tensor, dtype: DType) -> Tensor {
    if dtype.is_unsigned() { high.le(low) } else { prim::cast(high, DType::I64).le(prim::cast(low, DType::I64)) }
}

/// 64 random bits times the range (u64), over 2^64: Lemire, *Fast Random Integer Generation in an Interval*, 2019, without
/// rejection. A narrow range is at most 2^32.
fn scaled(source: &Source, range: &Tensor, narrow: bool) -> Tensor {
    let random = source.wide(0);
    let (high, low) = (&random >> 32, &random & 0xFFFF_FFFFi64);
    if narrow {
        return (high * range + ((low * range) >> 32)) >> 32;
    }
    let (upper, lower) = (range >> 32, range & 0xFFFF_FFFFi64);
    let (first, second) = (&low * &upper, &high * &lower);
    let middle = ((low * lower) >> 32) + (&first & 0xFFFF_FFFFi64) + (&second & 0xFFFF_FFFFi64);
    high * upper + (first >> 32) + (second >> 32) + (middle >> 32)
}

/// For each place along the other axes, a position (i64) along an axis, with probabilities in proportion to the exponentials
/// of the elements: the largest after Gumbel noise is added.
///
/// ```
/// use tracewright::{Key, Tensor, random};
/// let logits = Tensor::from([[0.0f32, f32::NEG_INFINITY], [f32::NEG_INFINITY, 0.0]]);
/// assert_eq!(random::categorical(&Key::new(1), &logits, -1).to_vec::<i64>()?, [0, 1]);
/// # Ok::<(), tracewright::Error>(())
/// ```
#[track_caller]
pub fn categorical(key: &Key, logits: &Tensor, axis: isize) -> Tensor {
    let _here = enter();
    if logits.error_ref().is_some() {
        return logits.clone();
    }
    let dtype = crate::promote::float(logits.dtype()).accumulator();
    let noisy = draw(
        Draw { name: "categorical", attributes: &[], dtype },
        key,
        &logits.shape(),
        &[logits.into()],
        &|source, p| source.fit(&p[0]) + standard_gumbel(source, dtype),
    );
    noisy.argmax(axis)
}

/// One-hot choices along an axis, softened: the softmax of the elements with Gumbel noise, over a temperature (Jang, Gu and
/// Poole, *Categorical Reparameterization with Gumbel-Softmax*, 2017). If `hard` they are one-hot, with the gradient of the
/// soft ones.
///
/// ```
/// use tracewright::{DType, Key, Tensor, random};
/// let logits = Tensor::zeros([5, 3], DType::F32);
/// let x = random::gumbel_softmax(&Key::new(1), &logits, 0.5, true, -1);
/// assert_eq!((x.sum(-1).to_vec::<f32>()?, x.max(-1).to_vec::<f32>()?), (vec![1.0; 5], vec![1.0; 5]));
/// # Ok::<(), tracewright::Error>(())
/// ```
#[track_caller]
pub fn gumbel_softmax(key: &Key, logits: &Tensor, temperature: f64, hard: bool, axis: isize) -> Tensor {
    let _here = enter();
    let name = "gumbel_softmax";
    if logits.error_ref().is_some() {
        return logits.clone();
    }
    let legal = "a positive number";
    let e = check_float(name, logits.dtype())
        .or_else(|| check(name, "temperature", &Arg::from(temperature), legal, |x| x > 0.0));
    if let Some(e) = e {
        return e;
    }
    let dtype = logits.dtype();
    let wide = dtype.accumulator();
    let parameters = [logits.into(), temperature.into()];
    let noisy = draw(Draw { name, attributes: &[], dtype: wide }, key, &logits.shape(), &parameters, &|source, p| {
        (source.fit(&p[0]) + standard_gumbel(source, wide)) / source.fit(&p[1])
    });
    let soft = noisy.softmax(axis);
    if !hard || soft.error_ref().is_some() {
        return if soft.error_ref().is_some() { soft } else { soft.to_dtype(dtype) };
    }
    // The first of equal ones.
    let most = soft.eq(soft.max(crate::ops::keepdims(axis)));
    let first = most.logical_and(most.to_dtype(DType::I64).cumsum(axis).eq(1));
    let one = first.to_dtype(wide);
    // The value of the one, the gradient of the other.
    (one + (&soft - soft.stop_gradient())).to_dtype(dtype)
}
