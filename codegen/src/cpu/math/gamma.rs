//! lgamma and digamma, in f64 to some 2^-45: near their zeros the terms they are made of cancel.
//!
//! Both have a polynomial from 1 to 2, with the zeros there as factors. From 2 on it is Stirling's series (Abramowitz and
//! Stegun 6.1.40 and 6.3.18) at `x + 6`, less what the recurrence adds on the way; below 1 the recurrence, and for negative
//! numbers the reflection (6.1.17, 6.3.7).

use super::lanes::Lanes;
use super::wide::{self, in_f64};
use cranelift_codegen::ir::Value;
use cranelift_codegen::ir::condcodes::FloatCC;
use std::f64::consts::PI;

/// `lgamma(x) = (x - 1) (x - 2) p(x - 3/2)` from 1 to 2, relative error 2^-49.
const LGAMMA_P: [f64; 18] = [
    -4.355599544199409e-05,
    6.687614629802089e-05,
    -5.686590033046525e-05,
    9.2766179865036e-05,
    -0.00017161064405905556,
    0.00027467449659707415,
    -0.0004375392219182243,
    0.0007110081227943593,
    -0.0011644603251615368,
    0.0019229614471401927,
    -0.003212071380666929,
    0.005446455612980095,
    -0.00942562253416483,
    0.01679709868607545,
    -0.03130848749977439,
    0.06291140107404623,
    -0.14595989591431133,
    0.4831289505409817,
];
/// `digamma(x) = (x - root) q(x - 3/2)` from 1 to 2, relative error 2^-45.8.
const DIGAMMA_Q: [f64; 18] = [
    -0.0007959435329742457,
    0.001171435147407604,
    -0.0008616752698351792,
    0.0013166056537721549,
    -0.002395202949265645,
    0.0035834456651639905,
    -0.005271796924624356,
    0.007917121723300292,
    -0.011909011277729356,
    0.017908121226991137,
    -0.026975752122271265,
    0.04076079094473045,
    -0.06192213461494685,
    0.0949887255099757,
    -0.14840492303586214,
    0.24054248423080632,
    -0.4236274212815302,
    0.9510558760318484,
];
/// The zero of digamma, in two parts.
const ROOT: [f64; 2] = [1.4616321455687284, -6.003661056977897e-10];
/// `sin(πr) = r p(r^2)` for `|r| <= 1/2`, relative error 2^-52.
const SIN_P: [f64; 8] = [
    -2.1122953039375366e-05,
    0.00046597761706232454,
    -0.007370361071691538,
    0.08214587825655277,
    -0.5992645287757096,
    2.550164039859776,
    -5.167712780049753,
    3.1415926535897927,
];
/// `cos(πr) = q(r^2)` for `|r| <= 1/2`, error 2^-52.9.
const COS_Q: [f64; 9] = [
    4.149591700118096e-06,
    -0.0001045665807328507,
    0.0019295562835903862,
    -0.02580688873935201,
    0.2353306301298082,
    -1.3352627688434646,
    4.058712126416498,
    -4.934802200544676,
    1.0,
];
/// Terms of Stirling's series at 8 and above: `B(2n) / (2n (2n - 1))`.
const STIRLING: [f64; 7] =
    [1.0 / 156.0, -691.0 / 360360.0, 1.0 / 1188.0, -1.0 / 1680.0, 1.0 / 1260.0, -1.0 / 360.0, 1.0 / 12.0];
/// Of its derivative: `B(2n) / 2n`.
const DERIVED: [f64; 7] =
    [1.0 / 12.0, -691.0 / 32760.0, 1.0 / 132.0, -1.0 / 240.0, 1.0 / 252.0, -1.0 / 120.0, 1.0 / 12.0];
/// `log(2π) / 2`
const HALF_LOG_TAU: f64 = 0.918_938_533_204_672_8;
/// Steps to where the series are good.
const STEPS: usize = 6;
/// Adding it rounds a small f64 to an integer.
const ROUND: f64 = 6_755_399_441_055_744.0;
/// Each f32 from here on is an integer.
const INTEGERS: f64 = 8_388_608.0;

/// `x` less the nearest integer; 0 for large numbers.
fn from_integer(l: &mut Lanes, x: Value) -> Value {
    let limit = l.f64(INTEGERS);
    let small = l.at_most(x, limit);
    let limit = l.f64(-INTEGERS);
    let small = l.at_least(small, limit);
    let round = l.f64(ROUND);
    let n = l.add(small, round);
    let n = l.sub(n, round);
    l.sub(small, n)
}

fn log(l: &mut Lanes, x: Value) -> Value {
    let one = l.f64(1.0);
    let f = l.sub(x, one);
    wide::log(l, x, f)
}

/// `lgamma(y)` for positive `y`.
fn lgamma_of_positive(l: &mut Lanes, y: Value) -> Value {
    let (one, two) = (l.f64(1.0), l.f64(2.0));
    let small = l.compare(FloatCC::LessThan, y, one);
    let next = l.add(y, one);
    let w = l.pick(small, next, y);
    // From 1 to 2.
    let middle = l.f64(1.5);
    let v = l.sub(w, middle);
    let p = l.poly_f64(v, &LGAMMA_P);
    let (from_one, to_two) = (l.sub(w, one), l.sub(two, w));
    let zeros = l.mul(from_one, to_two);
    // Zeros come out positive.
    let zero = l.f64(0.0);
    let near = l.sub_mul(zero, zeros, p);
    // Above: the product is finite as far as its logarithm counts.
    let far_off = l.f64(1e20);
    let huge = l.compare(FloatCC::GreaterThan, w, far_off);
    let mut at = l.pick(huge, one, w);
    let mut product = at;
    for _ in 1..STEPS {
        at = l.add(at, one);
        product = l.mul(product, at);
    }
    at = l.add(at, one);
    let product = l.pick(huge, one, product);
    let t = l.pick(huge, w, at);
    let log_t = log(l, t);
    let half = l.f64(0.5);
    let less = l.sub(t, half);
    let main = l.mul(less, log_t);
    let main = l.sub(main, t);
    let inverse = l.div(one, t);
    let square = l.mul(inverse, inverse);
    let series = l.poly_f64(square, &STIRLING);
    let constant = l.f64(HALF_LOG_TAU);
    let rest = l.mul_add(series, inverse, constant);
    let main = l.add(main, rest);
    let steps = log(l, product);
    let far = l.sub(main, steps);
    let is_near = l.compare(FloatCC::LessThanOrEqual, w, two);
    let value = l.pick(is_near, near, far);
    // lgamma(y) = lgamma(y + 1) - log(y)
    let guarded = l.pick(small, y, one);
    let step = log(l, guarded);
    l.sub(value, step)
}

pub(super) fn lgamma(l: &mut Lanes, x: Value) -> Value {
    in_f64(l, x, |l, x| {
        let (zero, one) = (l.f64(0.0), l.f64(1.0));
        let a = l.abs(x);
        let value = lgamma_of_positive(l, a);
        // log(π / (|sin πx| |x|)) - lgamma(-x)
        let r = from_integer(l, x);
        let square = l.mul(r, r);
        let p = l.poly_f64(square, &SIN_P);
        let sine = l.mul(p, r);
        let sine = l.abs(sine);
        let below = l.compare(FloatCC::LessThan, x, zero);
        let by = l.mul(sine, a);
        let by = l.pick(below, by, one);
        let pi = l.f64(PI);
        let ratio = l.div(pi, by);
        let reflected = log(l, ratio);
        let reflected = l.sub(reflected, value);
        let value = l.pick(below, reflected, value);
        // Infinite at the integers from 0 down and at both ends.
        let infinity = l.f64(f64::INFINITY);
        let at_pole = l.compare(FloatCC::Equal, by, zero);
        let value = l.pick(at_pole, infinity, value);
        let endless = l.compare(FloatCC::Equal, a, infinity);
        let value = l.pick(endless, infinity, value);
        let at_zero = l.compare(FloatCC::Equal, x, zero);
        l.pick(at_zero, infinity, value)
    })
}

/// `digamma(y)` for `y` of at least 1.
fn digamma_from_one(l: &mut Lanes, w: Value) -> Value {
    let (one, two) = (l.f64(1.0), l.f64(2.0));
    let middle = l.f64(1.5);
    let v = l.sub(w, middle);
    let q = l.poly_f64(v, &DIGAMMA_Q);
    let (high, low) = (l.f64(ROOT[0]), l.f64(ROOT[1]));
    let d = l.sub(w, high);
    let d = l.sub(d, low);
    let near = l.mul(d, q);

    // The sum of the reciprocals as one quotient, of numbers that stay finite.
    let far_off = l.f64(1e20);
    let huge = l.compare(FloatCC::GreaterThan, w, far_off);
    let mut at = l.pick(huge, one, w);
    let (mut numerator, mut denominator) = (one, at);
    for _ in 1..STEPS {
        at = l.add(at, one);
        numerator = l.mul_add(numerator, at, denominator);
        denominator = l.mul(denominator, at);
    }
    at = l.add(at, one);
    let steps = l.div(numerator, denominator);
    let zero = l.f64(0.0);
    let steps = l.pick(huge, zero, steps);
    let t = l.pick(huge, w, at);
    let log_t = log(l, t);
    let inverse = l.div(one, t);
    let square = l.mul(inverse, inverse);
    let series = l.poly_f64(square, &DERIVED);
    let half = l.f64(0.5);
    let rest = l.mul(inverse, half);
    let rest = l.mul_add(series, square, rest);
    let far = l.sub(log_t, rest);
    let far = l.sub(far, steps);
    let is_near = l.compare(FloatCC::LessThanOrEqual, w, two);
    l.pick(is_near, near, far)
}

pub(super) fn digamma(l: &mut Lanes, x: Value) -> Value {
    in_f64(l, x, |l, x| {
        let (zero, one) = (l.f64(0.0), l.f64(1.0));
        let below = l.compare(FloatCC::LessThan, x, zero);
        let mirror = l.sub(one, x);
        let y = l.pick(below, mirror, x);
        let small = l.compare(FloatCC::LessThan, y, one);
        let next = l.add(y, one);
        let w = l.pick(small, next, y);
        let value = digamma_from_one(l, w);
        // Infinite at zeros, of the other sign.
        let step = l.div(one, y);
        let step = l.pick(small, step, zero);
        let value = l.sub(value, step);
        // Less π / tan(πx).
        let r = from_integer(l, x);
        let square = l.mul(r, r);
        let sine = l.poly_f64(square, &SIN_P);
        let sine = l.mul(sine, r);
        let cosine = l.poly_f64(square, &COS_Q);
        let pi = l.f64(PI);
        let ratio = l.div(cosine, sine);
        let reflected = l.sub_mul(value, ratio, pi);
        let nan = l.f64(f64::NAN);
        let at_pole = l.compare(FloatCC::Equal, r, zero);
        let reflected = l.pick(at_pole, nan, reflected);
        l.pick(below, reflected, value)
    })
}
