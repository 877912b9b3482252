//! tan and the inverse trigonometric functions, in f64.

use super::lanes::Lanes;
use super::trig;
use super::wide::{self, in_f64};
use cranelift_codegen::ir::Value;

/// `sin(r) = r p(r^2)` for `|r| <= π/2`, relative error 2^-35.5.
const SIN_P: [f64; 6] = [
    -2.3868228566023198e-08,
    2.752396436166974e-06,
    -0.00019840832690397073,
    0.008333330719492063,
    -0.1666666660879638,
    0.9999999999788357,
];

/// The sine over the cosine. Each reduction is relative to a zero of its own, so that no digits are lost near the zeros
/// and the poles.
pub(super) fn tan(l: &mut Lanes, x: Value) -> Value {
    let angles = [trig::reduce(l, x, false), trig::reduce(l, x, true)];
    let [sines, cosines] = angles.map(|r| {
        l.widen(r).map(|r| {
            let square = l.mul(r, r);
            let p = l.poly_f64(square, &SIN_P);
            l.mul(r, p)
        })
    });
    let quotients = [0, 1].map(|i| l.div(sines[i], cosines[i]));
    l.narrow(quotients)
}

pub(super) fn asin(l: &mut Lanes, x: Value) -> Value {
    in_f64(l, x, |l, x| {
        let root = other_side(l, x);
        wide::atan2(l, x, root)
    })
}

pub(super) fn acos(l: &mut Lanes, x: Value) -> Value {
    in_f64(l, x, |l, x| {
        let root = other_side(l, x);
        wide::atan2(l, root, x)
    })
}

pub(super) fn atan(l: &mut Lanes, x: Value) -> Value {
    in_f64(l, x, |l, x| {
        let one = l.f64(1.0);
        wide::atan2(l, x, one)
    })
}

pub(super) fn atan2(l: &mut Lanes, y: Value, x: Value) -> Value {
    let (y, x) = (l.widen(y), l.widen(x));
    let angles = [0, 1].map(|i| wide::atan2(l, y[i], x[i]));
    l.narrow(angles)
}

/// `sqrt((1 - x) (1 + x))`.
fn other_side(l: &mut Lanes, x: Value) -> Value {
    let one = l.f64(1.0);
    let (below, above) = (l.sub(one, x), l.add(one, x));
    let product = l.mul(below, above);
    l.sqrt(product)
}
