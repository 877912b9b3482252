"""Integer primitives over every width, by NumPy."""

import numpy as np

from .cases import NUMPY

WIDTHS = {
    "i64": np.int64, "i32": np.int32, "i16": np.int16, "i8": np.int8,
    "u64": np.uint64, "u32": np.uint32, "u16": np.uint16, "u8": np.uint8,
}
FLOATS = {2: ["f16"], 4: ["f32"], 8: ["f64"]}
NUMPY_FLOATS = {"f16": np.float16, "f32": np.float32, "f64": np.float64}
#: Those that the pointwise cases leave out.
NEW = ["i16", "i8", "u64", "u32", "u16"]


def edges(dtype):
    info = np.iinfo(WIDTHS[dtype])
    values = {0, 1, 2, 7, 100, info.max, info.max - 1, info.min, info.min + 1, info.max // 2 + 1}
    return np.array(sorted(values | ({-1, -7} if info.min else set())), WIDTHS[dtype])


def pairs(values):
    n = len(values)
    return np.repeat(values, n), np.tile(values, n)


def exact(cases, name, op, attrs, inputs, output):
    cases.add(name, op, attrs, inputs, [output], NUMPY, "exact")


def arithmetic(cases):
    unary = {"neg": np.negative, "abs": np.abs, "sign": np.sign, "not": np.invert}
    binary = {
        "add": np.add, "sub": np.subtract, "mul": np.multiply, "max": np.maximum, "min": np.minimum,
        "and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor,
    }
    for dtype in NEW:
        x = edges(dtype)
        a, b = pairs(x)
        for op, f in unary.items():
            exact(cases, f"{op}_{dtype}", op, {}, [x], f(x))
        for op, f in binary.items():
            exact(cases, f"{op}_{dtype}", op, {}, [a, b], f(a, b))
        for direction, f in {"lt": np.less, "ge": np.greater_equal, "eq": np.equal}.items():
            exact(cases, f"compare_{direction}_{dtype}", "compare", {"direction": direction}, [a, b], f(a, b))
        # A zero divisor and MIN / -1 are not defined there.
        keep = (b != 0) & ~((a == np.iinfo(a.dtype).min) & (b == -1) if dtype.startswith("i") else b == 0)
        a, b = a[keep], b[keep]
        rem = np.fmod(a, b)
        exact(cases, f"rem_{dtype}", "rem", {}, [a, b], rem)
        exact(cases, f"div_{dtype}", "div", {}, [a, b], ((a - rem) // b).astype(a.dtype))
        a = np.repeat(np.array([0, 1, 2, 3, 7, 13], a.dtype), 4)
        b = np.tile(np.array([0, 1, 2, 9], a.dtype), 6)
        exact(cases, f"pow_{dtype}", "pow", {}, [a, b], np.power(a, b))
        for op, f in {"reduce_sum": np.sum, "reduce_prod": np.prod, "reduce_max": np.max, "reduce_min": np.min}.items():
            rows = x[:8].reshape(2, 4)
            exact(cases, f"{op}_{dtype}", op, {"axes": [1]}, [rows], f(rows, axis=1).astype(rows.dtype))


def bits(cases):
    for dtype, t in WIDTHS.items():
        x = edges(dtype)
        wide = np.array([int(v) & (2 ** (8 * x.itemsize) - 1) for v in x], np.uint64)
        exact(cases, f"popcnt_{dtype}", "popcnt", {}, [x], np.bitwise_count(wide).astype(t))
        n = 8 * x.itemsize
        amounts = np.array([0, 1, 3, n - 2, n - 1], t)
        a, b = np.repeat(x, len(amounts)), np.tile(amounts, len(x))
        exact(cases, f"shl_{dtype}", "shl", {}, [a, b], np.left_shift(a, b))
        exact(cases, f"shr_{dtype}", "shr", {}, [a, b], np.right_shift(a, b))
        for other, u in WIDTHS.items():
            if other != dtype:
                exact(cases, f"convert_{dtype}_{other}", "convert", {"dtype": other}, [x], x.astype(u))
                if np.dtype(u).itemsize == x.itemsize:
                    exact(cases, f"bitcast_{dtype}_{other}", "bitcast_convert", {"dtype": other}, [x], x.view(u))
        for name in FLOATS.get(x.itemsize, []):
            y = np.array([0.0, -0.0, 1.0, -1.5, 1e-7, 6e4, np.inf, -np.inf], NUMPY_FLOATS[name])
            exact(cases, f"bitcast_{name}_{dtype}", "bitcast_convert", {"dtype": dtype}, [y], y.view(t))
            exact(cases, f"bitcast_{dtype}_{name}", "bitcast_convert", {"dtype": name}, [y.view(t)], y)
        for name in ("f64", "f32"):
            exact(cases, f"convert_{dtype}_{name}_edges", "convert", {"dtype": name}, [x], x.astype(NUMPY_FLOATS[name]))
            inside = np.array([0.0, 1.0, 1.5, 99.75, 0.999] + ([-1.5, -99.9] if dtype.startswith("i") else []), NUMPY_FLOATS[name])
            exact(cases, f"convert_{name}_{dtype}_inside", "convert", {"dtype": dtype}, [inside], inside.astype(t))


def record(cases):
    arithmetic(cases)
    bits(cases)
