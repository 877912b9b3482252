//! Bounds of reductions.

use super::{Bounded, UNKNOWN, epsilon, largest, rounded, ulp};
use ir::kernel::Combine;
use ir::literal::strides_of;
use ir::{DType, Literal, Scalar};

/// Positions in the operand that each result element is made of.
fn groups(dims: &[usize], axes: &[usize]) -> Vec<Vec<usize>> {
    let kept: Vec<usize> = (0..dims.len()).filter(|a| !axes.contains(a)).collect();
    let results: Vec<usize> = kept.iter().map(|&a| dims[a]).collect();
    let (strides, result_strides) = (strides_of(dims), strides_of(&results));
    let mut groups = vec![Vec::new(); results.iter().product()];
    for i in 0..dims.iter().product() {
        let at: usize = kept.iter().zip(&result_strides).map(|(&a, s)| i / strides[a] % dims[a] * s).sum();
        groups[at].push(i);
    }
    groups
}

pub(super) fn bounds(how: Combine, axes: &[usize], x: &Bounded, result: &Literal, strict16: bool) -> Vec<f64> {
    let dtype = x.dtype();
    if axes.is_empty() {
        return x.bounds.clone();
    }
    let exact = x.bounds.iter().all(|&e| e == 0.0);
    if exact && (!dtype.is_float() || !matches!(how, Combine::Sum | Combine::Product)) {
        return vec![0.0; result.numel()];
    }
    let groups = groups(x.value.dims(), axes);
    let bound = |(i, group): (usize, &Vec<usize>)| {
        let z = result.get(i);
        let items: Vec<(f64, f64)> = group.iter().map(|&k| x.at(k)).collect();
        match how {
            Combine::Any | Combine::All => {
                let decides = Scalar::Bool(how == Combine::Any).as_f64();
                let sure = items.iter().any(|&(v, e)| v == decides && e == 0.0);
                if sure || items.iter().all(|i| i.1 == 0.0) { 0.0 } else { UNKNOWN }
            }
            Combine::ArgMax | Combine::ArgMin => position(&items, z.as_i64(), how == Combine::ArgMax),
            _ if items.iter().any(|i| i.1 == UNKNOWN) => UNKNOWN,
            _ if !dtype.is_float() => 0.0,
            Combine::Max | Combine::Min => extremum(&items, z.as_f64(), how == Combine::Max),
            Combine::Sum => rounded(sum(&items, z.as_f64(), dtype), z.as_f64(), dtype, strict16),
            Combine::Product => rounded(product(&items, z.as_f64(), dtype), z.as_f64(), dtype, strict16),
        }
    };
    groups.iter().enumerate().map(bound).collect()
}

fn sum(items: &[(f64, f64)], z: f64, dtype: DType) -> f64 {
    let passed: f64 = items.iter().map(|i| i.1).sum();
    let size: f64 = items.iter().map(|i| i.0.abs()).filter(|a| a.is_finite()).sum();
    // Halves accumulate in f32; that they overflow when rounded, the bound says.
    let limit = if dtype.is_half() { largest(DType::F32) } else { largest(dtype) };
    if size + passed > limit / 2.0 {
        return UNKNOWN;
    }
    if !z.is_finite() {
        // Decided by elements that are not finite themselves, or by rounding to 16 bits.
        let decided = items.iter().any(|i| !i.0.is_finite() && i.1 == 0.0);
        return if decided || passed == 0.0 && size < largest(dtype) / 2.0 { 0.0 } else { UNKNOWN };
    }
    // Two numbers have one sum.
    let order = if items.len() > 2 { items.len() as f64 * epsilon(dtype) * (size + passed) } else { 0.0 };
    passed + if passed > 0.0 { order + epsilon(dtype) * (size + passed) } else { order }
}

fn product(items: &[(f64, f64)], z: f64, dtype: DType) -> f64 {
    if items.iter().any(|&(x, e)| x.is_nan() && e == 0.0) {
        return 0.0;
    }
    let passed = items.iter().any(|i| i.1 > 0.0);
    if items.len() <= 2 && !passed {
        return 0.0;
    }
    // Partial products of any order must neither overflow nor become subnormal for a bound to hold.
    let large: f64 = items.iter().map(|&(x, e)| (x.abs() + e).max(1.0)).product();
    let small: f64 = items.iter().map(|&(x, e)| (x.abs() - e).abs()).filter(|&a| a > 0.0).map(|a| a.min(1.0)).product();
    let computed = if dtype == DType::F64 { (1e300, 1e-290) } else { (1e37, 1e-30) };
    if !(large < computed.0 && small > computed.1 && z.is_finite()) {
        return UNKNOWN;
    }
    let upper: f64 = items.iter().map(|&(x, e)| x.abs() + e).product();
    let order = if items.len() > 2 { items.len() as f64 * epsilon(dtype) * upper } else { 0.0 };
    let exact: f64 = items.iter().map(|i| i.0.abs()).product();
    // Even a factor of 0 leaves the sign of the product open.
    if passed { (upper - exact + order + 4.0 * epsilon(dtype) * upper).max(ulp(0.0, dtype)) } else { order }
}

fn extremum(items: &[(f64, f64)], z: f64, larger: bool) -> f64 {
    if items.iter().any(|&(x, e)| x.is_nan() && e == 0.0) {
        return 0.0;
    }
    let reach = |&(x, e): &(f64, f64)| if larger { x + e >= z } else { x - e <= z };
    let near = items.iter().map(|&(x, e)| (x, e)).filter(|i| reach(i) || i.1 >= (i.0 - z).abs());
    near.map(|i| i.1).fold(0.0, f64::max)
}

fn position(items: &[(f64, f64)], at: i64, larger: bool) -> f64 {
    if items.iter().any(|i| i.1 == UNKNOWN) {
        return UNKNOWN;
    }
    let Some(&(best, e)) = usize::try_from(at).ok().and_then(|at| items.get(at)) else { return 0.0 };
    let loses = |&(x, ex): &(f64, f64)| {
        let (ahead, apart) = (if larger { best - x } else { x - best }, e + ex);
        // Of exact numbers the order is known, ties and NaN included.
        apart == 0.0 || ahead > apart
    };
    let sure = items.iter().enumerate().all(|(k, i)| k as i64 == at || loses(i));
    if sure { 0.0 } else { UNKNOWN }
}
