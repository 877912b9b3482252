//! sinh, cosh and the inverse hyperbolic functions, in f64.

use super::lanes::Lanes;
use super::wide::{self, in_f64};
use cranelift_codegen::ir::Value;
use cranelift_codegen::ir::condcodes::FloatCC;

/// `(e + e / (e + 1)) / 2` with `e = exp(|x|) - 1`, and the sign of `x`.
pub(super) fn sinh(l: &mut Lanes, x: Value) -> Value {
    let a = l.abs(x);
    let y = in_f64(l, a, |l, a| {
        let e = wide::expm1(l, a);
        let (one, half) = (l.f64(1.0), l.f64(0.5));
        let sum = l.add(e, one);
        let quotient = l.div(e, sum);
        let sum = l.add(e, quotient);
        l.mul(sum, half)
    });
    let sign = l.sign(x);
    l.or(y, sign)
}

pub(super) fn cosh(l: &mut Lanes, x: Value) -> Value {
    in_f64(l, x, |l, x| {
        let e = wide::exp(l, x);
        let (one, half) = (l.f64(1.0), l.f64(0.5));
        let inverse = l.div(one, e);
        let sum = l.add(e, inverse);
        l.mul(sum, half)
    })
}

/// `log(1 + a + a^2 / (1 + sqrt(1 + a^2)))` with `a = |x|`, and the sign of `x`.
pub(super) fn asinh(l: &mut Lanes, x: Value) -> Value {
    let a = l.abs(x);
    let y = in_f64(l, a, |l, a| {
        let one = l.f64(1.0);
        let square = l.mul(a, a);
        let root = l.add(square, one);
        let root = l.sqrt(root);
        let root = l.add(root, one);
        let quotient = l.div(square, root);
        let f = l.add(a, quotient);
        wide::log1p(l, f)
    });
    let infinity = l.f32(f32::INFINITY);
    let endless = l.compare(FloatCC::Equal, a, infinity);
    let y = l.pick(endless, a, y);
    let sign = l.sign(x);
    l.or(y, sign)
}

/// `log(1 + t + sqrt(t (t + 2)))` with `t = x - 1`.
pub(super) fn acosh(l: &mut Lanes, x: Value) -> Value {
    in_f64(l, x, |l, x| {
        let (one, two, nan) = (l.f64(1.0), l.f64(2.0), l.f64(f64::NAN));
        let t = l.sub(x, one);
        let sum = l.add(t, two);
        let product = l.mul(t, sum);
        let root = l.sqrt(product);
        let f = l.add(t, root);
        let y = wide::log1p(l, f);
        let below = l.compare(FloatCC::LessThan, x, one);
        l.pick(below, nan, y)
    })
}

/// `log(1 + 2 a / (1 - a)) / 2` with `a = |x|`, and the sign of `x`.
pub(super) fn atanh(l: &mut Lanes, x: Value) -> Value {
    let a = l.abs(x);
    let y = in_f64(l, a, |l, a| {
        let (one, half) = (l.f64(1.0), l.f64(0.5));
        let (rest, twice) = (l.sub(one, a), l.add(a, a));
        let f = l.div(twice, rest);
        let log = wide::log1p(l, f);
        l.mul(log, half)
    });
    let sign = l.sign(x);
    l.or(y, sign)
}
