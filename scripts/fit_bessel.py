#!/usr/bin/env python3
"""Prints the Chebyshev coefficients in frontend/ops/bessel.rs, by interpolation at 64 Chebyshev points in 40 digits.

    python3 -m venv /tmp/fit && /tmp/fit/bin/pip install mpmath && /tmp/fit/bin/python scripts/fit_bessel.py
"""

from mpmath import besseli, cos, exp, mp, mpf, pi, sqrt

mp.dps = 40
POINTS = 64


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


for order in (0, 1):
    for name, f in (("SMALL", small(order)), ("LARGE", large(order))):
        series = coefficients(f)
        print(f"const I{order}_{name}: [f64; {len(series)}] = [")
        print("".join(f"    {float(c)!r},\n" for c in series) + "];")
