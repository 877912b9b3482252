//! Bounds of scans.

use super::{Bounded, UNKNOWN, epsilon, evaluate, floats, rounded};
use ir::ops::cumulative::{CumMax, CumSum};
use ir::{Literal, Primitive};

pub(super) fn bounds(primitive: &Primitive, operands: &[&Bounded], result: &Literal, strict16: bool) -> Vec<f64> {
    let dtype = result.dtype();
    let scan = primitive.cumulative(dtype).expect("a scan");
    let (axis, reverse) = (scan.axis, scan.reverse);
    let sum = |x: &Literal| floats(&evaluate(&CumSum { axis, reverse }.into(), &[x], result));
    let largest = |x: &Literal| floats(&evaluate(&CumMax { axis, reverse }.into(), &[x], result));
    let round = |(i, e): (usize, f64)| rounded(e, result.get(i).as_f64(), dtype, strict16);
    // Elements come in order, so of the same numbers everything is the same.
    let passed: Vec<Vec<f64>> = operands.iter().map(|o| largest(&o.bounds_literal())).collect();
    let passed: Vec<f64> = (0..result.numel()).map(|i| passed.iter().map(|p| p[i]).fold(0.0, f64::max)).collect();
    match primitive {
        // One of the elements, as it came.
        Primitive::CumMax(_) | Primitive::CumMin(_) => passed,
        Primitive::CumSum(_) => {
            let x = operands[0];
            let of = |f: fn(f64) -> f64| {
                Literal::from_vec(x.value.dims(), x.value.iter().map(|s| f(s.as_f64())).collect::<Vec<f64>>())
            };
            let (all, sizes, counts) = (sum(&x.bounds_literal()), sum(&of(f64::abs)), sum(&of(|_| 1.0)));
            let order = |i: usize| counts[i] * epsilon(dtype) * (sizes[i] + all[i]);
            let bound = |(i, &e): (usize, &f64)| if e > 0.0 { all[i] + order(i) } else { 0.0 };
            passed.iter().enumerate().map(bound).enumerate().map(round).collect()
        }
        // What grows as fast as products is not followed.
        _ => passed.into_iter().map(|e| if e > 0.0 { UNKNOWN } else { 0.0 }).enumerate().map(round).collect(),
    }
}
