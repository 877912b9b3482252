#!/usr/bin/env python3
"""Prints the Chebyshev coefficients in frontend/ops/chebyshev.rs, by interpolation at 100 Chebyshev points in 40 digits.

    python3 -m venv /tmp/fit && /tmp/fit/bin/pip install mpmath && /tmp/fit/bin/python scripts/fit_series.py
"""

from mpmath import besseli, besselk, cos, erfc, exp, log, mp, mpf, pi, sqrt

mp.dps = 40
POINTS = 100


def coefficients(f):
    """Of the Chebyshev series of `f` on [-1, 1], as far as they count in f64."""
    angles = [pi * (k + mpf(1) / 2) / POINTS for k in range(POINTS)]
    values = [f(cos(a)) for a in angles]
    series = [2 / mpf(POINTS) * sum(v * cos(j * a) for v, a in zip(values, angles)) for j in range(POINTS)]
    series[0] /= 2
    while abs(series[-1]) < mpf("3e-18"):
        series.pop()
    return series


def small(order):
    """`exp(-x) I(x)`, of I1 divided by x, for x from 0 to 8."""

    def f(t):
        x = 4 * (t + 1)
        return exp(-x) * besseli(order, x) / (x if order else 1)

    return f


def large(order):
    """`sqrt(x) exp(-x) I(x)` for x from 8 on, by 1/x."""

    def f(t):
        x = 16 / (t + 1)
        return sqrt(x) * exp(-x) * besseli(order, x)

    return f


def small_second(order):
    """`K0(x) + log(x / 2) I0(x)`, and `x (K1(x) - log(x / 2) I1(x))`, for x from 0 to 2, by the square of x."""

    def f(t):
        x = sqrt(2 * (t + 1))
        logarithm = log(x / 2) * besseli(order, x)
        return x * (besselk(1, x) - logarithm) if order else besselk(0, x) + logarithm

    return f


def large_second(order):
    """`sqrt(x) exp(x) K(x)` for x from 2 on, by 1/x."""

    def f(t):
        x = 4 / (t + 1)
        return sqrt(x) * exp(x) * besselk(order, x)

    return f


def scaled_complement(t):
    """`(1 + 2 x) exp(x²) erfc(x)` for x from 0 on, by `(x - 3.75) / (x + 3.75)` (Shepherd and Laframboise, 1981)."""
    x = mpf("3.75") * (1 + t) / (1 - t)
    return (1 + 2 * x) * exp(x * x) * erfc(x)


functions = {
    "I0_SMALL": small(0), "I0_LARGE": large(0), "I1_SMALL": small(1), "I1_LARGE": large(1), "K0_SMALL": small_second(0),
    "K0_LARGE": large_second(0), "K1_SMALL": small_second(1), "K1_LARGE": large_second(1), "ERFCX": scaled_complement,
}
for name, f in functions.items():
    series = coefficients(f)
    print(f"pub(super) const {name}: [f64; {len(series)}] = [")
    print("".join(f"    {float(c)!r},\n" for c in series) + "];")
