"""Primitives that make, move, reduce, multiply and index."""

import itertools

import numpy as np
import torch

from .cases import DTYPES, FLOATS, INTS, NUMPY, TORCH, narrow, scalar, tensor, wide

INF, NAN = float("inf"), float("nan")


def counted(shape, dtype):
    """1, 2, 3, … in row-major order."""
    n = int(np.prod(shape))
    return (torch.arange(n) % 2 if dtype == "bool" else torch.arange(1, n + 1)).to(DTYPES[dtype]).reshape(shape)


def drawn(shape, dtype):
    """Random values of ordinary size."""
    if dtype in FLOATS:
        return narrow(torch.randn(shape, dtype=torch.float64), dtype)
    if dtype == "bool":
        return torch.randint(0, 2, shape).bool()
    return torch.randint(0 if dtype == "u8" else -9, 10, shape).to(DTYPES[dtype])


def name_of(op, dtype, *parts):
    words = [op, dtype]
    for part in parts:
        words.append("x".join(map(str, part)).replace("-", "m") or "none" if isinstance(part, (list, tuple)) else str(part))
    return "_".join(words)


def create(cases):
    for dtype, value in [("f64", -0.0), ("f32", NAN), ("f32", 1.5), ("f16", INF), ("bf16", 0.1), ("i64", -(2**63)), ("i32", -1), ("u8", 255), ("bool", True)]:
        shape = [2, 3]
        y = tensor(value, dtype).expand(shape)
        attrs = {"value": scalar(value, dtype), "shape": shape}
        cases.add(name_of("full", dtype, str(value).replace("-", "m")), "full", attrs, [], [y], TORCH, "exact")
    for shape in ([], [0], [3, 0, 2]):
        attrs = {"value": scalar(2.0, "f32"), "shape": shape}
        cases.add(name_of("full", "f32", shape), "full", attrs, [], [torch.full(shape, 2.0)], TORCH, "exact")
    for dtype, shape, axis in [(d, [2, 3], a) for d in FLOATS + INTS for a in (0, 1)] + [("i64", [0], 0), ("f32", [2, 1, 3], 1), ("u8", [300], 0)]:
        index = np.indices(shape)[axis]
        attrs = {"dtype": dtype, "shape": shape, "axis": axis}
        y = torch.from_numpy(index).to(DTYPES[dtype])
        cases.add(name_of("iota", dtype, shape, axis), "iota", attrs, [], [y], NUMPY, "exact")


def move(cases):
    broadcasts = [([3], [2, 3], [1]), ([2], [2, 3], [0]), ([], [2, 2], []), ([1, 3], [2, 3], [0, 1]), ([2, 1], [2, 4, 3], [0, 2]), ([0], [3, 0], [1]), ([1], [0], [0]), ([2], [2], [0])]
    for (shape, target, dims), dtype in zip(broadcasts, ["f32", "f64", "i32", "bf16", "f16", "f32", "u8", "bool"]):
        x = counted(shape, dtype)
        placed = [1] * len(target)
        for extent, d in zip(shape, dims):
            placed[d] = extent
        y = np.broadcast_to(wide(x).numpy().reshape(placed), target)
        y = torch.from_numpy(y.copy()).to(DTYPES[dtype])
        cases.add(name_of("broadcast_in_dim", dtype, shape, target), "broadcast_in_dim", {"shape": target, "dims": dims}, [x], [y], NUMPY, "exact")

    reshapes = [([2, 3], [6]), ([6], [3, 2]), ([2, 3, 4], [4, 6]), ([1], []), ([], [1, 1]), ([0, 3], [3, 0, 5]), ([4, 1, 2], [1, 2, 4])]
    for (shape, target), dtype in zip(reshapes, ["f32", "i64", "f64", "f16", "bool", "f32", "u8"]):
        x = counted(shape, dtype)
        cases.add(name_of("reshape", dtype, shape, target), "reshape", {"shape": target}, [x], [x.reshape(target)], TORCH, "exact")

    transposes = [([2, 3], [1, 0]), ([2, 3, 4], [2, 0, 1]), ([2, 3, 4], [0, 2, 1]), ([2, 1, 3, 2], [3, 1, 0, 2]), ([], []), ([0, 2], [1, 0]), ([5], [0])]
    for (shape, permutation), dtype in zip(transposes, ["f32", "f64", "bf16", "i32", "f32", "u8", "bool"]):
        x = counted(shape, dtype)
        cases.add(name_of("transpose", dtype, shape, permutation), "transpose", {"permutation": permutation}, [x], [x.permute(permutation)], TORCH, "exact")

    slices = [
        ([7], [1], [6], [1]), ([7], [0], [7], [3]), ([7], [2], [7], [2]), ([7], [6], [7], [5]), ([7], [3], [3], [1]),
        ([4, 5], [1, 2], [4, 5], [1, 1]), ([4, 5], [0, 0], [4, 5], [2, 3]), ([4, 5], [3, 0], [4, 4], [1, 2]),
        ([2, 3, 4], [0, 1, 1], [2, 3, 4], [1, 1, 2]), ([0, 3], [0, 1], [0, 2], [1, 1]), ([], [], [], []),
    ]
    for (shape, starts, limits, strides), dtype in zip(slices, itertools.cycle(["f32", "f64", "i64", "bf16", "u8", "bool"])):
        x = counted(shape, dtype)
        y = x[tuple(slice(*s) for s in zip(starts, limits, strides))]
        attrs = {"starts": starts, "limits": limits, "strides": strides}
        cases.add(name_of("slice", dtype, shape, starts, limits, strides), "slice", attrs, [x], [y], TORCH, "exact")

    pads = [
        ([3], [1], [2], [0]), ([3], [0], [0], [1]), ([3], [1], [1], [2]), ([5], [-1], [0], [0]), ([5], [-2], [-2], [0]), ([4], [-1], [2], [1]), ([4], [2], [-3], [2]),
        ([2, 3], [1, 0], [0, 2], [0, 0]), ([2, 3], [0, -1], [1, 1], [1, 0]), ([2, 2], [1, 1], [1, 1], [1, 1]), ([0], [2], [1], [3]), ([0, 2], [1, 0], [1, 0], [0, 1]), ([], [], [], []), ([1], [0], [-1], [0]),
    ]
    for (shape, low, high, interior), dtype in zip(pads, itertools.cycle(["f32", "i32", "f64", "f16", "u8", "bool"])):
        x = counted(shape, dtype)
        fill = {"f32": -INF, "f64": NAN, "bool": True}.get(dtype, 7)
        y = wide(x).numpy()
        for axis in range(len(shape)):
            n = y.shape[axis]
            spread = np.full([n + max(n - 1, 0) * interior[axis] if a == axis else d for a, d in enumerate(y.shape)], float(fill))
            np.moveaxis(spread, axis, 0)[:: interior[axis] + 1] = np.moveaxis(y, axis, 0)
            grow = [(max(low[axis], 0), max(high[axis], 0)) if a == axis else (0, 0) for a in range(y.ndim)]
            y = np.pad(spread, grow, constant_values=float(fill))
            y = np.take(y, range(max(-low[axis], 0), y.shape[axis] - max(-high[axis], 0)), axis)
        attrs = {"value": scalar(fill, dtype), "low": low, "high": high, "interior": interior}
        cases.add(name_of("pad", dtype, shape, low, high, interior), "pad", attrs, [x], [torch.from_numpy(np.array(y)).to(DTYPES[dtype])], NUMPY, "exact")

    joins = [([[2], [3]], 0), ([[2, 3], [2, 1], [2, 2]], 1), ([[1, 2], [3, 2]], 0), ([[0, 2], [2, 2]], 0), ([[3]], 0), ([[2, 2, 1], [2, 2, 2]], 2), ([[0], [0]], 0)]
    for (shapes, axis), dtype in zip(joins, ["f32", "f64", "i64", "bf16", "u8", "bool", "f16"]):
        xs = [counted(shape, dtype) for shape in shapes]
        cases.add(name_of("concatenate", dtype, *shapes, axis), "concatenate", {"axis": axis}, xs, [torch.cat(xs, axis)], TORCH, "exact")

    for shape, axes, dtype in [([4], [0], "f32"), ([2, 3], [0], "f64"), ([2, 3], [1], "i32"), ([2, 3], [0, 1], "u8"), ([2, 3, 2], [0, 2], "bf16"), ([0, 2], [0, 1], "f32"), ([2], [], "bool"), ([], [], "f16")]:
        x = counted(shape, dtype)
        cases.add(name_of("reverse", dtype, shape, axes), "reverse", {"axes": axes}, [x], [x.flip(axes)], TORCH, "exact")


def reduce(cases):
    subsets = [[0], [1], [2], [0, 1], [0, 2], [1, 2], [0, 1, 2], []]
    for op, f in {"reduce_sum": np.sum, "reduce_prod": np.prod, "reduce_max": np.max, "reduce_min": np.min}.items():
        plan = [("f32", [2, 3, 4], axes) for axes in subsets]
        plan += [(d, [3, 5], axes) for d in ("f64", "f16", "bf16", "i64", "i32", "u8") for axes in ([0], [1])]
        plan += [("f32", [0], [0]), ("f32", [2, 0], [1]), ("f64", [2, 0], [0]), ("i32", [0, 3], [0]), ("f32", [], []), ("f32", [67], [0])]
        for dtype, shape, axes in plan:
            x = drawn(shape, dtype)
            if op == "reduce_prod" and dtype in INTS:
                x = x + (x == 0)
            numbers = (wide(x) if dtype in FLOATS else x).numpy()
            identity = {"reduce_max": -INF, "reduce_min": INF}.get(op)
            if dtype in FLOATS:
                y = f(numbers, axis=tuple(axes), **({} if identity is None else {"initial": identity}))
                y = narrow(np.array(y), dtype)
            else:
                info = np.iinfo(numbers.dtype)
                limits = {"reduce_max": {"initial": info.min}, "reduce_min": {"initial": info.max}}
                y = np.array(f(numbers, axis=tuple(axes), **limits.get(op, {"dtype": numbers.dtype})))
            exact = dtype in INTS or op in ("reduce_max", "reduce_min")
            cases.add(name_of(op, dtype, shape, axes), op, {"axes": axes}, [x], [y], NUMPY, "exact" if exact else "reduction")

    specials = [[1.0, NAN, 2.0], [INF, 1.0, 2.0], [-INF, -1.0, 3.0], [INF, -INF, 1.0], [NAN, INF, -INF], [0.0, INF, 2.0]]
    for dtype in ("f32", "f64", "bf16"):
        x = tensor(specials, dtype)
        with np.errstate(invalid="ignore"):
            for op, f in {"reduce_sum": np.sum, "reduce_prod": np.prod, "reduce_max": np.max, "reduce_min": np.min}.items():
                y = narrow(f(wide(x).numpy(), axis=1), dtype)
                kind = "reduction" if op in ("reduce_sum", "reduce_prod") else "exact"
                cases.add(name_of(op, dtype, "specials"), op, {"axes": [1]}, [x], [y], NUMPY, kind)
    x = tensor([2**31 - 1, 2, 100000, 100000], "i32")
    cases.add("reduce_sum_i32_wraps", "reduce_sum", {"axes": [0]}, [x], [np.sum(x.numpy(), dtype=np.int32)], NUMPY, "exact")
    cases.add("reduce_prod_i32_wraps", "reduce_prod", {"axes": [0]}, [x], [np.prod(x.numpy(), dtype=np.int32)], NUMPY, "exact")
    x = tensor([200, 100, 50], "u8")
    cases.add("reduce_sum_u8_wraps", "reduce_sum", {"axes": [0]}, [x], [np.sum(x.numpy(), dtype=np.uint8)], NUMPY, "exact")
    x = narrow(torch.full([600], 1.0), "bf16")
    cases.add("reduce_sum_bf16_accumulates_in_f32", "reduce_sum", {"axes": [0]}, [x], [tensor(600.0, "bf16")], NUMPY, "reduction")
    x = narrow(torch.full([40], 1000.0), "f16")
    cases.add("reduce_sum_f16_accumulates_in_f32", "reduce_sum", {"axes": [0]}, [x], [tensor(40000.0, "f16")], NUMPY, "reduction")

    for op, f in {"reduce_any": np.any, "reduce_all": np.all}.items():
        for shape, axes in [([4], [0]), ([3, 4], [0]), ([3, 4], [1]), ([3, 4], [0, 1]), ([2, 0], [1]), ([2, 3], []), ([], [])]:
            x = torch.rand(shape) < (0.2 if op == "reduce_any" else 0.8)
            y = np.array(f(x.numpy(), axis=tuple(axes)))
            cases.add(name_of(op, "bool", shape, axes), op, {"axes": axes}, [x], [y], NUMPY, "exact")

    for op, f in {"argmax": np.argmax, "argmin": np.argmin}.items():
        for dtype in FLOATS + ["i64", "i32", "u8"]:
            for shape, axis in [([9], 0), ([4, 5], 0), ([4, 5], 1)]:
                x = drawn(shape, dtype)
                y = np.array(f((wide(x) if dtype in FLOATS else x).numpy(), axis=axis))
                cases.add(name_of(op, dtype, shape, axis), op, {"axes": [axis]}, [x], [y], NUMPY, "exact")
        x = tensor([[1.0, NAN, 2.0, NAN], [3.0, 3.0, -1.0, -1.0], [INF, 1.0, INF, -INF], [-INF, -INF, -INF, -INF]], "f32")
        cases.add(f"{op}_f32_specials", op, {"axes": [1]}, [x], [f(x.numpy(), axis=1)], NUMPY, "exact")
        x = drawn([2, 3, 4], "f32")
        cases.add(f"{op}_f32_middle_axis", op, {"axes": [1]}, [x], [f(x.numpy(), axis=1)], NUMPY, "exact")


def contract(cases):
    # left shape, right shape, batch axes left and right, summed axes left and right
    plan = [
        ([3, 4], [4, 5], [], [], [1], [0]),
        ([4, 3], [5, 4], [], [], [0], [1]),
        ([7], [7], [], [], [0], [0]),
        ([3], [2], [], [], [], []),
        ([2, 3, 4], [2, 4, 5], [0], [0], [2], [1]),
        ([3, 2, 4], [4, 2, 5], [1], [1], [2], [0]),
        ([2, 3, 4], [4, 3, 5], [], [], [2, 1], [0, 1]),
        ([2, 3, 2, 4], [2, 4, 3, 2], [0, 1], [0, 2], [3], [1]),
        ([2, 3], [2, 3], [0, 1], [0, 1], [], []),
        ([], [3], [], [], [], []),
        ([3, 0], [0, 2], [], [], [1], [0]),
        ([0, 3], [3, 2], [], [], [1], [0]),
        ([2, 5, 3], [2, 5], [0], [0], [1], [1]),
    ]
    for lhs, rhs, lb, rb, lc, rc in plan:
        dtypes = ["f32", "f64"] + (["f16", "bf16", "i32", "i64", "u8"] if lhs in ([3, 4], [2, 3, 4]) else [])
        for dtype in dtypes:
            x, y = drawn(lhs, dtype), drawn(rhs, dtype)
            letters = iter("abcdefghijkl")
            left, right = [next(letters) for _ in lhs], [next(letters) for _ in rhs]
            for a, b in zip(lb + lc, rb + rc):
                right[b] = left[a]
            out = [left[a] for a in lb]
            out += [c for a, c in enumerate(left) if a not in lb + lc] + [c for b, c in enumerate(right) if b not in rb + rc]
            equation = f"{''.join(left)},{''.join(right)}->{''.join(out)}"
            to_numpy = (lambda t: wide(t).numpy()) if dtype in FLOATS else (lambda t: t.numpy())
            z = np.array(np.einsum(equation, to_numpy(x), to_numpy(y)))
            z = narrow(z, dtype) if dtype in FLOATS else z
            attrs = {"lhs_batch": lb, "rhs_batch": rb, "lhs_contract": lc, "rhs_contract": rc}
            kind = "exact" if dtype in INTS else "reduction"
            cases.add(name_of("dot_general", dtype, lhs, rhs, lb, rb, lc, rc), "dot_general", attrs, [x, y], [z], NUMPY, kind)


def index(cases):
    def gather(x, indices, axis, batch, mode):
        """By the definition: result[b.., p.., i.., q..] = x[b.., p.., indices[b.., i..], q..]."""
        n = x.shape[axis]
        clamped = np.clip(indices, 0, max(n - 1, 0))
        rows = []
        for b in np.ndindex(*x.shape[:batch]):
            row = np.take(x[b], clamped[b], axis - batch)
            if mode == "fill":
                outside = (indices[b] != clamped[b]).reshape([1] * (axis - batch) + list(indices[b].shape) + [1] * (x.ndim - axis - 1))
                row = np.where(outside, 0, row)
            rows.append(row)
        return np.array(rows).reshape(list(x.shape[:batch]) + list(rows[0].shape))

    plan = [
        ("rows", [5, 3], 0, 0, [[0, 4, 2, 2]]), ("rows_rank_2", [5, 3], 0, 0, [[[1, 0], [4, 3]]]), ("scalar_index", [4, 2], 0, 0, [3]),
        ("columns", [2, 5], 1, 0, [[4, 0, 1]]), ("along_rows", [3, 4], 1, 1, [[3, 0, 1]]), ("along_rows_two", [3, 4], 1, 1, [[[3, 0], [0, 0], [1, 2]]]),
        ("middle", [2, 3, 2], 1, 0, [[2, 0]]), ("batch_middle", [2, 2, 3, 2], 2, 1, [[[2, 0], [1, 1]]]), ("vector", [6], 0, 0, [[5, 5, 0]]),
    ]
    for (name, shape, axis, batch, [indices]), dtype in zip(plan, itertools.cycle(["f32", "f64", "bf16", "i64", "f16", "u8", "bool"])):
        x = counted(shape, dtype)
        i = tensor(indices, "i64" if axis == 0 else "i32")
        y = torch.from_numpy(gather(wide(x).numpy(), i.numpy(), axis, batch, "error")).to(DTYPES[dtype])
        cases.add(f"gather_{name}_{dtype}", "gather", {"axis": axis, "batch": batch, "mode": "error"}, [x, i], [y], NUMPY, "exact")
    for mode in ("clamp", "fill"):
        for dtype in ("f32", "i32"):
            x = counted([4, 2], dtype)
            i = tensor([-1, 0, 3, 4, 100, -(2**63), 2**63 - 1], "i64")
            y = torch.from_numpy(gather(wide(x).numpy(), i.numpy(), 0, 0, mode)).to(DTYPES[dtype])
            cases.add(f"gather_{mode}_{dtype}", "gather", {"axis": 0, "batch": 0, "mode": mode}, [x, i], [y], NUMPY, "exact")
    x, i = counted([3, 2], "f32"), torch.zeros(0, dtype=torch.int64)
    cases.add("gather_nothing", "gather", {"axis": 0, "batch": 0, "mode": "error"}, [x, i], [x[i]], TORCH, "exact")

    for dtype in ("f64", "f32", "i32", "i64"):
        x, u = drawn([5, 3], dtype), drawn([6, 3], dtype)
        i = tensor([0, 2, 2, 4, 0, 2], "i64")
        y = torch.index_add(x, 0, i, u)
        kind = "exact" if dtype in INTS else "reduction"
        cases.add(f"scatter_add_rows_{dtype}", "scatter", {"axis": 0, "batch": 0, "mode": "error", "combine": "add"}, [x, i, u], [y], TORCH, kind)
        x, u = drawn([4, 3], dtype), drawn([4], dtype)
        i = tensor([2, 0, 1, 2], "i64")
        y = torch.scatter_add(x, 1, i[:, None], u[:, None])
        cases.add(f"scatter_add_along_{dtype}", "scatter", {"axis": 1, "batch": 1, "mode": "error", "combine": "add"}, [x, i, u], [y], TORCH, kind)
        x, u = drawn([3, 2], dtype), drawn([3, 2], dtype)
        i = tensor([-1, 1, 3], "i64")
        y = torch.index_add(x, 0, i[1:2], u[1:2])
        cases.add(f"scatter_add_fill_{dtype}", "scatter", {"axis": 0, "batch": 0, "mode": "fill", "combine": "add"}, [x, i, u], [y], TORCH, kind)
        y = torch.index_add(x, 0, i.clamp(0, 2), u)
        cases.add(f"scatter_add_clamp_{dtype}", "scatter", {"axis": 0, "batch": 0, "mode": "clamp", "combine": "add"}, [x, i, u], [y], TORCH, kind)

    # `set` one after the other is NumPy's assignment; the others are PyTorch's scatter_reduce.
    attrs = {"axis": 0, "batch": 0, "mode": "error"}
    for dtype in ("f64", "f32", "bf16", "i32", "u8", "bool"):
        x, u = drawn([5, 3], dtype), drawn([4, 3], dtype)
        i = tensor([0, 2, 2, 4], "i64")
        y = x.clone()
        for k, at in enumerate(i):
            y[at] = u[k]
        cases.add(f"scatter_set_{dtype}", "scatter", {**attrs, "combine": "set"}, [x, i, u], [y], TORCH, "exact")
    for combine, reduce in (("mul", "prod"), ("min", "amin"), ("max", "amax")):
        for dtype in ("f64", "f32", "i32"):
            x, u = drawn([5, 3], dtype), drawn([4, 3], dtype)
            i = tensor([0, 2, 2, 4], "i32")
            y = torch.scatter_reduce(x, 0, i.to(torch.int64)[:, None].expand(4, 3), u, reduce)
            kind = "reduction" if combine == "mul" and dtype not in INTS else "exact"
            cases.add(f"scatter_{combine}_{dtype}", "scatter", {**attrs, "combine": combine}, [x, i, u], [y], TORCH, kind)


def scan(cases):
    for dtype in ("f64", "f32", "f16", "i64", "i32"):
        exact = dtype in INTS
        for shape, axis in (([7], 0), ([3, 4], 1), ([2, 3, 2], 1)):
            if dtype in ("f16", "i32") and shape != [7]:
                continue
            x = drawn(shape, dtype)
            wider = x if exact or dtype == "f64" else x.to(torch.float32)
            size = "x".join(map(str, shape))
            for reverse in (False, True)[: len(shape)]:
                turned = wider.flip(axis) if reverse else wider
                back = (lambda y: y.flip(axis)) if reverse else (lambda y: y)
                attrs = {"axis": axis, **({"reverse": "true"} if reverse else {})}
                name = f"{dtype}_{size}_{axis}" + ("_reverse" if reverse else "")
                for op, f in (("cumsum", torch.cumsum), ("cumprod", torch.cumprod)):
                    y = back(f(turned, axis, dtype=turned.dtype)).to(DTYPES[dtype])
                    cases.add(f"{op}_{name}", op, attrs, [x], [y], TORCH, "exact" if exact else "reduction")
                for op, f in (("cummax", torch.cummax), ("cummin", torch.cummin)):
                    y = back(f(turned, axis).values).to(DTYPES[dtype])
                    cases.add(f"{op}_{name}", op, attrs, [x], [y], TORCH, "exact")
                if dtype == "f16":
                    continue
                a = drawn(shape, dtype)
                d, v = (a.flip(axis), x.flip(axis)) if reverse else (a, x)
                y, running = [], torch.zeros_like(v.select(axis, 0))
                for k in range(shape[axis]):
                    running = d.select(axis, k) * running + v.select(axis, k)
                    y.append(running)
                y = back(torch.stack(y, axis))
                kind = "exact" if exact else "reduction"
                cases.add(f"linear_recurrence_{name}", "linear_recurrence", attrs, [a, x], [y], TORCH, kind)


def sort(cases):
    nan, inf = float("nan"), float("inf")
    odd = [1.0, nan, -inf, 0.0, -0.0, 2.5, nan, inf, -0.0, 0.0, 1.0, -3.0]
    for descending in (False, True):
        attrs = lambda axis: {"axis": axis, **({"descending": "true"} if descending else {})}
        name = "descending" if descending else "ascending"
        for dtype in ("f64", "f32", "f16", "bf16", "i64", "i32", "u8", "bool"):
            for shape, axis in (([6], 0), ([3, 5], 0), ([3, 5], 1))[: 3 if dtype in ("f32", "i64") else 1]:
                x = drawn(shape, dtype)
                y = torch.sort(x, dim=axis, stable=True, descending=descending).indices
                size = "x".join(map(str, shape))
                cases.add(f"argsort_{dtype}_{size}_{axis}_{name}", "argsort", attrs(axis), [x], [y], TORCH, "exact")
            if dtype in FLOATS:
                x = tensor(odd, dtype)
                y = torch.sort(x, stable=True, descending=descending).indices
                cases.add(f"argsort_{dtype}_odd_{name}", "argsort", attrs(0), [x], [y], TORCH, "exact")


def record(cases):
    create(cases)
    move(cases)
    reduce(cases)
    contract(cases)
    index(cases)
    scan(cases)
    sort(cases)
