//! exp2, expm1 and the logarithms beside [`super::log`], in f64.

use super::lanes::Lanes;
use super::wide::{self, in_f64};
use cranelift_codegen::ir::Value;
use std::f64::consts::{LN_2, LOG2_E, LOG10_2, LOG10_E};

pub(super) fn exp2(l: &mut Lanes, x: Value) -> Value {
    in_f64(l, x, |l, x| {
        let ln2 = l.f64(LN_2);
        let x = l.mul(x, ln2);
        wide::exp(l, x)
    })
}

pub(super) fn expm1(l: &mut Lanes, x: Value) -> Value {
    let y = in_f64(l, x, wide::expm1);
    // -0, whose sum with 0 is not.
    let sign = l.sign(x);
    l.or(y, sign)
}

pub(super) fn log1p(l: &mut Lanes, x: Value) -> Value {
    let y = in_f64(l, x, wide::log1p);
    let sign = l.sign(x);
    l.or(y, sign)
}

pub(super) fn log2(l: &mut Lanes, x: Value) -> Value {
    in_f64(l, x, |l, x| scaled(l, x, 1.0, LOG2_E))
}

pub(super) fn log10(l: &mut Lanes, x: Value) -> Value {
    in_f64(l, x, |l, x| scaled(l, x, LOG10_2, LOG10_E))
}

/// The logarithm to a base in which that of 2 is the first number and that of e the second.
fn scaled(l: &mut Lanes, x: Value, of_2: f64, of_e: f64) -> Value {
    let one = l.f64(1.0);
    let f = l.sub(x, one);
    let (e, log) = wide::log_parts(l, x, f);
    let (of_2, of_e) = (l.f64(of_2), l.f64(of_e));
    let log = l.mul(log, of_e);
    l.mul_add(e, of_2, log)
}
