// Gamma functions and the inverse of the error function, in f64.

// log |gamma(1 + z)| about 0 and 1 by the series, Abramowitz and Stegun 6.1.33; from 16 by Stirling's, 6.1.40; between
// them products; below 0 by reflection, 6.1.17.
TW_DEVICE f64 tw_lgamma_series(f64 z) {
    const f64 zeta[28] = {
        0.6449340668482264, 0.2020569031595943, 0.08232323371113819, 0.03692775514336993, 0.01734306198444914,
        0.008349277381922827, 0.00407735619794434, 0.0020083928260822143, 0.0009945751278180853, 0.0004941886041194645,
        0.0002460865533080483, 0.00012271334757848915, 6.124813505870483e-05, 3.058823630702049e-05,
        1.528225940865187e-05, 7.637197637899763e-06, 3.81729326499984e-06, 1.908212716553939e-06,
        9.539620338727962e-07, 4.769329867878064e-07, 2.38450502727733e-07, 1.1921992596531106e-07,
        5.960818905125948e-08, 2.980350351465228e-08, 1.4901554828365043e-08, 7.45071178983543e-09,
        3.725334024788457e-09, 1.862659723513049e-09};
    f64 sum = 0;
    for (int i = 27; i >= 0; i--) sum = sum * z + (i % 2 == 0 ? zeta[i] : -zeta[i]) / (i + 2);
    return z * sum * z + z * 0.42278433509846713;
}
TW_DEVICE f64 tw_lgamma_positive(f64 x) {
    if (x < 0.5) return tw_lgamma_series(x) - log1p(x) - log(x);
    if (x < 1.5) return tw_lgamma_series(x - 1) - log1p(x - 1);
    if (x < 16) {
        f64 y = x, product = 1;
        while (y > 2.5) { y -= 1; product *= y; }
        return tw_lgamma_series(y - 2) + log(product);
    }
    f64 z = 1 / (x * x);
    f64 rest = 1.0 / 156;
    rest = rest * z - 691.0 / 360360;
    rest = rest * z + 1.0 / 1188;
    rest = rest * z - 1.0 / 1680;
    rest = rest * z + 1.0 / 1260;
    rest = rest * z - 1.0 / 360;
    rest = rest * z + 1.0 / 12;
    return (x - 0.5) * log(x) - x + 0.9189385332046728 + rest / x;
}
TW_DEVICE f64 tw_lgamma(f64 x) {
    if (x != x) return x;
    if (fabs(x) > 1.7976931348623157e308 || (x <= 0 && x == floor(x))) return tw_f64(0x7ff0000000000000ull);
    if (fabs(x) < 1e-17) return -log(fabs(x));
    if (x > 0) return tw_lgamma_positive(x);
    f64 sine = fabs(sin(3.141592653589793 * (x - round(x))));
    return log(3.141592653589793 / (sine * -x)) - tw_lgamma_positive(-x);
}
TW_DEVICE f32 tw_lgamma(f32 x) { return (f32)tw_lgamma((f64)x); }

// The asymptotic series, Abramowitz and Stegun 6.3.18, at `x + n`, less the reciprocals in between.
TW_DEVICE f64 tw_digamma_positive(f64 x) {
    f64 between = 0;
    while (x < 10) { between += 1 / x; x += 1; }
    f64 z = 1 / (x * x);
    f64 rest = 1.0 / 12;
    rest = rest * z - 691.0 / 32760;
    rest = rest * z + 1.0 / 132;
    rest = rest * z - 1.0 / 240;
    rest = rest * z + 1.0 / 252;
    rest = rest * z - 1.0 / 120;
    rest = rest * z + 1.0 / 12;
    return log(x) - 0.5 / x - rest * z - between;
}
TW_DEVICE f64 tw_digamma(f64 x) {
    if (x == 0) return 1 / -x;
    if (x > 0 || x != x) return tw_digamma_positive(x);
    f64 near = x - round(x);
    if (near == 0 || x < -1.7976931348623157e308) return tw_f64(0x7ff8000000000000ull);
    return tw_digamma_positive(1 - x) - 3.141592653589793 / tan(3.141592653589793 * near);
}
TW_DEVICE f32 tw_digamma(f32 x) { return (f32)tw_digamma((f64)x); }

// Newton's method on `erf`, or on the logarithm of its complement: both are concave.
TW_DEVICE f64 tw_erf_inv(f64 x) {
    f64 a = fabs(x);
    if (!(a < 1) || a == 0) return a == 0 ? x : a == 1 ? x * tw_f64(0x7ff0000000000000ull) : tw_f64(0x7ff8000000000000ull);
    f64 y = a * 0.8862269254527580;
    for (int n = 0; n < 40; n++) {
        f64 slope = 1.1283791670955126 * exp(-y * y), rest = erfc(y);
        f64 step = a < 0.5 ? (a - erf(y)) / slope : log(rest / (1 - a)) * rest / slope;
        y += step;
        if (fabs(step) <= y * 1e-16) break;
    }
    return x < 0 ? -y : y;
}
TW_DEVICE f32 tw_erf_inv(f32 x) { return (f32)tw_erf_inv((f64)x); }
