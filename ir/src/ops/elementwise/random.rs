//! Random numbers of the reference evaluation.

use super::special::digamma;

/// Four words of Philox4x32-10 for a block of a stream.
fn block(key: (u32, u32), number: u64, attempt: u32, stream: u32) -> Vec<u32> {
    let mut words = vec![number as u32, (number >> 32) as u32, attempt, stream];
    for round in 0..10u32 {
        let first = words[0] as u64 * 0xD251_1F53;
        let second = words[2] as u64 * 0xCD9E_8D57;
        let key0 = key.0.wrapping_add(round.wrapping_mul(0x9E37_79B9));
        let key1 = key.1.wrapping_add(round.wrapping_mul(0xBB67_AE85));
        words = vec![
            (second >> 32) as u32 ^ words[1] ^ key0,
            second as u32,
            (first >> 32) as u32 ^ words[3] ^ key1,
            first as u32,
        ];
    }
    words
}

pub(in crate::ops) fn philox(key: (u32, u32), index: u64, stream: u32) -> u32 {
    block(key, index / 4, 0, stream)[(index % 4) as usize]
}

/// A number of 53 bits in `[0, 1)`.
fn unit(words: &[u32]) -> f64 {
    let bits = (words[0] as u64) << 32 | words[1] as u64;
    (bits >> 11) as f64 / 9_007_199_254_740_992.0
}

/// By the steps that the op documents: Marsaglia and Tsang (2000) with normal numbers by Box and Muller.
pub(in crate::ops) fn log_gamma(key: (u32, u32), index: u64, shape: f64) -> f64 {
    const STREAM: u32 = u32::from_be_bytes(*b"GAMM");
    match shape {
        s if s.is_nan() || s < 0.0 => return f64::NAN,
        0.0 => return f64::NEG_INFINITY,
        f64::INFINITY => return f64::INFINITY,
        _ => {}
    }
    if shape < 1.0 {
        let power = libm::log(1.0 - unit(&block(key, index, u32::MAX, STREAM))) / shape;
        return log_gamma_from_one(key, index, shape + 1.0, STREAM) + power;
    }
    log_gamma_from_one(key, index, shape, STREAM)
}

fn log_gamma_from_one(key: (u32, u32), index: u64, shape: f64, stream: u32) -> f64 {
    let d = shape - 1.0 / 3.0;
    let c = 1.0 / (9.0 * d).sqrt();
    let mut pairs = (0..1 << 20).map(|t: u32| (block(key, index, 2 * t, stream), block(key, index, 2 * t + 1, stream)));
    let accepted = pairs.find_map(|(normal, uniform)| {
        let radius = (-2.0 * libm::log(1.0 - unit(&normal))).sqrt();
        let x = radius * libm::cos(2.0 * std::f64::consts::PI * unit(&normal[2..]));
        let root = 1.0 + c * x;
        if root <= 0.0 {
            return None;
        }
        let v = root * root * root;
        let u = 1.0 - unit(&uniform);
        let inside = u < 1.0 - 0.0331 * (x * x) * (x * x);
        (inside || libm::log(u) < 0.5 * x * x + d * (1.0 - v + libm::log(v))).then_some(v)
    });
    accepted.map_or(f64::NAN, |v| libm::log(d) + libm::log(v))
}

/// By the steps that the op documents: Knuth's products, and Hörmann's method PTRS (1993).
pub(in crate::ops) fn poisson(key: (u32, u32), index: u64, rate: f64) -> f64 {
    const STREAM: u32 = u32::from_be_bytes(*b"POIS");
    if rate.is_nan() || rate < 0.0 {
        return f64::NAN;
    }
    if rate < 10.0 {
        let mut product = 1.0;
        for pair in 0.. {
            let words = block(key, index, pair, STREAM);
            for half in 0..2 {
                product *= unit(&words[2 * half..]);
                if product <= libm::exp(-rate) {
                    return (2 * pair + half as u32) as f64;
                }
            }
        }
    }
    if rate == f64::INFINITY {
        return rate;
    }
    let b = 0.931 + 2.53 * rate.sqrt();
    let a = -0.059 + 0.02483 * b;
    let (alpha, squeeze) = (1.1239 + 1.1328 / (b - 3.4), 0.9277 - 3.6224 / (b - 2.0));
    let mut drawn = (0..1 << 20).filter_map(|attempt| {
        let words = block(key, index, attempt, STREAM);
        let (u, v) = (unit(&words) - 0.5, unit(&words[2..]));
        let us = 0.5 - u.abs();
        let k = libm::floor((2.0 * a / us + b) * u + rate + 0.43);
        if us >= 0.07 && v <= squeeze {
            return Some(k);
        }
        let outside = k < 0.0 || (us < 0.013 && v > us);
        let left = || libm::log(v) + libm::log(alpha) - libm::log(a / (us * us) + b);
        let right = || -rate + k * libm::log(rate) - libm::lgamma(k + 1.0);
        (!outside && left() <= right()).then_some(k)
    });
    drawn.next().unwrap_or(f64::NAN)
}

/// By quadrature of the derivative of the incomplete gamma function over its density: for the part below `x` with `t = x
/// e^-w` under the integral, for the part above with `t = x + s`.
pub(in crate::ops) fn log_gamma_slope(a: f64, log_x: f64) -> f64 {
    if a.is_nan() || log_x.is_nan() || a <= 0.0 || a == f64::INFINITY || log_x == f64::INFINITY {
        return f64::NAN;
    }
    if log_x == f64::NEG_INFINITY {
        return f64::INFINITY;
    }
    let x = libm::exp(log_x);
    if x == f64::INFINITY {
        return 0.0;
    }
    if x <= a + 1.0 {
        let middle = digamma(a);
        let below = |w: f64| libm::exp(-a * w - x * libm::expm1(-w)) * (log_x - w - middle);
        return -half_line(below, 1.0 / (a + a.sqrt()));
    }
    let middle = digamma(a);
    let above = |s: f64| libm::exp((a - 1.0) * libm::log1p(s / x) - s) * (log_x + libm::log1p(s / x) - middle) / x;
    half_line(above, 1.0 + a.sqrt())
}

/// The integral from 0 to infinity by double exponential quadrature (Takahasi and Mori, 1974), for a function that falls
/// off beyond `scale`.
fn half_line(f: impl Fn(f64) -> f64, scale: f64) -> f64 {
    const STEP: f64 = 1.0 / 64.0;
    let terms = (-288..=288).map(|k| {
        let t = k as f64 * STEP;
        let at = scale * libm::exp(std::f64::consts::FRAC_PI_2 * libm::sinh(t));
        let y = f(at);
        // Far out the function is 0, or no number any more.
        if y == 0.0 || !y.is_finite() || !at.is_finite() {
            return 0.0;
        }
        y * at * std::f64::consts::FRAC_PI_2 * libm::cosh(t)
    });
    terms.sum::<f64>() * STEP
}
