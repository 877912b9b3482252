"""Special functions and bilinear forms, with gradients by torch.autograd, as in functions.py."""

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
    x = torch.cat([spread(8), spread(4) * 20])
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


def forms(cases):
    a, b = normal(2, 3), normal(2, 4)
    f = lambda x, y, w, b: torch.nn.functional.bilinear(x, y, w, b)
    differentiated(cases, "bilinear", "bilinear", f, [a, b, normal(5, 3, 4), normal(5)], kind="reduction", **ONE)


def record(cases):
    functions(cases)
    polynomials(cases)
    forms(cases)
