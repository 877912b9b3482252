"""Special functions, windows and bilinear forms, with gradients by torch.autograd, as in functions.py."""

import torch
from numpy.polynomial import chebyshev, hermite, hermite_e, laguerre, legendre

from .cases import TORCH, tensor
from .functions import differentiated, normal, positive, spread

INF, NAN = float("inf"), float("nan")
ONE = {"dtypes": ("f64",)}


def functions(cases):
    for op in ("i0", "i0e", "i1", "i1e"):
        f = getattr(torch.special, op)
        differentiated(cases, op, op, f, [torch.cat([spread(4), spread(6) * 30])])
        odd = tensor([0.0, -0.0, 8.0, -8.0, 1e-30, 300.0, -300.0, 1e9 if op.endswith("e") else 0.5, NAN], "f64")
        differentiated(cases, f"{op}_odd", op, f, [odd], gradients=False, **ONE)
    for op in ("k0", "k0e", "k1", "k1e"):
        kind = "scaled_modified_bessel_" if op.endswith("e") else "modified_bessel_"
        f = getattr(torch.special, kind + op[:2])
        x = tensor([1e-9, 0.3, 1.9999, 2.0, 2.001, 7.5, 90.0, 1e5, 0.0, -1.0, NAN], "f64")
        cases.add(op, op, {}, [x], [f(x)], TORCH, "composition")
        k0, k1 = (getattr(torch.special, kind + k)(x) for k in ("k0", "k1"))
        slope = -k1 if op[1] == "0" else -k0 - k1 / x
        slope = slope + f(x) if op.endswith("e") else slope
        cases.add(f"{op}_slope", op, {}, [x[1:6]], [f(x[1:6])], TORCH, "composition", [torch.ones(5, dtype=torch.float64)], [slope[1:6]])
    x = torch.cat([spread(6), spread(6) * 9])
    differentiated(cases, "erfcx", "erfcx", torch.special.erfcx, [x])
    differentiated(cases, "log_ndtr", "log_ndtr", torch.special.log_ndtr, [x * 5])
    odd = tensor([0.0, -0.0, 1e-300, 1e8, 1e300, -26.0, INF, -INF, NAN], "f64")
    differentiated(cases, "erfcx_odd", "erfcx", torch.special.erfcx, [odd], gradients=False, **ONE)
    differentiated(cases, "log_ndtr_odd", "log_ndtr", torch.special.log_ndtr, [tensor([0.0, -1.0, -0.9999, 40.0, -1e5, NAN], "f64")], gradients=False, **ONE)
    s, q = torch.tensor([1.01, 2.0, 3.5, 12.0, 40.0, 1.5], dtype=torch.float64), torch.tensor([0.3, 1.0, 20.0, 2.5, 0.9, 1e4], dtype=torch.float64)
    differentiated(cases, "zeta", "zeta", torch.special.zeta, [s, q], gradients=False, **ONE)
    for n in (0, 1, 2, 4):
        x = tensor([0.01, 0.4, 1.0, 3.3, 12.0, 500.0], "f64")
        # PyTorch's trigamma has ten digits, so values are those of its zeta function.
        factorial = float(torch.tensor([n + 1.0]).lgamma().exp().round())
        y = torch.digamma(x) if n == 0 else (-1) ** (n + 1) * factorial * torch.special.zeta(torch.tensor(n + 1.0).to(x), x)
        slope = (-1) ** n * factorial * (n + 1) * torch.special.zeta(torch.tensor(n + 2.0).to(x), x)
        cases.add(f"polygamma_{n}", "polygamma", {"n": n}, [x], [y], TORCH, "composition", [torch.ones_like(x)], [slope])
    # Nearer to 0 the derivative of this quotient cancels.
    x = torch.cat([torch.tensor([0.35, -0.45, 0.49, -0.55, 0.6], dtype=torch.float64), spread(4) * 20])
    differentiated(cases, "spherical_bessel_j0", "spherical_bessel_j0", lambda x: torch.sin(x) / x, [x])
    odd = tensor([0.0, -0.0, 0.5, -0.49, 1e-200, INF, -INF, NAN], "f64")
    differentiated(cases, "spherical_bessel_j0_odd", "spherical_bessel_j0", torch.special.spherical_bessel_j0, [odd], gradients=False, **ONE)
    for p in (1, 3):
        differentiated(cases, f"mvlgamma_{p}", "mvlgamma", lambda x: torch.mvlgamma(x, p), [positive(2, 3) + 1], {"p": p}, dtypes=("f32",))
    differentiated(cases, "float_power", "float_power", torch.float_power, [positive(2, 3), normal(2, 3)], **ONE)
    numbers = [1.0, -6.0, 0.1, 5e-324, -3e-310, 2.2e-308, 1.7e308, 0.0, -0.0, INF, NAN]
    for part, op in enumerate(("frexp", "frexp_exponent")):
        f = lambda x: torch.frexp(x)[part]
        differentiated(cases, op, op, f, [tensor(numbers, "f64")], gradients=False, kind="exact", **ONE)
        x = tensor([1e-45, -3e-39, 3e38, 1.5, INF], "f32")
        cases.add(f"{op}_f32", op, {}, [x], [f(x)], TORCH, "exact")
    differentiated(cases, "frexp_slope", "frexp", lambda x: torch.frexp(x)[0], [spread(2, 3)], kind="exact", **ONE)


def polynomials(cases):
    powers = {"chebyshev_t": chebyshev.cheb2poly, "hermite_h": hermite.herm2poly, "hermite_he": hermite_e.herme2poly,
              "laguerre_l": laguerre.lag2poly, "legendre_p": legendre.leg2poly}
    for op in ("chebyshev_t", "chebyshev_u", "chebyshev_v", "chebyshev_w", "hermite_h", "hermite_he", "laguerre_l", "legendre_p"):
        family, kind = op.split("_")
        theirs = getattr(torch.special, f"{family}_polynomial_{kind}")
        for n in (0, 1, 5):
            x = spread(2, 3)
            if op not in powers:
                differentiated(cases, f"{op}_{n}", op, lambda x: theirs(x, n), [x], {"n": n}, gradients=False, **ONE)
                continue
            terms = powers[op]([0] * n + [1])
            f = lambda x: sum((c * x**i for i, c in enumerate(terms)), torch.zeros_like(x))
            assert torch.allclose(f(x), theirs(x, n))
            differentiated(cases, f"{op}_{n}", op, f, [x], {"n": n}, **ONE)


def windows(cases):
    one = torch.zeros(1)
    for name, given in {"hann": {}, "hamming": {}, "blackman": {}, "nuttall": {}, "bartlett": {}, "cosine": {}, "general_hamming": {"alpha": 0.7},
                        "exponential": {"tau": 1.3}, "gaussian": {"std": 1.7}, "kaiser": {"beta": 3.5}}.items():
        for n, periodic in ((1, 0), (6, 0), (6, 1), (7, 1)):
            y = getattr(torch.signal.windows, name)(n, sym=not periodic, dtype=torch.float64, **given)
            attrs = {"n": n, "periodic": periodic} | {"parameter": v for v in given.values()}
            cases.add(f"{name}_{n}_{periodic}", name, attrs, [one], [y], TORCH, "composition")


def forms(cases):
    a, b = normal(2, 3), normal(2, 4)
    f = lambda x, y, w, b: torch.nn.functional.bilinear(x, y, w, b)
    differentiated(cases, "bilinear", "bilinear", f, [a, b, normal(5, 3, 4), normal(5)], kind="reduction", **ONE)


def record(cases):
    functions(cases)
    polynomials(cases)
    windows(cases)
    forms(cases)
