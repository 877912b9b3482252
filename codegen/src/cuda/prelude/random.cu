// Random numbers: each is a function of a key and of its place in the stream. Philox4x32-10 (Salmon, Moraes, Dror and
// Shaw, Parallel Random Numbers: As Easy as 1, 2, 3, 2011).

struct tw_block { u32 at[4]; };
TW_DEVICE tw_block tw_philox(u32 c0, u32 c1, u32 c2, u32 c3, u32 k0, u32 k1) {
    for (int round = 0; round < 10; round++) {
        u64 low = (u64)c0 * 0xD2511F53u, high = (u64)c2 * 0xCD9E8D57u;
        c0 = (u32)(high >> 32) ^ c1 ^ k0;
        c1 = (u32)high;
        c2 = (u32)(low >> 32) ^ c3 ^ k1;
        c3 = (u32)low;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return tw_block{{c0, c1, c2, c3}};
}
TW_DEVICE u32 tw_random_bits(u32 k0, u32 k1, u64 index, u32 stream) {
    u64 block = index / 4;
    tw_block words = tw_philox((u32)block, (u32)(block >> 32), 0, stream, k0, k1);
    u32 at = (u32)index % 4;
    return at == 0 ? words.at[0] : at == 1 ? words.at[1] : at == 2 ? words.at[2] : words.at[3];
}

// Two numbers in [0, 1) of 53 bits each.
struct tw_units { f64 first, second; };
TW_DEVICE tw_units tw_two_units(u32 k0, u32 k1, u64 index, u32 attempt, u32 stream) {
    tw_block w = tw_philox((u32)index, (u32)(index >> 32), attempt, stream, k0, k1);
    const f64 unit = 1.1102230246251565e-16;
    return tw_units{(f64)(((u64)w.at[0] << 32 | w.at[1]) >> 11) * unit, (f64)(((u64)w.at[2] << 32 | w.at[3]) >> 11) * unit};
}
#define TW_NAN tw_f64(0x7ff8000000000000ull)
#define TW_INFINITY tw_f64(0x7ff0000000000000ull)
#define TW_GAMMA_STREAM 0x47414D4Du
#define TW_POISSON_STREAM 0x504F4953u

// The logarithm of a gamma variate (Marsaglia and Tsang, A Simple Method for Generating Gamma Variables, 2000).
TW_DEVICE f64 tw_random_log_gamma(u32 k0, u32 k1, u64 index, f64 shape) {
    if (!(shape >= 0)) return TW_NAN;
    if (shape == 0) return -TW_INFINITY;
    if (shape == TW_INFINITY) return shape;
    f64 d = (shape < 1 ? shape + 1 : shape) - 1.0 / 3.0, c = 1.0 / sqrt(9.0 * d), result = TW_NAN;
    for (u32 attempt = 0; attempt < 1u << 20; attempt++) {
        tw_units pair = tw_two_units(k0, k1, index, 2 * attempt, TW_GAMMA_STREAM);
        f64 x = sqrt(-2.0 * log(1.0 - pair.first)) * cos(6.283185307179586 * pair.second);
        f64 v = 1.0 + c * x;
        if (v <= 0) continue;
        v = v * v * v;
        f64 u = 1.0 - tw_two_units(k0, k1, index, 2 * attempt + 1, TW_GAMMA_STREAM).first;
        if (u < 1.0 - 0.0331 * (x * x) * (x * x) || log(u) < 0.5 * x * x + d * (1.0 - v + log(v))) {
            result = log(d) + log(v);
            break;
        }
    }
    if (shape < 1) result += log(1.0 - tw_two_units(k0, k1, index, 0xffffffffu, TW_GAMMA_STREAM).first) / shape;
    return result;
}

// A Poisson variate: products of uniform numbers (Knuth) below 10, transformed rejection from there on (Hörmann, The
// Transformed Rejection Method for Generating Poisson Random Variables, 1993).
TW_DEVICE f64 tw_random_poisson(u32 k0, u32 k1, u64 index, f64 rate) {
    if (!(rate >= 0)) return TW_NAN;
    if (rate == TW_INFINITY) return rate;
    if (rate < 10) {
        f64 least = exp(-rate), product = 1;
        for (u32 count = 0;; count++) {
            tw_units pair = tw_two_units(k0, k1, index, count / 2, TW_POISSON_STREAM);
            product *= count % 2 == 0 ? pair.first : pair.second;
            if (product <= least) return (f64)count;
        }
    }
    f64 b = 0.931 + 2.53 * sqrt(rate), a = -0.059 + 0.02483 * b;
    f64 inverse = 1.1239 + 1.1328 / (b - 3.4), accept = 0.9277 - 3.6224 / (b - 2.0);
    for (u32 attempt = 0; attempt < 1u << 20; attempt++) {
        tw_units pair = tw_two_units(k0, k1, index, attempt, TW_POISSON_STREAM);
        f64 u = pair.first - 0.5, v = pair.second, rest = 0.5 - fabs(u);
        f64 k = floor((2.0 * a / rest + b) * u + rate + 0.43);
        if (rest >= 0.07 && v <= accept) return k;
        if (k < 0 || (rest < 0.013 && v > rest)) continue;
        f64 bound = -rate + k * log(rate) - tw_lgamma(k + 1.0);
        if (log(v) + log(inverse) - log(a / (rest * rest) + b) <= bound) return k;
    }
    return TW_NAN;
}

// The derivative of the logarithm of a gamma variate by its shape (Figurnov, Mohamed and Mnih, Implicit
// Reparameterization Gradients, 2018), by the series and the continued fraction of Algorithm AS 187 (Moore, 1982), and for
// large shapes by the approximation of Wilson and Hilferty.
TW_DEVICE f64 tw_log_gamma_slope(f64 a, f64 log_x) {
    if (!(a > 0) || log_x != log_x || log_x == TW_INFINITY || a == TW_INFINITY) return TW_NAN;
    if (log_x == -TW_INFINITY) return TW_INFINITY;
    f64 x = exp(log_x);
    if (x == TW_INFINITY) return 0;
    if (a >= 1e5) {
        f64 y = exp((log_x - log(a)) / 3.0), z = 3.0 * sqrt(a) * (y - 1.0 + 1.0 / (9.0 * a));
        return 1.0 / a + 3.0 / y * (1.0 / (9.0 * a * a) - z / (6.0 * a * sqrt(a)));
    }
    if (x <= a + 1) {
        f64 term = 1, slope = 0, sum = 1, slopes = 0;
        for (f64 n = 1; term > sum * 1e-17; n += 1) {
            term *= x / (a + n);
            slope -= 1 / (a + n);
            sum += term;
            slopes += term * slope;
        }
        return -(sum * (log_x - tw_digamma(a + 1)) + slopes) / a;
    }
    f64 p0 = 0, p1 = 1 / x, q0 = 1 / x, q1 = (x + 1 - a) / x, dp0 = 0, dp1 = 0, dq0 = 0, dq1 = -1 / x;
    f64 value = p1 / q1, slope = 0;
    for (int n = 1; n < 1000000; n++) {
        f64 j = n, over = j * (a - j), by = x + 2 * j + 1 - a;
        f64 p2 = by * p1 + over * p0, q2 = by * q1 + over * q0;
        f64 dp2 = by * dp1 + over * dp0 - p1 + j * p0, dq2 = by * dq1 + over * dq0 - q1 + j * q0;
        f64 scale = 1 / q2;
        p0 = p1 * scale; p1 = p2 * scale;
        q0 = q1 * scale; q1 = 1;
        dp0 = dp1 * scale; dp1 = dp2 * scale;
        dq0 = dq1 * scale; dq1 = dq2 * scale;
        f64 value2 = p1, slope2 = dp1 - p1 * dq1;
        bool settled = fabs(value2 - value) <= fabs(value2) * 1e-16 && fabs(slope2 - slope) <= fabs(slope2) * 1e-15;
        value = value2; slope = slope2;
        if (settled && n > 2) break;
    }
    return value * (log_x - tw_digamma(a)) + slope;
}
