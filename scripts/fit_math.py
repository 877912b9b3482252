#!/usr/bin/env python3
"""Derives the polynomial coefficients in codegen/src/cpu/math/.

    python3 -m venv /tmp/fit && /tmp/fit/bin/pip install mpmath numpy && /tmp/fit/bin/python scripts/fit_math.py

Each fit is a weighted minimax (Remez exchange) in 60-digit arithmetic. Coefficients are rounded to the target format
one at a time, lowest power first, and the others are fitted again after each rounding, so that the printed error is
that of the rounded polynomial.
"""
import struct
import sys

import numpy
from mpmath import mp, mpf

mp.dps = 60


def f32(x):
    return mpf(struct.unpack("f", struct.pack("f", float(x)))[0])


def f64(x):
    return mpf(float(x))


def remez(f, weight, powers, a, b, grid=1500):
    """Minimax fit of f by sum c_p x^p on [a, b] under `weight` (error = weight * (fit - f))."""
    n = len(powers)
    xs = [(a + b) / 2 + (b - a) / 2 * mp.cos(mp.pi * (2 * i + 1) / (2 * grid)) for i in range(grid)][::-1]
    fs = [f(x) for x in xs]
    ws = [weight(x) for x in xs]
    ps = [[x**p for p in powers] for x in xs]
    picks = [int((0.5 - 0.5 * float(mp.cos(mp.pi * i / n))) * (grid - 1)) for i in range(n + 1)]
    for _ in range(40):
        m = mp.matrix(n + 1, n + 1)
        rhs = mp.matrix(n + 1, 1)
        for row, i in enumerate(picks):
            for col in range(n):
                m[row, col] = ps[i][col]
            m[row, n] = (-1) ** row / ws[i]
            rhs[row] = fs[i]
        sol = mp.lu_solve(m, rhs)
        c = [sol[i] for i in range(n)]
        err = [w * (sum(k * p for k, p in zip(c, pw)) - y) for w, pw, y in zip(ws, ps, fs)]
        # One extremum from each run of equal sign.
        runs, best = [], 0
        for i in range(1, grid):
            if (err[i] > 0) != (err[best] > 0):
                runs.append(best)
                best = i
            elif abs(err[i]) > abs(err[best]):
                best = i
        runs.append(best)
        while len(runs) > n + 1:
            runs.pop(0 if abs(err[runs[0]]) < abs(err[runs[-1]]) else -1)
        if len(runs) < n + 1:
            break
        if runs == picks:
            break
        picks = runs
    return c, max(abs(e) for e in err)


def lawson(xs, target, ws, powers):
    """Weighted minimax by iteratively reweighted least squares; needs no Haar condition."""
    basis = ws[:, None] * numpy.stack([xs**p for p in powers], axis=1)
    scale = numpy.abs(basis).max(axis=0)
    emphasis = numpy.full(len(xs), 1 / len(xs))
    best, best_err = None, None
    for _ in range(400):
        root = numpy.sqrt(emphasis)
        c = numpy.linalg.lstsq(root[:, None] * basis / scale, root * ws * target, rcond=None)[0] / scale
        err = numpy.abs(basis @ c - ws * target)
        if best is None or err.max() < best_err:
            best, best_err = c, err.max()
        emphasis = emphasis * (err + err.max() * 1e-9)
        emphasis /= emphasis.sum()
    return best


def fit(name, f, weight, powers, a, b, rounding):
    """Fits, rounds coefficient by coefficient, prints Rust constants and the error left."""
    a, b = mpf(a), mpf(b)
    fixed = {}
    rest = list(powers)
    ideal = remez(f, weight, powers, a, b)[1]
    if rounding is f64:
        fixed = dict(zip(powers, map(f64, remez(f, weight, powers, a, b)[0])))
    else:
        xs = [(a + b) / 2 + (b - a) / 2 * mp.cos(mp.pi * (2 * i + 1) / 800) for i in range(400)]
        target = numpy.array([float(f(x)) for x in xs])
        ws = numpy.array([float(weight(x)) for x in xs])
        xs = numpy.array([float(x) for x in xs])
        while rest:
            c = lawson(xs, target, ws, rest)
            fixed[rest[0]] = rounding(c[0])
            target = target - float(fixed[rest[0]]) * xs ** rest[0]
            rest = rest[1:]
    xs = [a + (b - a) * i / 3000 for i in range(3001)]
    err = max(abs(weight(x) * (sum(c * x**p for p, c in fixed.items()) - f(x))) for x in xs)
    print(f"{name}: error 2^{float(mp.log(err, 2)):.2f} (unrounded 2^{float(mp.log(ideal, 2)):.2f})")
    for p in powers:
        v = float(fixed[p])
        print(f"    x^{p}: {v!r}" if rounding is f64 else f"    x^{p}: {numpy.float32(v)!s}")
    sys.stdout.flush()
    return fixed


def series(terms):
    """A power series as a function, for quotients that cancel near zero."""
    return lambda x: sum(c * x**p for c, p in terms)


def split(name, value, bits, rounding):
    """value = high + low, high with at most `bits` significant bits."""
    e = int(mp.floor(mp.log(value, 2))) + 1 - bits
    high = mp.nint(mp.ldexp(value, -e)) * mpf(2) ** e
    low = rounding(value - high)
    print(f"{name}: {float(high)!r} + {float(low)!r}")
    return high, low


fac = mp.factorial
LN2 = mp.log(2)
SQRT2 = mp.sqrt(2)


def exp_fit():
    print(f"log2(e): {float(f32(1 / LN2)):.9e}")
    split("ln 2 (f32)", LN2, 15, f32)
    # exp(r) = 1 + r + r^2 q(r)
    q = series([(1 / fac(k + 2), k) for k in range(25)])
    half = LN2 / 2 * mpf("1.001")
    fit("exp q", q, lambda r: r * r / mp.exp(r), range(5), -half, half, f32)


def tanh_fit(exp_terms, terms, limit):
    # exp(r) = 1 + r + r^2 q(r), coarser than for exp
    q = series([(1 / fac(k + 2), k) for k in range(25)])
    half = LN2 / 2 * mpf("1.001")
    fit("tanh, exp q", q, lambda r: r * r / mp.exp(r), range(exp_terms), -half, half, f32)

    # tanh(x) = x + x^3 p(x^2), fitted in z = x^2
    def p(z):
        if z < mpf("1e-20"):
            return -mpf(1) / 3
        x = mp.sqrt(z)
        return (mp.tanh(x) - x) / x**3

    limit = mpf(limit)
    fit(f"tanh p(z), {terms} terms to {limit}", p,
        lambda z: z * mp.sqrt(z) / mp.tanh(mp.sqrt(z)) + mpf(10) ** -14 if z else mpf(10) ** -14,
        range(terms), 0, limit**2, f32)


def log_fit(degree):
    # log1p(f) = f - f^2/2 + f^3 p(f), m in [2/3, 4/3)
    def p(f):
        if abs(f) < mpf("1e-9"):
            return mpf(1) / 3 - f / 4
        return (mp.log1p(f) - f + f * f / 2) / f**3

    fit(f"log p, degree {degree}", p, lambda f: abs(f**3 / mp.log1p(f)) + mpf(10) ** -14 if f else mpf(10) ** -14,
        range(degree + 1), -mpf(1) / 3 * mpf("1.0001"), mpf(1) / 3 * mpf("1.0001"), f32)


def sin_fit():
    # sin(r) = r + r^3 q(r^2), |r| <= pi/2; fitted in z = r^2
    def q(z):
        if z < mpf("1e-20"):
            return -mpf(1) / 6
        r = mp.sqrt(z)
        return (mp.sin(r) - r) / r**3

    fit("sin q(z)", q, lambda z: z * mp.sqrt(z) / mp.sin(mp.sqrt(z)) + mpf(10) ** -14 if z else mpf(10) ** -14,
        range(4), 0, (mp.pi / 2) ** 2 * mpf("1.0001"), f32)


def erf_fit():
    # erf(x) = x + x p(x^2) for small x, fitted in z = x^2
    def p(z):
        if z < mpf("1e-20"):
            return 2 / mp.sqrt(mp.pi) - 1
        x = mp.sqrt(z)
        return mp.erf(x) / x - 1

    middle = mpf("0.95")
    fit("erf p(z)", p, lambda z: mp.sqrt(z) / mp.erf(mp.sqrt(z)) if z else mp.sqrt(mp.pi) / 2, range(6), 0, middle**2, f32)
    # erf(x) = 1 - 2^g(x) above; the error is absolute
    g = lambda x: mp.log(mp.erfc(x), 2)
    fit("erf g", g, lambda x: LN2 * mp.erfc(x), range(6), middle, mpf("3.93"), f32)
    fit("exp2", lambda r: mp.mpf(2) ** r, lambda r: mpf(2) ** -r, range(6), -mpf(1) / 2, mpf(1) / 2, f32)


def pow_fit():
    # log2(m) = s p(s^2), s = (m - 1) / (m + 1), m in [1/sqrt 2, sqrt 2]; the series in z = s^2 needs no quotient
    p = series([(2 / LN2 / (2 * k + 1), k) for k in range(25)])
    most = ((SQRT2 - 1) / (SQRT2 + 1)) ** 2 * mpf("1.0001")
    fit("pow, log2 p(z)", p, lambda z: 1 / p(z), range(5), 0, most, f64)
    # 2^r = 1 + r q(r)
    q = series([(LN2 ** (k + 1) / fac(k + 1), k) for k in range(30)])
    half = mpf(1) / 2
    fit("pow, exp2 q", q, lambda r: abs(r) * mpf(2) ** -r + mpf(10) ** -15, range(6), -half, half, f64)


def wide_fit():
    """Polynomials in f64 for functions that are computed there and rounded once to f32."""
    # exp(r) = 1 + r + r^2 q(r)
    q = series([(1 / fac(k + 2), k) for k in range(30)])
    half = LN2 / 2 * mpf("1.001")
    fit("wide exp q", q, lambda r: r * r + mpf(10) ** -15, range(8), -half, half, f64)
    # log(1 + f) = s p(s^2), s = f / (2 + f), 1 + f in [1/sqrt 2, sqrt 2]
    p = series([(mpf(2) / (2 * k + 1), k) for k in range(30)])
    most = ((SQRT2 - 1) / (SQRT2 + 1)) ** 2 * mpf("1.0001")
    fit("wide log p(z)", p, lambda z: 1 / p(z), range(7), 0, most, f64)
    # atan(t) = t p(t^2), t up to tan(pi / 8)
    p = lambda z: mp.atan(mp.sqrt(z)) / mp.sqrt(z) if z else mpf(1)
    fit("wide atan p(z)", p, lambda z: 1 / p(z), range(8), 0, (SQRT2 - 1) ** 2 * mpf("1.0001"), f64)
    # sin(r) = r p(r^2), |r| <= pi / 2
    p = lambda z: mp.sin(mp.sqrt(z)) / mp.sqrt(z) if z else mpf(1)
    fit("wide sin p(z)", p, lambda z: 1 / p(z), range(6), 0, (mp.pi / 2) ** 2 * mpf("1.0001"), f64)


def inverse_erf_fit():
    # erfc(x) = exp(-x^2) t p(t), t = 2 / (2 + x), x up to 10.1
    def p(t):
        x = 2 / t - 2
        return mp.erfc(x) * mp.exp(x * x) / t

    fit("erfc p(t)", p, lambda t: 1 / p(t), range(14), mpf(2) / mpf("12.1"), 1, f64)

    # erf_inv(x) = x p(w - 3), w = -log(1 - x^2), w up to 6; x q(sqrt(w) - 3.2) from there
    def inverse(w):
        if w < mpf("1e-25"):
            return mp.sqrt(mp.pi) / 2
        x = mp.sqrt(-mp.expm1(-w))
        # Newton's method on the complement, which is exp(-w) / (1 + x).
        rest = mp.exp(-w) / (1 + x)
        y = mp.sqrt(w) * mpf("0.9")
        for _ in range(60):
            step = (mp.erfc(y) - rest) * mp.sqrt(mp.pi) / 2 * mp.exp(y * y)
            # The complement is convex: steps to the left may go too far.
            y += max(step, -y / 2)
            if abs(step) < mpf(10) ** -40:
                break
        return y / x

    fit("erf_inv p", lambda v: inverse(v + 3), lambda v: 1 / inverse(v + 3), range(12), -3, 3, f64)
    tail = lambda v: inverse((v + mpf("3.2")) ** 2)
    fit("erf_inv q", tail, lambda v: 1 / tail(v), range(10), mp.sqrt(6) - mpf("3.2"), mpf("4.2") - mpf("3.2"), f64)


def gamma_fit():
    half = mpf(1) / 2
    # lgamma(x) = (x - 1) (x - 2) p(x - 3/2) and digamma(x) = (x - root) q(x - 3/2), x in [1, 2]
    def p(v):
        x = v + mpf(3) / 2
        if min(abs(x - 1), abs(x - 2)) < mpf("1e-20"):
            x += mpf("1e-20")
        return mp.loggamma(x) / ((x - 1) * (x - 2))

    fit("lgamma p", p, lambda v: 1 / p(v), range(18), -half, half, f64)
    root = mp.findroot(mp.digamma, mpf("1.4616"))
    split("digamma root", root, 30, f64)
    q = lambda v: mp.digamma(v + mpf(3) / 2) / (v + mpf(3) / 2 - root)
    fit("digamma q", q, lambda v: 1 / q(v), range(18), -half, half, f64)
    # sin(pi r) = r p(r^2) and cos(pi r) = q(r^2), |r| <= 1/2
    p = lambda z: mp.sin(mp.pi * mp.sqrt(z)) / mp.sqrt(z) if z else mp.pi
    fit("sin of turns p(z)", p, lambda z: 1 / p(z), range(8), 0, half**2, f64)
    fit("cos of turns q(z)", lambda z: mp.cos(mp.pi * mp.sqrt(z)), lambda z: mpf(1), range(9), 0, half**2, f64)


if __name__ == "__main__":
    only = sys.argv[1:]
    jobs = {
        "exp": exp_fit,
        "tanh": lambda: [tanh_fit(e, t, "0.56") for e, t in ((4, 4), (5, 5))],
        "log": lambda: [log_fit(d) for d in (5, 6, 7)],
        "sin": sin_fit,
        "erf": erf_fit,
        "pow": pow_fit,
        "wide": wide_fit,
        "gamma": gamma_fit,
        "inverse_erf": inverse_erf_fit,
    }
    for name, job in jobs.items():
        if not only or name in only:
            job()
