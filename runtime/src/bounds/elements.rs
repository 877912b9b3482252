//! Bounds of pointwise ops.

use super::{Bounded, UNKNOWN, rounded, ulp};
use ir::kernel::interp::special;
use ir::kernel::ulps;
use ir::{DType, Literal};

type Function = fn(f64) -> f64;

/// A function whose largest change over an interval is that at one of its ends.
fn function(name: &str) -> Option<Function> {
    use std::f64::consts::FRAC_2_SQRT_PI;
    Some(match name {
        "exp" => f64::exp,
        "log" => f64::ln,
        "tanh" => f64::tanh,
        "logistic" => |x| 1.0 / (1.0 + (-x).exp()),
        // Only the size of a change matters here, and that is at most the change of the angle.
        "sin" | "cos" => |x| x,
        "erf" | "erfc" => |x| FRAC_2_SQRT_PI * x,
        "sqrt" => f64::sqrt,
        "exp2" => f64::exp2,
        "expm1" => f64::exp_m1,
        "log1p" => f64::ln_1p,
        "log2" => f64::log2,
        "log10" => f64::log10,
        "cbrt" => f64::cbrt,
        "tan" => f64::tan,
        "asin" => f64::asin,
        "acos" => f64::acos,
        "atan" => f64::atan,
        "sinh" => f64::sinh,
        "cosh" => f64::cosh,
        "asinh" => special::asinh,
        "acosh" => special::acosh,
        "atanh" => f64::atanh,
        "erf_inv" => special::erf_inv,
        "lgamma" => special::lgamma,
        "digamma" => special::digamma,
        _ => return None,
    })
}

/// Whether the function is defined, and without a pole, from one number to another.
fn is_defined(name: &str, low: f64, high: f64) -> bool {
    match name {
        "log" | "sqrt" | "log2" | "log10" | "lgamma" | "digamma" => low > 0.0,
        "log1p" => low > -1.0,
        "acosh" => low >= 1.0,
        "asin" | "acos" => low >= -1.0 && high <= 1.0,
        "atanh" | "erf_inv" => low > -1.0 && high < 1.0,
        // Far out, what is a pole depends on the rounding of the quotient.
        "tan" => {
            let turns = |x: f64| (x / std::f64::consts::PI).round();
            turns(low) == turns(high) && turns(low).abs() < 1e12
        }
        _ => true,
    }
}

pub(super) fn bounds(name: &str, operands: &[&Bounded], result: &Literal, strict16: bool) -> Vec<f64> {
    let dtype = result.dtype();
    (0..result.numel())
        .map(|i| {
            let z = result.get(i).as_f64();
            let at = |k: usize| operands[k].at(i);
            if operands.iter().any(|o| o.bounds[i] == UNKNOWN) && name != "select" {
                return UNKNOWN;
            }
            if !operands.iter().any(|o| o.dtype().is_float()) {
                // Nothing between known and unknown for integers.
                return if name == "select" {
                    select(operands, i)
                } else if name == "convert" {
                    rounded(0.0, z, dtype, strict16)
                } else {
                    0.0
                };
            }
            let (x, ex) = at(0);
            if let Some(f) = function(name) {
                return unary(name, (x, ex), z, dtype, f, strict16);
            }
            let arithmetic = |bound: f64| rounded(bound, z, dtype, strict16);
            let exact_nan = operands.iter().enumerate().any(|(k, o)| o.dtype().is_float() && is_nan_exactly(at(k)));
            match name {
                "neg" | "abs" | "stop_gradient" | "captured" | "named" => ex,
                "sign" => jump(ex > 0.0 && x.abs() <= ex),
                "floor" => jump(step(f64::floor, x, ex)),
                "ceil" => jump(step(f64::ceil, x, ex)),
                "round" => jump(step(f64::round_ties_even, x, ex)),
                "select" => select(operands, i),
                "compare" => {
                    let (y, ey) = at(1);
                    // Equal infinities have no difference, and no bounds either.
                    let close = (x - y).abs() <= ex + ey || (x - y).is_nan();
                    jump(!exact_nan && ex + ey > 0.0 && close)
                }
                "convert" => convert(operands[0].dtype(), dtype, (x, ex), z, strict16),
                // Which bits a NaN has is open.
                "bitcast_convert" => jump(ex > 0.0 || x.is_nan()),
                // NaN stays NaN whatever the other side is.
                _ if exact_nan => 0.0,
                "max" | "min" => {
                    let (y, ey) = at(1);
                    let winner = if (x > y) == (name == "max") { ex } else { ey };
                    if (x - y).abs() > ex + ey { winner } else { ex.max(ey) }
                }
                "add" | "sub" => arithmetic(ex + at(1).1),
                "mul" => {
                    let (y, ey) = at(1);
                    // Even a factor of 0 leaves the sign of the product open.
                    let passed = (x.abs() * ey + y.abs() * ex + ex * ey).max(ulp(0.0, dtype));
                    arithmetic(if ex + ey > 0.0 { passed } else { 0.0 })
                }
                "div" => {
                    let (y, ey) = at(1);
                    if ex + ey == 0.0 {
                        arithmetic(0.0)
                    } else if y.abs() <= ey || !z.is_finite() {
                        UNKNOWN
                    } else {
                        arithmetic((ex + z.abs() * ey) / (y.abs() - ey))
                    }
                }
                "rem" => arithmetic(remainder((x, ex), at(1))),
                "pow" => power((x, ex), at(1), z, dtype, strict16),
                // Whether an attempt is rejected may hang on the last bit of the parameter.
                "random_log_gamma" | "random_poisson" if at(3).1 > 0.0 => UNKNOWN,
                // GPUs have functions of their own: whether an attempt is rejected hangs on the rounding of large terms.
                "random_log_gamma" if z.is_finite() => 1e-13 * (1.0 + z.abs()),
                "random_poisson" if at(3).0 > 1e6 && z.is_finite() => UNKNOWN,
                "random_log_gamma" | "random_poisson" => 0.0,
                // Far out, and for extreme shapes, quadrature finds nothing.
                "log_gamma_slope" if ex + at(1).1 > 0.0 || !z.is_finite() => UNKNOWN,
                "log_gamma_slope" if !(1e-6..1e8).contains(&x) || at(1).0.exp() > x + 50.0 * (1.0 + x.sqrt()) => {
                    UNKNOWN
                }
                "log_gamma_slope" => z.abs() * if x < 1e5 { 1e-8 } else { 1e-5 },
                "atan2" => angle((x, ex), at(1), z, dtype, strict16),
                _ => UNKNOWN,
            }
        })
        .collect()
}

fn is_nan_exactly((x, e): (f64, f64)) -> bool {
    x.is_nan() && e == 0.0
}

/// Nothing is known of a result on the edge of a jump.
fn jump(near: bool) -> f64 {
    if near { UNKNOWN } else { 0.0 }
}

fn step(f: Function, x: f64, e: f64) -> bool {
    e > 0.0 && f(x - e).to_bits() != f(x + e).to_bits()
}

/// By how many ulps two executions of a function may differ: what one may be off, the oracle being within one.
fn differ(name: &str, computed: DType) -> f64 {
    match (ulps(name), computed) {
        (0, _) => 0.0,
        // The interpreter of kernels has plain algorithms for these.
        (_, DType::F64) if matches!(name, "erf" | "erf_inv" | "digamma" | "lgamma") => 12.0,
        // Below 1 it is 1 - erf there, which is up to six times smaller than erf.
        (_, DType::F64) if name == "erfc" => 64.0,
        (_, DType::F64) => 5.0,
        (n, _) => n as f64 + 1.0,
    }
}

fn unary(name: &str, (x, e): (f64, f64), z: f64, dtype: DType, f: Function, strict16: bool) -> f64 {
    let passed = if e == 0.0 {
        0.0
    } else if !z.is_finite() || !is_defined(name, x - e, x + e) {
        return UNKNOWN;
    } else {
        // The function at the ends is itself rounded.
        (f(x + e) - f(x)).abs().max((f(x) - f(x - e)).abs()) + 2.0 * ulp(f(x), DType::F64)
    };
    if !z.is_finite() {
        return rounded(0.0, z, dtype, strict16);
    }
    // 16-bit floats are computed in f32.
    let computed = if dtype.is_half() { DType::F32 } else { dtype };
    // Zeros keep their sign, and limits are what they are.
    let defined = (x == 0.0 && z == 0.0) || x.is_infinite();
    let own = if defined { 0.0 } else { differ(name, computed) * ulp(z, computed) };
    // Sums of larger terms, in f64.
    let own = match name {
        "lgamma" | "digamma" if !defined => own + 8.0 * ulp(8.0 + (x * x.abs().ln()).abs(), DType::F64),
        _ => own,
    };
    rounded(passed + own, z, dtype, strict16)
}

fn select(operands: &[&Bounded], i: usize) -> f64 {
    let (condition, unsure) = operands[0].at(i);
    let chosen = if condition != 0.0 { 1 } else { 2 };
    if unsure == 0.0 {
        return operands[chosen].bounds[i];
    }
    let same = operands[1].value.get(i) == operands[2].value.get(i);
    if same { operands[1].bounds[i].max(operands[2].bounds[i]) } else { UNKNOWN }
}

fn convert(from: DType, to: DType, (x, e): (f64, f64), z: f64, strict16: bool) -> f64 {
    match (from.is_float(), to) {
        (true, DType::Bool) => jump(e > 0.0 && x.abs() <= e),
        (true, to) if to.is_int() => {
            let whole = |x: f64| ir::Scalar::F64(x).convert(to);
            jump(e > 0.0 && whole(x - e) != whole(x + e))
        }
        // An exact f32 is a number of every execution; where it becomes 16 bits, that may be left out.
        _ if e == 0.0 && from == to => 0.0,
        _ if from.is_half() && !to.is_half() => e,
        _ => rounded(e, z, to, strict16),
    }
}

fn remainder((x, ex): (f64, f64), (y, ey): (f64, f64)) -> f64 {
    if ex + ey == 0.0 {
        return 0.0;
    }
    if y.abs() <= ey || y.is_nan() {
        return UNKNOWN;
    }
    let corners =
        [(x - ex, y - ey), (x - ex, y + ey), (x + ex, y - ey), (x + ex, y + ey)].map(|(a, b)| (a / b).trunc());
    if corners.iter().any(|&q| q.to_bits() != corners[0].to_bits()) || !corners[0].is_finite() {
        return UNKNOWN;
    }
    ex + corners[0].abs() * ey
}

fn power((x, ex): (f64, f64), (y, ey): (f64, f64), z: f64, dtype: DType, strict16: bool) -> f64 {
    let computed = if dtype.is_half() { DType::F32 } else { dtype };
    let own =
        if z.is_finite() && x != 1.0 && y != 0.0 && x != 0.0 && x.is_finite() { 5.0 * ulp(z, computed) } else { 0.0 };
    if ex + ey == 0.0 {
        return rounded(own, z, dtype, strict16);
    }
    let whole = ey == 0.0 && y.fract() == 0.0;
    let bases = if x > ex {
        [x - ex, x + ex]
    } else if whole && x.abs() > ex {
        [x.abs() - ex, x.abs() + ex]
    } else {
        return UNKNOWN;
    };
    let corners = bases.map(|b| [b.powf(y - ey), b.powf(y + ey)]);
    let far = corners.iter().flatten().map(|c| (c - z.abs()).abs()).fold(4.0 * ulp(z, DType::F64), f64::max);
    rounded(far + own, z, dtype, strict16)
}

/// The angle changes by at most the distance moved over the distance from the origin, and jumps across the negative axis.
fn angle((y, ey): (f64, f64), (x, ex): (f64, f64), z: f64, dtype: DType, strict16: bool) -> f64 {
    let computed = if dtype.is_half() { DType::F32 } else { dtype };
    // Zeros are exact, and so is nothing else.
    let own = if z == 0.0 { 0.0 } else { differ("atan2", computed) * ulp(z, computed) };
    if ex + ey == 0.0 {
        return rounded(own, z, dtype, strict16);
    }
    let away = (x.abs() - ex).max(y.abs() - ey);
    let jumps = x - ex <= 0.0 && y.abs() <= ey;
    if !x.is_finite() || !y.is_finite() || away <= 0.0 || jumps {
        return UNKNOWN;
    }
    rounded(std::f64::consts::FRAC_PI_2 * (ex + ey) / away + own, z, dtype, strict16)
}
