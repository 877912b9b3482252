//! Ops of single elements: arithmetic, elementary functions, comparison, logic, conversion.

use super::{Op, one};
use crate::io::onnx::evaluate::{Call, Out, Stop};
use crate::io::onnx::value::Ints;
use crate::tensor::Tensor;
use crate::{DType, Dim, Shape};

/// A function of one tensor.
macro_rules! unary {
    ($name:literal, $since:expr, $f:expr) => {
        Op::new($name, $since, |c| {
            let f: fn(&Tensor) -> Tensor = $f;
            one(f(&c.tensor(0)?))
        })
    };
}

/// A function of two tensors.
macro_rules! binary {
    ($name:literal, $since:expr, $f:expr) => {
        Op::new($name, $since, |c| {
            let f: fn(&Tensor, &Tensor) -> Tensor = $f;
            let a = c.tensor(0)?;
            one(f(&a, &aligned(c, &a, c.tensor(1)?)?))
        })
    };
}

pub(super) const OPS: &[Op] = &[
    unary!("Abs", &[1, 6, 13], Tensor::abs),
    unary!("Acos", &[7, 22], Tensor::acos),
    unary!("Acosh", &[9, 22], Tensor::acosh),
    unary!("Asin", &[7, 22], Tensor::asin),
    unary!("Asinh", &[9, 22], Tensor::asinh),
    unary!("Atan", &[7, 22], Tensor::atan),
    unary!("Atanh", &[9, 22], Tensor::atanh),
    unary!("Ceil", &[1, 6, 13], Tensor::ceil),
    unary!("Cos", &[7, 22], Tensor::cos),
    unary!("Cosh", &[9, 22], Tensor::cosh),
    unary!("Erf", &[9, 13], Tensor::erf),
    unary!("Exp", &[1, 6, 13], Tensor::exp),
    unary!("Floor", &[1, 6, 13], Tensor::floor),
    Op::new("Identity", &[1, 13, 14, 16, 19, 21, 23], |c| match c.inputs.first() {
        Some(x) => Ok(vec![x.clone()]),
        None => Err(c.fail("there is no operand", "one")),
    }),
    unary!("IsNaN", &[9, 13, 20], Tensor::is_nan),
    Op::new("IsInf", &[10, 20], |c| {
        let x = c.tensor(0)?;
        one(match (c.flag("detect_negative", true), c.flag("detect_positive", true)) {
            (true, true) => x.is_inf(),
            (true, false) => x.is_neginf(),
            (false, true) => x.is_posinf(),
            (false, false) => x.is_nan().logical_and(false),
        })
    }),
    unary!("Log", &[1, 6, 13], Tensor::log),
    Op::new("Neg", &[1, 6, 13], |c| one(-c.tensor(0)?)).host(|_, v| unary_ints(v, |a| Some(Dim::from(0) - a))),
    unary!("Reciprocal", &[1, 6, 13], Tensor::recip),
    unary!("Round", &[11, 22], Tensor::round),
    unary!("Sigmoid", &[1, 6, 13], Tensor::sigmoid),
    unary!("Sign", &[9, 13], Tensor::sign),
    unary!("Sin", &[7, 22], Tensor::sin),
    unary!("Sinh", &[9, 22], Tensor::sinh),
    unary!("Sqrt", &[1, 6, 13], Tensor::sqrt),
    unary!("Tan", &[7, 22], Tensor::tan),
    unary!("Tanh", &[1, 6, 13], Tensor::tanh),
    unary!("Not", &[1], Tensor::logical_not),
    unary!("BitwiseNot", &[18], Tensor::logical_not),
    binary!("Add", &[1, 6, 7, 13, 14], |a, b| a + b).host(|_, v| binary_ints(v, |a, b| Some(a + b))),
    binary!("Sub", &[1, 6, 7, 13, 14], |a, b| a - b).host(|_, v| binary_ints(v, |a, b| Some(a - b))),
    binary!("Mul", &[1, 6, 7, 13, 14], |a, b| a * b).host(|_, v| binary_ints(v, product)),
    // Integers are divided towards zero.
    binary!("Div", &[1, 6, 7, 13, 14], |a, b| a.div_trunc(b)).host(|_, v| binary_ints(v, quotient)),
    Op::new("Pow", &[1, 7, 12, 13, 15], pow),
    Op::new("Mod", &[10, 13], |c| {
        let (a, b) = (c.tensor(0)?, c.tensor(1)?);
        one(if c.flag("fmod", false) { a.fmod(b) } else { a.remainder(b) })
    })
    .host(|c, v| {
        let truncated = c.flag("fmod", false);
        binary_ints(v, |a, b| match (a.known(), b.known()?) {
            (Some(a), b) if truncated => a.checked_rem(b).map(Dim::from),
            // The remainder has the sign of the divisor.
            (Some(a), b) => {
                let rest = a.checked_rem(b)?;
                Some(Dim::from(if rest != 0 && (rest < 0) != (b < 0) { rest + b } else { rest }))
            }
            (None, b) if b > 0 && !truncated => Some(a.modulo(&Dim::from(b))),
            _ => None,
        })
    }),
    binary!("And", &[1, 7], |a, b| a.logical_and(b)),
    binary!("Or", &[1, 7], |a, b| a.logical_or(b)),
    binary!("Xor", &[1, 7], |a, b| a.logical_xor(b)),
    binary!("BitwiseAnd", &[18], |a, b| a.logical_and(b)),
    binary!("BitwiseOr", &[18], |a, b| a.logical_or(b)),
    binary!("BitwiseXor", &[18], |a, b| a.logical_xor(b)),
    Op::new("BitShift", &[11], |c| {
        let (a, b) = (c.tensor(0)?, c.tensor(1)?);
        one(if c.choice("direction", &["LEFT", "RIGHT"])? == "LEFT" { a.shift_left(b) } else { a.shift_right(b) })
    }),
    binary!("Equal", &[1, 7, 11, 13, 19], |a, b| a.eq(b)).host(|_, v| compare_ints(v, |n| n == 0)),
    binary!("Less", &[1, 7, 9, 13], |a, b| a.lt(b)).host(|_, v| compare_ints(v, |n| n < 0)),
    binary!("LessOrEqual", &[12, 16], |a, b| a.le(b)).host(|_, v| compare_ints(v, |n| n <= 0)),
    binary!("Greater", &[1, 7, 9, 13], |a, b| a.gt(b)).host(|_, v| compare_ints(v, |n| n > 0)),
    binary!("GreaterOrEqual", &[12, 16], |a, b| a.ge(b)).host(|_, v| compare_ints(v, |n| n >= 0)),
    Op::new("Max", &[1, 6, 8, 12, 13], |c| fold(c, |a, b| a.maximum(b)))
        .host(|_, v| fold_ints(v, |a, b| Some(a.known()?.max(b.known()?).into()))),
    Op::new("Min", &[1, 6, 8, 12, 13], |c| fold(c, |a, b| a.minimum(b)))
        .host(|_, v| fold_ints(v, |a, b| Some(a.known()?.min(b.known()?).into()))),
    Op::new("Sum", &[1, 6, 8, 13], |c| fold(c, |a, b| a + b)),
    Op::new("Mean", &[1, 6, 8, 13], |c| match fold(c, |a, b| a + b)?.pop().and_then(|v| v.tensor()) {
        Some(sum) => one(sum / c.inputs.len() as f64),
        None => Err(c.fail("there are no operands", "at least one")),
    }),
    Op::new("Where", &[9, 16], |c| one(c.tensor(0)?.where_(c.tensor(1)?, c.tensor(2)?))).host(|_, v| {
        let [Some(condition), Some(yes), Some(no)] = v else { return None };
        let chosen =
            join(condition, yes, DType::I64, |c, a| Some(if c.known()? != 0 { a.clone() } else { Dim::from(0) }))?;
        let rest =
            join(condition, no, DType::I64, |c, b| Some(if c.known()? != 0 { Dim::from(0) } else { b.clone() }))?;
        join(&chosen, &rest, yes.dtype, |a, b| Some(a + b))
    }),
    Op::new("Cast", &[1, 6, 9, 13, 19, 21, 23], |c| one(c.tensor(0)?.to_dtype(target(c)?))).host(|c, v| {
        let to = target(c).ok()?;
        let x = v[0].clone()?;
        let fits = matches!(to, DType::I64 | DType::I32 | DType::Bool);
        let fits = fits && (to != DType::Bool || x.dtype == DType::Bool);
        fits.then(|| fitting(to, x.shape, Some(x.dims)))?
    }),
    Op::new("CastLike", &[15, 19, 21, 23], |c| {
        let like = c.tensor(1)?;
        one(c.tensor(0)?.to_dtype(like.dtype()))
    }),
];

/// The dtype of a cast, which the first version has by name.
fn target(c: &Call) -> Result<DType, Stop> {
    if c.version() >= 6 {
        return c.dtype("to")?.ok_or_else(|| c.fail("there is no dtype `to`", "a dtype"));
    }
    let to = c.text("to", "").to_lowercase();
    let name = match to.as_str() {
        "float" => "f32".into(),
        "double" => "f64".into(),
        "float16" => "f16".into(),
        other => other.replace("uint", "u").replace("int", "i"),
    };
    name.parse().map_err(|_| c.fail(format!("the attribute `to` is `{to}`"), "a dtype"))
}

/// The second operand, which before opset 7 stands where an attribute says.
fn aligned(c: &Call, a: &Tensor, b: Tensor) -> Result<Tensor, Stop> {
    if c.version() >= 7 || c.attribute("axis").is_none() {
        return Ok(b);
    }
    let (rank, shape) = (a.try_shape()?.rank(), b.try_shape()?);
    let behind = rank.saturating_sub(c.axis(c.int("axis", 0), rank)? + shape.rank());
    Ok(b.reshape(Shape::from_iter(shape.iter().cloned().chain((0..behind).map(|_| Dim::from(1))))))
}

fn pow(c: &Call) -> Out {
    let a = c.tensor(0)?;
    let b = aligned(c, &a, c.tensor(1)?)?;
    let (base, exponent) = (a.dtype(), b.dtype());
    if base == exponent {
        return one(a.pow(b));
    }
    // The result has the dtype of the base, whatever the exponent's is.
    let common = crate::promote(base, exponent);
    one(a.to_dtype(common).pow(b.to_dtype(common)).to_dtype(base))
}

fn fold(c: &Call, f: impl Fn(Tensor, Tensor) -> Tensor) -> Out {
    match c.tensors()?.into_iter().reduce(f) {
        Some(t) => one(t),
        None => Err(c.fail("there are no operands", "at least one")),
    }
}

/// Integers that fit their dtype, or none.
pub(super) fn fitting(dtype: DType, shape: Vec<usize>, dims: Option<Vec<Dim>>) -> Option<Ints> {
    let dims = dims?;
    let wide = |n: i64| n.unsigned_abs() < if dtype == DType::I32 { 1 << 31 } else { 1 << 62 };
    dims.iter().all(|d| d.known().is_none_or(wide)).then_some(Ints { dtype, shape, dims })
}

fn unary_ints(v: &[Option<Ints>], f: impl Fn(&Dim) -> Option<Dim>) -> Option<Ints> {
    let x = v[0].as_ref()?;
    fitting(x.dtype, x.shape.clone(), x.dims.iter().map(f).collect())
}

/// A function of two lists, or of a list and a single integer.
fn join(a: &Ints, b: &Ints, dtype: DType, f: impl Fn(&Dim, &Dim) -> Option<Dim>) -> Option<Ints> {
    let at = |x: &Ints, i: usize| x.dims[if x.dims.len() == 1 { 0 } else { i }].clone();
    let single = |x: &Ints| x.dims.len() == 1;
    let shape = match () {
        _ if a.shape == b.shape => a.shape.clone(),
        _ if single(a) && a.shape.len() <= b.shape.len() => b.shape.clone(),
        _ if single(b) && b.shape.len() <= a.shape.len() => a.shape.clone(),
        _ => return None,
    };
    let n = shape.iter().product();
    fitting(dtype, shape, (0..n).map(|i| f(&at(a, i), &at(b, i))).collect())
}

fn binary_ints(v: &[Option<Ints>], f: impl Fn(&Dim, &Dim) -> Option<Dim>) -> Option<Ints> {
    let [Some(a), Some(b)] = v else { return None };
    (a.dtype == b.dtype && a.dtype != DType::Bool).then(|| join(a, b, a.dtype, f))?
}

fn compare_ints(v: &[Option<Ints>], f: impl Fn(i64) -> bool) -> Option<Ints> {
    let [Some(a), Some(b)] = v else { return None };
    let difference = |a: &Dim, b: &Dim| (a - b).known().map(|n| Dim::from(f(n) as i64));
    join(a, b, DType::Bool, difference)
}

fn fold_ints(v: &[Option<Ints>], f: impl Fn(&Dim, &Dim) -> Option<Dim>) -> Option<Ints> {
    let all: Option<Vec<&Ints>> = v.iter().map(Option::as_ref).collect();
    let mut all = all?.into_iter();
    let first = all.next()?.clone();
    all.try_fold(first, |a, b| (a.dtype == b.dtype).then(|| join(&a, b, a.dtype, &f))?)
}

fn product(a: &Dim, b: &Dim) -> Option<Dim> {
    match (a.known(), b.known()) {
        (Some(a), Some(b)) => a.checked_mul(b).map(Dim::from),
        _ => Some(a * b),
    }
}

fn quotient(a: &Dim, b: &Dim) -> Option<Dim> {
    match (a.known(), b.known()) {
        (Some(a), Some(b)) => a.checked_div(b).map(Dim::from),
        // Of what is not negative, the quotient is rounded down; and one without a rest is not rounded.
        (None, Some(b)) if b > 0 && not_negative(a) => Some(a.floor_div(&Dim::from(b))),
        (None, _) => a.exact_div(b),
        _ => None,
    }
}

/// True for sums and products of extents and of numbers that are not negative.
fn not_negative(a: &Dim) -> bool {
    let mut ranges = ir::Ranges::new();
    a.symbols().into_iter().for_each(|s| ranges.declare_minimum(s, 0));
    ranges.is_non_negative(a)
}
