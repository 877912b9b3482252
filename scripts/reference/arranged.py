"""Functions that rearrange, repeat and pad, with gradients by torch.autograd, as in functions.py."""

import torch
import torch.nn.functional as F

from .cases import TORCH, tensor
from .functions import differentiated, normal

ONE = {"dtypes": ("f64",)}


def pads(cases):
    """Each axis by itself, which for PyTorch means one axis at a time with leading ones."""

    def padded(x, pad, mode):
        for axis, (low, high) in enumerate(pad):
            if low + high:
                n = x.shape[axis]
                rows = x.movedim(axis, -1).reshape(1, -1, n)
                rows = F.pad(rows, (low, high), mode)
                rest = [d for a, d in enumerate(x.shape) if a != axis]
                x = rows.reshape(*rest, n + low + high).movedim(-1, axis)
        return x

    plan = [((4,), [[3, 3]]), ((4,), [[0, 2]]), ((3, 5), [[1, 2], [3, 0]]), ((2, 2, 3), [[1, 0], [0, 1], [2, 2]]), ((3, 1), [[2, 1], [0, 0]])]
    for mode in ("reflect", "replicate", "circular"):
        for shape, pad in plan:
            name = f"pad_{mode}_" + "_".join(f"{n}_{low}_{high}" for n, (low, high) in zip(shape, pad))
            attrs = {"pad": [e for pair in pad for e in pair], "mode": mode}
            differentiated(cases, name, "pad", lambda x: padded(x, pad, mode), [normal(*shape)], attrs, "reduction", dtypes=("f64", "f32") if shape == (3, 5) else ("f64",))
    x = normal(1)
    differentiated(cases, "pad_replicate_one", "pad", lambda x: F.pad(x[None], (3, 2), "replicate")[0], [x], {"pad": [3, 2], "mode": "replicate"}, "reduction", **ONE)
    differentiated(cases, "pad_circular_one", "pad", lambda x: F.pad(x[None], (1, 1), "circular")[0], [x], {"pad": [1, 1], "mode": "circular"}, "reduction", **ONE)
    f = lambda x: F.pad(x, (1, 2, 0, 1), value=2.5)
    differentiated(cases, "pad_constant", "pad", f, [normal(2, 3)], {"pad": [0, 1, 1, 2], "mode": "constant", "value": 2.5}, "exact", **ONE)
    # The images of two axes at once.
    f = lambda x: F.pad(x, (2, 1, 1, 2), "reflect")
    differentiated(cases, "pad_reflect_images", "pad", f, [normal(2, 3, 4)], {"pad": [0, 0, 1, 2, 2, 1], "mode": "reflect"}, "reduction", **ONE)


def moved(cases):
    for shape, shifts, dims in [((5,), [2], [0]), ((5,), [-7], [0]), ((3, 4), [1, -1], [0, 1]), ((3, 4), [2, 1], [1, 1]), ((3, 4), [0], [1]), ((1, 4), [1, 5], [0, 1]), ((0, 3), [1, 1], [0, 1]), ((2, 3, 2), [1, 2], [2, 0])]:
        name = "roll_" + "x".join(map(str, shape)) + "_" + "_".join(map(str, shifts + dims)).replace("-", "m")
        differentiated(cases, name, "roll", lambda x: x.roll(shifts, dims), [normal(*shape)], {"shifts": shifts, "dims": dims}, "exact", **ONE)
    for shift in (1, -5):
        differentiated(cases, f"roll_flat_{shift}".replace("-", "m"), "roll", lambda x: x.roll(shift), [normal(2, 4)], {"shifts": [shift]}, "exact")
    for shape, times in [((3,), [2]), ((2, 3), [2, 3]), ((3,), [2, 2]), ((2, 1, 2), [3]), ((2, 3), [1, 0]), ((0, 2), [2, 2]), ((), [3])]:
        name = "tile_" + "x".join(map(str, shape)) + "_" + "_".join(map(str, times))
        differentiated(cases, name, "tile", lambda x: x.tile(times), [normal(*shape)], {"dims": times}, "reduction", **ONE)
    for shape, n, dim in [((3,), 2, 0), ((2, 3), 3, 0), ((2, 3), 2, -1), ((2, 3, 2), 2, 1), ((2, 0), 2, 1)]:
        name = "repeat_interleave_" + "x".join(map(str, shape)) + f"_{n}_{dim}".replace("-", "m")
        differentiated(cases, name, "repeat_interleave", lambda x: x.repeat_interleave(n, dim), [normal(*shape)], {"repeats": n, "dim": dim}, "reduction", **ONE)
    counts = torch.tensor([2, 0, 3])
    f = lambda x, n: x.repeat_interleave(n, 1)
    differentiated(cases, "repeat_each", "repeat_each", f, [normal(2, 3), counts], {"dim": 1, "total": 5}, "reduction", **ONE)
    for k in (-1, 0, 1, 2, 7):
        differentiated(cases, f"rot90_{k}".replace("-", "m"), "rot90", lambda x: x.rot90(k, [2, 0]), [normal(2, 1, 3)], {"k": k, "dims": [2, 0]}, "exact", **ONE)
    for source, target in [([0], [2]), ([0, 1], [-1, 0]), ([], [])]:
        name = "movedim_" + "_".join(map(str, source + target)).replace("-", "m")
        differentiated(cases, name, "movedim", lambda x: x.movedim(source, target), [normal(2, 3, 2)], {"source": source, "destination": target}, "exact", **ONE)
    for op in ("hstack", "vstack", "dstack", "column_stack"):
        f = lambda a, b: getattr(torch, op)([a, b])
        differentiated(cases, f"{op}_vectors", op, f, [normal(3), normal(3)], {}, "exact", **ONE)
        differentiated(cases, f"{op}_matrices", op, f, [normal(2, 3), normal(2, 3)], {}, "exact", **ONE)
    differentiated(cases, "block_diag", "block_diag", lambda *x: torch.block_diag(*x), [normal(2, 1), normal(3), normal(0, 2), normal()], {}, "exact", **ONE)
    for indexing in ("ij", "xy"):
        for i in range(3):
            f = lambda *x: torch.meshgrid(*x, indexing=indexing)[i] + 0 * sum(t.sum() for t in x)
            differentiated(cases, f"meshgrid_{indexing}_{i}", "meshgrid", f, [normal(2), normal(3), normal(1)], {"indexing": indexing, "at": i}, "reduction", **ONE)
    differentiated(cases, "cartesian_prod", "cartesian_prod", lambda *x: torch.cartesian_prod(*x), [normal(2), normal(3)], {}, "reduction", **ONE)
    for n, increasing in [(3, True), (4, False), (0, True), (1, False)]:
        x = torch.tensor([1.5, 0.0, -2.0], dtype=torch.float64)
        powers = range(n) if increasing else reversed(range(n))
        columns = list(powers)
        f = lambda x: torch.stack([x**k for k in columns], -1) if columns else x[:, None][:, :0]
        differentiated(cases, f"vander_{n}_{increasing}", "vander", f, [x], {"n": n, "increasing": increasing}, "composition", **ONE)


def matrices(cases):
    for shape, a, b in [((3, 3), 0, 1), ((2, 4), 0, 1), ((4, 2), 1, 0), ((2, 3, 2), 0, 2), ((1, 3), 0, 1), ((0, 3), 0, 1)]:
        for offset in (0, 1, -1, 2, -4) if shape == (2, 4) else (0, -1):
            name = "diagonal_" + "x".join(map(str, shape)) + f"_{a}{b}_{offset}".replace("-", "m")
            differentiated(cases, name, "diagonal", lambda x: x.diagonal(offset, a, b), [normal(*shape)], {"offset": offset, "dim1": a, "dim2": b}, "exact", **ONE)
    for shape in ((3,), (2, 2), (1,), (0,)):
        for offset in (0, 2, -1):
            name = "diag_embed_" + "x".join(map(str, shape)) + f"_{offset}".replace("-", "m")
            differentiated(cases, name, "diag_embed", lambda x: x.diag_embed(offset), [normal(*shape)], {"offset": offset}, "exact", **ONE)
    for shape in ((2, 4), (4, 2), (2, 2, 3), (0, 2)):
        for offset in (0, 1, -2) if shape == (2, 4) else (0, 1):
            for op in ("tril", "triu"):
                name = f"{op}_" + "x".join(map(str, shape)) + f"_{offset}".replace("-", "m")
                differentiated(cases, name, op, lambda x: getattr(x, op)(offset), [normal(*shape)], {"diagonal": offset}, "exact", **ONE)
    for shape in ((3, 3), (2, 4), (3, 1), (0, 0)):
        differentiated(cases, "trace_" + "x".join(map(str, shape)), "trace", torch.trace, [normal(*shape)], {}, "reduction", **ONE)
    for rows, columns, offset in [(3, 3, 0), (2, 4, 1), (4, 2, -1), (0, 3, 0)]:
        for op in ("tril_indices", "triu_indices"):
            y = getattr(torch, op)(rows, columns, offset)
            cases.add(f"{op}_{rows}_{columns}_{offset}".replace("-", "m"), op, {"rows": rows, "columns": columns, "offset": offset}, [], [y], TORCH, "exact")


def windows(cases):
    for shape, dim, size, step in [((7,), 0, 3, 1), ((7,), 0, 3, 2), ((7,), 0, 2, 3), ((8,), 0, 2, 2), ((5,), 0, 5, 1), ((3, 6), 1, 2, 3), ((6, 2), 0, 3, 2), ((4,), 0, 1, 5), ((4,), 0, 0, 2)]:
        name = "unfold_" + "x".join(map(str, shape)) + f"_{dim}_{size}_{step}"
        differentiated(cases, name, "unfold", lambda x: x.unfold(dim, size, step), [normal(*shape)], {"dim": dim, "size": size, "step": step}, "reduction", **ONE)
    for shape, size, step in [((2, 2, 3, 4), [2, 2], [1, 1]), ((1, 1, 4, 4), [2, 2], [2, 2]), ((2, 1, 5, 3), [3, 2], [2, 1])]:
        name = "im2col_" + "x".join(map(str, shape)) + "_" + "_".join(map(str, size + step))
        f = lambda x: F.unfold(x, size, stride=step)
        differentiated(cases, name, "im2col", f, [normal(*shape)], {"size": size, "step": step}, "reduction", **ONE)


def masks(cases):
    mask = torch.tensor([[True, False, True], [False, False, True]])
    row = torch.tensor([True, False, True])
    differentiated(cases, "masked_fill", "masked_fill", lambda x, m: x.masked_fill(m, 1.5), [normal(2, 3), mask], {"value": 1.5}, "exact", **ONE)
    differentiated(cases, "masked_fill_row", "masked_fill", lambda x, m: x.masked_fill(m, -2.0), [normal(2, 3), row], {"value": -2.0}, "exact", **ONE)
    differentiated(cases, "masked_scatter", "masked_scatter", lambda x, m, u: x.masked_scatter(m, u), [normal(2, 3), mask, normal(4)], {}, "exact", **ONE)
    differentiated(cases, "masked_scatter_row", "masked_scatter", lambda x, m, u: x.masked_scatter(m, u), [normal(2, 3), row, normal(2, 2)], {}, "exact", **ONE)
    i = torch.tensor([2, 0])
    differentiated(cases, "index_fill", "index_fill", lambda x, i: x.index_fill(1, i, 0.5), [normal(2, 3), i], {"dim": 1, "value": 0.5}, "exact", **ONE)
    i = torch.tensor([[5, 0], [2, 2]])
    differentiated(cases, "take_flat", "take_flat", lambda x, i: x.take(i), [normal(2, 3), i], {}, "reduction", **ONE)
    i = torch.tensor([5, 0, 2])
    for accumulate in (False, True):
        f = lambda x, i, u: x.flatten().index_put((i,), u, accumulate).reshape(2, 3)
        differentiated(cases, f"put_flat_{accumulate}", "put_flat", f, [normal(2, 3), i, normal(3)], {"accumulate": accumulate}, "reduction", **ONE)
    x = torch.tensor([[0, 3, 0], [4, 0, 5]])
    for size in (2, 3, 5):
        cases.add(f"nonzero_static_{size}", "nonzero_static", {"size": size, "fill": -1}, [x], [torch.nonzero_static(x, size=size, fill_value=-1)], TORCH, "exact")
    y = tensor([1.0, 2.0, float("nan"), -1.0, 0.0, 9.0], "f64").reshape(2, 3)
    for n, values in enumerate([[2.0, 9.0, 2.0], [float("nan"), -1.0], []]):
        v = tensor(values, "f64")
        differentiated(cases, f"isin_{n}", "isin", lambda x, v: torch.isin(x, v), [y, v], {}, "exact", gradients=False, **ONE)
    for right in (False, True):
        b = tensor([-1.0, 0.0, 2.0], "f64")
        differentiated(cases, f"bucketize_{right}", "bucketize", lambda x, b: torch.bucketize(x, b, right=right), [y, b], {"right": right}, "exact", gradients=False, **ONE)
    for sizes, strides, offset in [([2, 3], [1, 1], 1), ([3], [0], 2), ([2, 2, 2], [4, 1, 2], 0), ([0, 2], [1, 1], 0)]:
        name = "as_strided_" + "x".join(map(str, sizes)) + "_" + "_".join(map(str, strides))
        f = lambda x: x.as_strided(sizes, strides, offset) + 0 * x.sum()
        differentiated(cases, name, "as_strided", f, [normal(2, 4)], {"size": sizes, "stride": strides, "offset": offset}, "reduction", **ONE)
    for offset, shape in [(0, (2, 3)), (1, (2, 3)), (-2, (4, 2))]:
        n = torch.zeros(shape).diagonal(offset).shape[0]
        f = lambda x, u: x.diagonal_scatter(u, offset)
        differentiated(cases, f"diagonal_scatter_{offset}".replace("-", "m"), "diagonal_scatter", f, [normal(*shape), normal(n)], {"offset": offset, "dim1": 0, "dim2": 1}, "exact", **ONE)
    f = lambda x, u: x.diagonal_scatter(u, 1, 2, 0)
    differentiated(cases, "diagonal_scatter_axes", "diagonal_scatter", f, [normal(3, 2, 2), normal(2, 2)], {"offset": 1, "dim1": 2, "dim2": 0}, "exact", **ONE)
    for r, repeated in [(2, False), (2, True), (3, False), (1, False)]:
        f = lambda x: torch.combinations(x, r, repeated) + 0 * x.sum()
        differentiated(cases, f"combinations_{r}_{repeated}", "combinations", f, [normal(4)], {"r": r, "repeated": repeated}, "reduction", **ONE)
    differentiated(cases, "pixel_shuffle", "pixel_shuffle", lambda x: F.pixel_shuffle(x, 2), [normal(1, 8, 1, 3)], {"n": 2}, "exact", **ONE)
    differentiated(cases, "pixel_unshuffle", "pixel_unshuffle", lambda x: F.pixel_unshuffle(x, 2), [normal(1, 2, 2, 4)], {"n": 2}, "exact", **ONE)
    differentiated(cases, "channel_shuffle", "channel_shuffle", lambda x: F.channel_shuffle(x, 3) * 1, [normal(1, 6, 1, 2)], {"n": 3}, "exact", **ONE)


def record(cases):
    pads(cases)
    moved(cases)
    matrices(cases)
    windows(cases)
    masks(cases)
