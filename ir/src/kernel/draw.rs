//! Random numbers of kernels, one at a time: what [`Draw`](super::Draw) means.
//!
//! Each number is a function of a key of two words and its place in the stream, so that no order, width or number of
//! threads matters. The bits are those of Philox4x32-10 (Salmon, Moraes, Dror and Shaw, *Parallel Random Numbers: As Easy
//! as 1, 2, 3*, 2011). Its counter has four words: two for the block, one for the attempts of methods that reject, and
//! one that tells kinds of numbers apart.
//!
//! All functions come from the `libm` crate, so that a number has the same bits everywhere.

use super::interp::special;

/// Streams of [`log_gamma`] and [`poisson`]; those of bits are the callers'.
const LOG_GAMMA: u32 = 0x4741_4D4D;
const POISSON: u32 = 0x504F_4953;
/// The attempt number of what is drawn apart from all attempts.
const APART: u32 = u32::MAX;
/// Far more than ever happen: one attempt of twenty fails.
const MOST_ATTEMPTS: u32 = 1 << 20;

/// One block of Philox4x32-10.
pub fn philox([mut c0, mut c1, mut c2, mut c3]: [u32; 4], [mut k0, mut k1]: [u32; 2]) -> [u32; 4] {
    for _ in 0..10 {
        let (low, high) = (c0 as u64 * 0xD251_1F53, c2 as u64 * 0xCD9E_8D57);
        (c0, c1, c2, c3) = ((high >> 32) as u32 ^ c1 ^ k0, high as u32, (low >> 32) as u32 ^ c3 ^ k1, low as u32);
        (k0, k1) = (k0.wrapping_add(0x9E37_79B9), k1.wrapping_add(0xBB67_AE85));
    }
    [c0, c1, c2, c3]
}

/// Word `index % 4` of block `index / 4` of a stream.
pub fn bits(key: [u32; 2], index: u64, stream: u32) -> u32 {
    let block = index / 4;
    philox([block as u32, (block >> 32) as u32, 0, stream], key)[index as usize % 4]
}

/// Two numbers in `[0, 1)` of 53 bits each.
fn units(key: [u32; 2], index: u64, attempt: u32, stream: u32) -> [f64; 2] {
    let w = philox([index as u32, (index >> 32) as u32, attempt, stream], key);
    let unit = |high: u32, low: u32| (((high as u64) << 32 | low as u64) >> 11) as f64 * (0.5f64).powi(53);
    [unit(w[0], w[1]), unit(w[2], w[3])]
}

/// The logarithm of a gamma variate of that shape and rate 1, by the method of Marsaglia and Tsang (*A Simple Method for
/// Generating Gamma Variables*, 2000); for shapes below 1 a variate of the next shape times a power of a uniform number.
/// NaN for a negative shape, minus infinity for 0.
pub fn log_gamma(key: [u32; 2], index: u64, shape: f64) -> f64 {
    if shape.is_nan() || shape < 0.0 {
        return f64::NAN;
    }
    if shape == 0.0 || shape == f64::INFINITY {
        return if shape == 0.0 { f64::NEG_INFINITY } else { shape };
    }
    let raised = if shape < 1.0 { shape + 1.0 } else { shape };
    let d = raised - 1.0 / 3.0;
    let c = 1.0 / (9.0 * d).sqrt();
    let mut log = f64::NAN;
    for attempt in 0..MOST_ATTEMPTS {
        // A normal number by the method of Box and Muller.
        let [radius, angle] = units(key, index, 2 * attempt, LOG_GAMMA);
        let x = (-2.0 * libm::log(1.0 - radius)).sqrt() * libm::cos(std::f64::consts::TAU * angle);
        let v = 1.0 + c * x;
        if v <= 0.0 {
            continue;
        }
        let v = v * v * v;
        let u = 1.0 - units(key, index, 2 * attempt + 1, LOG_GAMMA)[0];
        if u < 1.0 - 0.0331 * (x * x) * (x * x) || libm::log(u) < 0.5 * x * x + d * (1.0 - v + libm::log(v)) {
            log = libm::log(d) + libm::log(v);
            break;
        }
    }
    if shape < 1.0 {
        log += libm::log(1.0 - units(key, index, APART, LOG_GAMMA)[0]) / shape;
    }
    log
}

/// A Poisson variate of that rate: by multiplying uniform numbers (Knuth) below 10, by transformed rejection with squeeze
/// (Hörmann, *The Transformed Rejection Method for Generating Poisson Random Variables*, 1993) from there on. NaN for a
/// negative rate.
pub fn poisson(key: [u32; 2], index: u64, rate: f64) -> f64 {
    if rate.is_nan() || rate < 0.0 {
        return f64::NAN;
    }
    if rate == f64::INFINITY {
        return rate;
    }
    if rate < 10.0 {
        let least = libm::exp(-rate);
        let (mut product, mut count) = (1.0, 0u32);
        loop {
            product *= units(key, index, count / 2, POISSON)[count as usize % 2];
            if product <= least {
                return count as f64;
            }
            count += 1;
        }
    }
    let b = 0.931 + 2.53 * rate.sqrt();
    let a = -0.059 + 0.02483 * b;
    let inverse = 1.1239 + 1.1328 / (b - 3.4);
    let accept = 0.9277 - 3.6224 / (b - 2.0);
    for attempt in 0..MOST_ATTEMPTS {
        let [u, v] = units(key, index, attempt, POISSON);
        let u = u - 0.5;
        let rest = 0.5 - u.abs();
        let k = ((2.0 * a / rest + b) * u + rate + 0.43).floor();
        if rest >= 0.07 && v <= accept {
            return k;
        }
        if k < 0.0 || (rest < 0.013 && v > rest) {
            continue;
        }
        let bound = -rate + k * libm::log(rate) - libm::lgamma(k + 1.0);
        if libm::log(v) + libm::log(inverse) - libm::log(a / (rest * rest) + b) <= bound {
            return k;
        }
    }
    f64::NAN
}

/// From here on the quantile is known well enough in closed form.
const LARGE_SHAPE: f64 = 1e5;

/// The derivative of `log x` by the shape `a` where `x` is a gamma variate: that which keeps the distribution function
/// `P(a, x)` as it is (Figurnov, Mohamed and Mnih, *Implicit Reparameterization Gradients*, 2018). By the series of `P`
/// below its middle and by the continued fraction of `1 - P` above, differentiated term by term (Moore, *Algorithm AS 187*,
/// 1982); for large shapes by the approximation of Wilson and Hilferty, with a relative error of some 1e-7.
pub fn log_gamma_slope(a: f64, log_x: f64) -> f64 {
    if a.is_nan() || log_x.is_nan() || a <= 0.0 || log_x == f64::INFINITY || a == f64::INFINITY {
        return f64::NAN;
    }
    if log_x == f64::NEG_INFINITY {
        return f64::INFINITY;
    }
    let x = libm::exp(log_x);
    if x == f64::INFINITY {
        return 0.0;
    }
    if a >= LARGE_SHAPE {
        // x = a y³ with y = 1 - 1/(9a) + z/(3 √a)
        let y = libm::exp((log_x - libm::log(a)) / 3.0);
        let z = 3.0 * a.sqrt() * (y - 1.0 + 1.0 / (9.0 * a));
        return 1.0 / a + 3.0 / y * (1.0 / (9.0 * a * a) - z / (6.0 * a * a.sqrt()));
    }
    if x <= a + 1.0 {
        // P = x^a e^-x / Γ(a + 1) · Σ xⁿ / ((a + 1) … (a + n))
        let (mut term, mut slope, mut sum, mut slopes, mut n) = (1.0, 0.0, 1.0, 0.0, 1.0);
        while term > sum * 1e-17 {
            term *= x / (a + n);
            slope -= 1.0 / (a + n);
            sum += term;
            slopes += term * slope;
            n += 1.0;
        }
        return -(sum * (log_x - special::digamma(a + 1.0)) + slopes) / a;
    }
    // 1 - P = x^a e^-x / Γ(a) · 1 / (x + 1 - a + 1 (a - 1) / (x + 3 - a + 2 (a - 2) / …))
    let (mut p, mut q) = ([0.0, 1.0 / x], [1.0 / x, (x + 1.0 - a) / x]);
    let (mut dp, mut dq) = ([0.0, 0.0], [0.0, -1.0 / x]);
    let (mut value, mut slope) = (p[1] / q[1], 0.0);
    for j in 1..1_000_000 {
        let j = j as f64;
        let (over, by) = (j * (a - j), x + 2.0 * j + 1.0 - a);
        let next = |v: [f64; 2]| by * v[1] + over * v[0];
        let (p2, q2) = (next(p), next(q));
        let (dp2, dq2) = (next(dp) - p[1] + j * p[0], next(dq) - q[1] + j * q[0]);
        let scale = 1.0 / q2;
        p = [p[1] * scale, p2 * scale];
        q = [q[1] * scale, 1.0];
        dp = [dp[1] * scale, dp2 * scale];
        dq = [dq[1] * scale, dq2 * scale];
        let (value2, slope2) = (p[1], dp[1] - p[1] * dq[1]);
        let settled = (value2 - value).abs() <= value2.abs() * 1e-16 && (slope2 - slope).abs() <= slope2.abs() * 1e-15;
        (value, slope) = (value2, slope2);
        if settled && j > 2.0 {
            break;
        }
    }
    value * (log_x - special::digamma(a)) + slope
}
