"""Pointwise primitives. Transcendental functions are computed in f64 and rounded once."""

import numpy as np
import torch
from scipy import special

from .cases import DTYPES, FLOATS, INTS, NUMPY, SCIPY, TORCH, narrow, tensor, wide

INF, NAN = float("inf"), float("nan")
ORDINARY = [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 1.5, -1.5, 2.5, -2.5, 3.5, 0.1, -0.3, 0.75, 3.1415927, -7.2, 10.0, 1e-3, -1e-4]
LARGE = {"f64": [1e300, -1e17], "f32": [3e38, -1e17], "f16": [65504.0, -2049.0], "bf16": [3e38, -1e17]}
SMALL = {"f64": [5e-324, -1e-310], "f32": [1e-45, -1e-40], "f16": [6e-8, -3e-6], "bf16": [1e-40, -1e-39]}
EDGES = {
    "i64": [0, 1, -1, 2, -7, 100, 2**40, -(2**63), 2**63 - 1],
    "i32": [0, 1, -1, 2, -7, 100, 12345678, -(2**31), 2**31 - 1],
    "u8": [0, 1, 2, 7, 100, 127, 128, 254, 255],
    "bool": [False, True],
}


def floats(dtype, extra=()):
    return tensor([*ORDINARY, *extra, *SMALL[dtype], *LARGE[dtype], INF, -INF, NAN], dtype)


def scipy(f):
    """A function of arrays as one of tensors."""
    return lambda x: torch.from_numpy(np.asarray(f(x.numpy())))


def unary(cases):
    exact = {
        "neg": torch.neg,
        "abs": torch.abs,
        "floor": torch.floor,
        "ceil": torch.ceil,
        "round": torch.round,
        "stop_gradient": torch.Tensor.detach,
    }
    for op, f in exact.items():
        for dtype in FLOATS:
            x = floats(dtype)
            cases.add(f"{op}_{dtype}", op, {}, [x], [f(x)], TORCH, "exact")
    for dtype in FLOATS:
        # PyTorch's f32 square root is an ulp off here and there; NumPy's is correctly rounded.
        x = floats(dtype)
        cases.add(f"sqrt_{dtype}", "sqrt", {}, [x], [narrow(np.sqrt(wide(x).numpy()), dtype)], NUMPY, "exact")
        # PyTorch and NumPy drop the sign of zero here.
        x = floats(dtype)
        x = x[~((x == 0) & torch.signbit(x))]
        cases.add(f"sign_{dtype}", "sign", {}, [x], [narrow(np.sign(wide(x).numpy()), dtype)], NUMPY, "exact")

    exps = [-1.0, 20.0, 88.0, -87.0, -103.0, 89.0, 11.0, -9.7, 0.6931472, 700.0, -740.0]
    angles = [1.5707964, 6.2831855, 100.0, -355.0, 12345.678, 1e5, 3e4]
    transcendental = {
        "exp": (torch.exp, exps),
        "log": (torch.log, [2.0, 2.718281828, 0.99, 1.01, 1e-5, 100.0, 12345.0]),
        "tanh": (torch.tanh, [0.05, -0.625, 4.5, 8.0, -9.0, 20.0, -100.0]),
        "logistic": (torch.sigmoid, [-20.0, 20.0, 80.0, -80.0, -16.0, 4.0]),
        "sin": (torch.sin, angles),
        "cos": (torch.cos, angles),
        "erf": (torch.special.erf, [0.05, -0.84, 1.25, 2.0, -3.0, 3.9, 5.5, -6.0]),
        "erfc": (torch.special.erfc, [0.05, -0.84, 1.25, 2.0, -3.0, 5.5, 9.0, 10.0, 26.0, -6.0]),
        "exp2": (torch.exp2, [-1.0, 20.0, 127.5, -126.0, -140.25, 128.0, 11.0, -9.7, 1000.5, -1060.25]),
        "expm1": (torch.expm1, [*exps, 1e-8, -3e-6]),
        "log1p": (torch.log1p, [2.0, 1.718281828, -0.99, 0.01, 1e-5, -1e-8, 100.0, -1.5]),
        "log2": (torch.log2, [2.0, 8.0, 0.99, 1.01, 1e-5, 100.0, 12345.0]),
        "log10": (torch.log10, [2.0, 1000.0, 0.99, 1.01, 1e-5, 100.0, 12345.0]),
        "cbrt": (scipy(special.cbrt), [27.0, -8.0, 2.0, 1e-5, 12345.0]),
        "tan": (torch.tan, angles),
        "asin": (torch.asin, [0.999, -0.9999, 0.2, 0.6]),
        "acos": (torch.acos, [0.999, -0.9999, 0.2, 0.6]),
        "atan": (torch.atan, [0.4142, 2.4142, -100.0, 1e5]),
        "sinh": (torch.sinh, [0.05, -4.5, 20.0, 88.5, -89.2, 300.0]),
        "cosh": (torch.cosh, [0.05, -4.5, 20.0, 88.5, -89.2, 300.0]),
        "asinh": (torch.asinh, [0.05, -4.5, 20.0, 1e5, -1e-5]),
        "acosh": (torch.acosh, [1.0001, 1.01, 2.0, 20.0, 1e5]),
        "atanh": (torch.atanh, [0.05, -0.999, 0.9, 1e-5]),
        "erf_inv": (torch.special.erfinv, [0.05, -0.999, 0.9, 0.999999, 1e-5, -0.6]),
        # PyTorch's are off near their zeros; SciPy's lgamma has another limit at -inf.
        "lgamma": (scipy(lambda x: np.where(np.isinf(x), INF, special.gammaln(x))), [2.0, 3.0, 1.4616321, 0.01, 25.5, 171.0, 1e5, -1.25, -6.75]),
        "digamma": (scipy(special.digamma), [2.0, 3.0, 1.4616, 0.01, 25.5, 171.0, 1e5, -1.25, -6.75]),
    }
    for op, (f, extra) in transcendental.items():
        for dtype in FLOATS:
            x = floats(dtype, extra)
            if op in ("lgamma", "digamma") and dtype == "f64":
                # Near a zero the last digits are those of the method, and SciPy loses denormal numbers.
                x = x[(x == 0) | ~((x.abs() < 1e-300) | ((x - 1.4616).abs() < 1e-3))]
            y = narrow(f(wide(x)), dtype)
            library = SCIPY if op in ("cbrt", "lgamma", "digamma") else TORCH
            source = library if dtype == "f64" else f"{library} in f64, rounded"
            cases.add(f"{op}_{dtype}", op, {}, [x], [y], source, "ulp")

    for dtype in INTS:
        x = tensor(EDGES[dtype], dtype)
        for op in ("neg", "abs", "sign"):
            y = getattr(np, {"neg": "negative", "abs": "abs", "sign": "sign"}[op])(x.numpy())
            cases.add(f"{op}_{dtype}", op, {}, [x], [y], NUMPY, "exact")
    for dtype in INTS + ["bool"]:
        x = tensor(EDGES[dtype], dtype)
        cases.add(f"not_{dtype}", "not", {}, [x], [torch.bitwise_not(x)], TORCH, "exact")

    cases.add("exp_rank_0", "exp", {}, [tensor(1.0, "f32")], [tensor(np.exp(1.0), "f32")], NUMPY, "ulp")
    cases.add("tanh_empty", "tanh", {}, [tensor([], "f32").reshape(0, 3)], [torch.zeros(0, 3)], TORCH, "ulp")
    x = torch.linspace(-4, 4, 24, dtype=torch.float32).reshape(2, 3, 4)
    cases.add("logistic_rank_3", "logistic", {}, [x], [narrow(torch.sigmoid(wide(x)), "f32")], TORCH, "ulp")


def pairs(values):
    """Every value against every value."""
    n = len(values)
    return values.repeat_interleave(n), values.repeat(n)


def through_f32(f, dtype, *operands):
    if dtype in ("f16", "bf16"):
        return f(*(x.float() for x in operands)).to(DTYPES[dtype])
    return f(*operands)


def binary(cases):
    for dtype in FLOATS:
        values = tensor([0.0, -0.0, 1.0, -1.5, 0.3, 7.0, -1e4, LARGE[dtype][0], SMALL[dtype][0], INF, -INF, NAN], dtype)
        a, b = pairs(values)
        for op, f in {"add": torch.add, "sub": torch.sub, "mul": torch.mul, "div": torch.div}.items():
            cases.add(f"{op}_{dtype}", op, {}, [a, b], [through_f32(f, dtype, a, b)], TORCH, "exact")
        c = np.fmod(wide(a).numpy(), wide(b).numpy())
        cases.add(f"rem_{dtype}", "rem", {}, [a, b], [narrow(c, dtype)], NUMPY, "exact")
        # Which zero is the larger is not defined there.
        keep = ~((a == 0) & (b == 0) & (torch.signbit(a) != torch.signbit(b)))
        for op, f in {"max": torch.maximum, "min": torch.minimum}.items():
            cases.add(f"{op}_{dtype}", op, {}, [a[keep], b[keep]], [f(a[keep], b[keep])], TORCH, "exact")
        values = [0.0, -0.0, 1.0, -1.0, 2.0, -2.0, 0.5, 3.0, -3.0, 1.7, 0.01, 11.0, INF, -INF, NAN]
        a, b = pairs(tensor(values, dtype))
        y = narrow(np.power(wide(a).numpy(), wide(b).numpy()), dtype)
        source = NUMPY if dtype == "f64" else f"{NUMPY} in f64, rounded"
        cases.add(f"pow_{dtype}", "pow", {}, [a, b], [y], source, "ulp")
        y = narrow(np.arctan2(wide(a).numpy(), wide(b).numpy()), dtype)
        cases.add(f"atan2_{dtype}", "atan2", {}, [a, b], [y], source, "ulp")

    for dtype in INTS:
        a, b = pairs(tensor(EDGES[dtype], dtype))
        for op, f in {"add": torch.add, "sub": torch.sub, "mul": torch.mul, "max": torch.maximum, "min": torch.minimum}.items():
            cases.add(f"{op}_{dtype}", op, {}, [a, b], [f(a, b)], TORCH, "exact")
        # A zero divisor and MIN / -1 are not defined there.
        keep = (b != 0) & ~((a == torch.iinfo(a.dtype).min) & (b == -1) & (dtype != "u8"))
        a, b = a[keep], b[keep]
        y = torch.div(a, b, rounding_mode="trunc")
        cases.add(f"div_{dtype}", "div", {}, [a, b], [y], TORCH, "exact")
        cases.add(f"rem_{dtype}", "rem", {}, [a, b], [torch.fmod(a, b)], TORCH, "exact")
        a = tensor([0, 1, 2, 3, 7, 10, 13, 0, 5], dtype).repeat_interleave(4)
        b = tensor([0, 1, 2, 9], dtype).repeat(9)
        cases.add(f"pow_{dtype}", "pow", {}, [a, b], [np.power(a.numpy(), b.numpy())], NUMPY, "exact")
    for dtype in INTS + ["bool"]:
        a, b = pairs(tensor(EDGES[dtype], dtype))
        for op, f in {"and": torch.bitwise_and, "or": torch.bitwise_or, "xor": torch.bitwise_xor}.items():
            cases.add(f"{op}_{dtype}", op, {}, [a, b], [f(a, b)], TORCH, "exact")
    a, b = pairs(tensor(EDGES["bool"], "bool"))
    cases.add("max_bool", "max", {}, [a, b], [torch.maximum(a, b)], TORCH, "exact")
    cases.add("min_bool", "min", {}, [a, b], [torch.minimum(a, b)], TORCH, "exact")
    cases.add("add_rank_0", "add", {}, [tensor(1.5, "f32"), tensor(2.25, "f32")], [tensor(3.75, "f32")], NUMPY, "exact")
    empty = torch.zeros(2, 0)
    cases.add("mul_empty", "mul", {}, [empty, empty], [empty * empty], TORCH, "exact")


def compare_select(cases):
    for dtype in FLOATS + INTS + ["bool"]:
        values = [0.0, -0.0, 1.0, -1.5, LARGE[dtype][0], INF, -INF, NAN] if dtype in FLOATS else EDGES[dtype]
        a, b = pairs(tensor(values, dtype))
        for direction in ("eq", "ne", "lt", "le", "gt", "ge"):
            y = getattr(torch, direction)(a, b)
            cases.add(f"compare_{direction}_{dtype}", "compare", {"direction": direction}, [a, b], [y], TORCH, "exact")
        c = torch.arange(len(a)) % 3 == 0
        cases.add(f"select_{dtype}", "select", {}, [c, a, b], [torch.where(c, a, b)], TORCH, "exact")


def convert(cases):
    """All pairs of dtypes, on values where PyTorch is defined and rounds once."""
    for source in FLOATS + INTS + ["bool"]:
        for target in FLOATS + INTS + ["bool"]:
            if source in FLOATS:
                values = [0.0, 1.0, 1.5, 2.5, 0.999, 3.75, 100.25, 200.5, 255.0]
                if target in FLOATS + ["bool"]:
                    values += [-0.0, -0.3, 1e-8, 70000.0, 65519.0, 65520.0, 1e-40, 1.0009765625, 1.00390625, 3.4e38, INF, -INF, NAN]
                elif target != "u8":
                    values += [-0.0, -0.9, -1.5, -100.25, 30000.7, -30000.7]
                x = tensor(values, source)
                if source == "f64":
                    x = x.to(torch.float32).to(torch.float64) if target in ("f16", "bf16") else x
            else:
                values = EDGES[source] if target in INTS + ["bool"] or source in ("u8", "bool") else [0, 1, -1, 2, -7, 100, 2047, 2049, 65504, 16777215]
                x = tensor(values, source)
            cases.add(f"convert_{source}_{target}", "convert", {"dtype": target}, [x], [x.to(DTYPES[target])], TORCH, "exact")
    for target in ("f64", "f32"):
        x = tensor([2**53 + 1, 2**24 + 1, 2**63 - 1, -(2**63), 123456789012345678], "i64")
        cases.add(f"convert_large_i64_{target}", "convert", {"dtype": target}, [x], [x.to(DTYPES[target])], TORCH, "exact")
    x = tensor([1.0 + 2.0**-24 + 2.0**-50, 1.0 + 2.0**-24, 1e-46, 1e39, -3.5e38], "f64")
    cases.add("convert_rounding_f64_f32", "convert", {"dtype": "f32"}, [x], [x.to(torch.float32)], TORCH, "exact")


def record(cases):
    unary(cases)
    binary(cases)
    compare_select(cases)
    convert(cases)
