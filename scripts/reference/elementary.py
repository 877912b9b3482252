"""Pointwise functions and activations of the frontend, with gradients by torch.autograd, as in functions.py."""

import torch
import torch.nn.functional as F

from .cases import tensor
from .functions import differentiated, normal, positive, spread

INF, NAN = float("inf"), float("nan")
ODD = [0.0, -0.0, 1.0, -2.5, 0.5, 1e-30, 50.0, -60.0, INF, -INF, NAN]


def primitives(cases):
    everywhere = {
        "exp2": torch.exp2, "tan": torch.tan, "atan": torch.atan, "sinh": torch.sinh, "cosh": torch.cosh, "asinh": torch.asinh,
        "erfc": torch.erfc, "trunc": torch.trunc, "frac": torch.frac, "sign": torch.sign, "floor": torch.floor,
        "ceil": torch.ceil, "round": torch.round, "sinc": torch.sinc, "deg2rad": torch.deg2rad, "rad2deg": torch.rad2deg,
    }
    for op, f in everywhere.items():
        differentiated(cases, op, op, f, [spread(2, 4)])
    within_one = {"asin": torch.asin, "acos": torch.acos, "atanh": torch.atanh, "erfinv": torch.erfinv}
    for op, f in within_one.items():
        differentiated(cases, op, op, f, [spread(2, 4) * 1.3])
    above = {"log2": torch.log2, "log10": torch.log10, "lgamma": torch.lgamma, "digamma": torch.digamma}
    for op, f in above.items():
        # PyTorch's trigamma has ten digits.
        differentiated(cases, op, op, f, [positive(2, 4)], dtypes=("f32",) if op == "digamma" else ("f64", "f32"))
    differentiated(cases, "acosh", "acosh", torch.acosh, [positive(2, 4) + 1])
    differentiated(cases, "logit", "logit", torch.logit, [spread(2, 4).abs()])
    negative = tensor([-0.3, -1.6, -2.25, -5.7], "f64")
    for op in ("lgamma", "digamma"):
        differentiated(cases, f"{op}_negative", op, above[op], [negative], dtypes=("f32",))


def pairs(cases):
    a, b = spread(2, 4), spread(2, 4) + 0.05
    for op, f in {"atan2": torch.atan2, "hypot": torch.hypot, "copysign": torch.copysign, "logaddexp": torch.logaddexp,
                  "logaddexp2": torch.logaddexp2, "fmax": torch.fmax, "fmin": torch.fmin}.items():
        differentiated(cases, op, op, f, [a, b])
    for op, f in {"xlogy": torch.xlogy, "xlog1py": torch.special.xlog1py}.items():
        differentiated(cases, op, op, f, [spread(2, 4), positive(2, 4)])
    differentiated(cases, "fmod", "fmod", torch.fmod, [a * 7, b])
    differentiated(cases, "remainder", "remainder", torch.remainder, [a * 7, b])
    differentiated(cases, "floor_divide", "floor_divide", torch.floor_divide, [a * 7, b], gradients=False)
    differentiated(cases, "nextafter", "nextafter", torch.nextafter, [a, b], gradients=False, kind="exact", dtypes=("f64",))
    differentiated(cases, "heaviside", "heaviside", torch.heaviside, [a, b], gradients=False, kind="exact")
    differentiated(cases, "ldexp", "ldexp", torch.ldexp, [a, tensor([1.0, -2.0, 3.0, 0.0] * 2, "f64").reshape(2, 4)])
    for op, f in {"addcmul": torch.addcmul, "addcdiv": torch.addcdiv}.items():
        differentiated(cases, op, op, lambda x, y, z: f(x, y, z, value=0.7), [a, b, spread(2, 4) + 0.03], {"value": 0.7})
    differentiated(cases, "lerp", "lerp", torch.lerp, [a, b, torch.rand(2, 4, dtype=torch.float64)])
    x = tensor([0.0, -0.0, 1.0, -2.5, INF, -INF, NAN], "f64")
    n = len(x)
    a, b = x.repeat_interleave(n), x.repeat(n)
    for op, f in {"hypot": torch.hypot, "copysign": torch.copysign, "logaddexp": torch.logaddexp, "fmax": torch.fmax,
                  "xlogy": torch.xlogy, "remainder": torch.remainder, "fmod": torch.fmod}.items():
        differentiated(cases, f"{op}_odd", op, f, [a, b], gradients=False, dtypes=("f64",))
    keep = (b != 0) & ~a.isinf()
    differentiated(cases, "floor_divide_odd", "floor_divide", torch.floor_divide, [a[keep], b[keep]], gradients=False, dtypes=("f64",))
    for dtype in ("i64", "i8", "u8"):
        x = tensor([-7, 7, 6, -6, 0, 100] if dtype != "u8" else [7, 6, 0, 200], dtype)
        y = tensor([2, -2, 3, -4] if dtype != "u8" else [2, 3, 7, 201], dtype)
        a, b = x.repeat_interleave(4), y.repeat(len(x))
        for op, f in {"floor_divide": torch.floor_divide, "remainder": torch.remainder}.items():
            cases.add(f"{op}_{dtype}", op, {}, [a, b], [f(a, b)], f"torch {torch.__version__.split('+')[0]}", "exact")


def one_odd(cases):
    x = tensor([*ODD, 1.75, -1.75], "f64")
    for op, f in {"trunc": torch.trunc, "frac": torch.frac, "signbit": torch.signbit}.items():
        differentiated(cases, f"{op}_odd", op, f, [x], gradients=False, kind="exact")
    for op, f in {"isposinf": torch.isposinf, "isneginf": torch.isneginf}.items():
        differentiated(cases, op, op, f, [x], gradients=False, kind="exact", dtypes=("f64",))
    differentiated(cases, "entr", "entr", torch.special.entr, [positive(2, 4)])
    differentiated(cases, "ndtr", "ndtr", torch.special.ndtr, [spread(2, 4) * 5])
    for op, f in {"entr": torch.special.entr, "ndtr": torch.special.ndtr}.items():
        differentiated(cases, f"{op}_odd", op, f, [x], gradients=False, dtypes=("f64",))
    n = len(ODD)
    y = tensor(ODD, "f64")
    a, b = y.repeat_interleave(n), y.repeat(n) * (1 + 1e-6)
    differentiated(cases, "isclose", "isclose", lambda a, b: torch.isclose(a, b, 1e-5, 1e-8), [a, b], {"rtol": 1e-5, "atol": 1e-8},
                   gradients=False, kind="exact", dtypes=("f64",))
    differentiated(cases, "nan_to_num", "nan_to_num", torch.nan_to_num, [x], dtypes=("f64",))
    differentiated(cases, "nan_to_num_given", "nan_to_num", lambda x: torch.nan_to_num(x, 2.0, 3.0, -4.0), [x],
                   {"nan": 2.0, "posinf": 3.0, "neginf": -4.0})


def activations(cases):
    plain = {
        "relu6": F.relu6, "selu": F.selu, "mish": F.mish, "softsign": F.softsign, "hardsigmoid": F.hardsigmoid,
        "hardswish": F.hardswish, "tanhshrink": F.tanhshrink, "logsigmoid": F.logsigmoid,
    }
    x, odd = spread(2, 4) * 7, tensor([-3.5, -1e-3, 1e-3, 3.5, 30.0, -30.0, INF, NAN], "f64")
    for op, f in plain.items():
        # PyTorch has some constants with seven digits.
        differentiated(cases, op, op, f, [x], dtypes=("f32",) if op == "hardsigmoid" else ("f64", "f32"))
        differentiated(cases, f"{op}_odd", op, f, [odd], gradients=False, dtypes=("f32",))
    given = {
        "elu": (F.elu, {"alpha": 0.7}), "celu": (F.celu, {"alpha": 1.7}), "leaky_relu": (F.leaky_relu, {"negative_slope": 0.2}),
        "hardtanh": (F.hardtanh, {"min_val": -0.7, "max_val": 1.9}), "softshrink": (F.softshrink, {"lambd": 0.9}),
        "hardshrink": (F.hardshrink, {"lambd": 0.9}), "threshold": (F.threshold, {"threshold": 0.4, "value": -2.5}),
        "softplus": (F.softplus, {"beta": 1.5, "threshold": 4.0}), "rrelu": (F.rrelu, {"lower": 0.1, "upper": 0.3}),
    }
    for op, (f, attrs) in given.items():
        differentiated(cases, f"{op}_given", op, lambda x: f(x, **attrs), [x], attrs, dtypes=("f32",) if op == "celu" else ("f64", "f32"))
        differentiated(cases, f"{op}_given_odd", op, lambda x: f(x, **attrs), [odd], attrs, gradients=False, dtypes=("f32",))
    differentiated(cases, "prelu_one", "prelu", F.prelu, [normal(2, 3), tensor([0.3], "f64")])
    differentiated(cases, "prelu_channels", "prelu", F.prelu, [normal(2, 3, 2), normal(3)])
    for dim in (0, -1):
        differentiated(cases, f"glu_{'m1' if dim < 0 else 0}", "glu", lambda x: F.glu(x, dim), [normal(4, 6)], {"dim": dim})
        differentiated(cases, f"softmin_{'m1' if dim < 0 else 0}", "softmin", lambda x: F.softmin(x, dim), [normal(3, 4)], {"dim": dim})


def record(cases):
    primitives(cases)
    pairs(cases)
    one_odd(cases)
    activations(cases)
