"""Norms, quantiles, statistics and scattered means, with gradients by torch.autograd, as in functions.py."""

import math

import numpy as np
import torch
import torch.nn.functional as F

from .cases import NUMPY, TORCH, tensor
from .functions import differentiated, normal, spread

INF, NAN = float("inf"), float("nan")
ONE = {"dtypes": ("f64",)}


def word(p):
    return str(p).replace("-", "m").replace(".", "_")


def norms(cases):
    orders = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, INF, -INF, -1.0]
    vector_norm = torch.linalg.vector_norm
    for p in orders:
        attrs = {"p": str(p), "dim": [1], "keepdim": False}
        f = lambda x: vector_norm(x, p, 1) + (x * 0).sum(1)
        differentiated(cases, f"norm_{word(p)}", "norm", f, [spread(2, 3)], attrs, dtypes=("f64", "f32") if p in (2.0, 3.0) else ("f64",))
        # Zeros and ties, where the derivative is a choice.
        x = tensor([[0.0, 0.0, 0.0], [2.0, 0.0, -2.0], [1.0, 0.0, -2.0]], "f64")
        differentiated(cases, f"norm_{word(p)}_zeros", "norm", f, [x], attrs, specials=True, **ONE)
        if math.isfinite(p) and p >= 0:
            f = lambda x: vector_norm(x, p, 1)
            differentiated(cases, f"norm_{word(p)}_empty", "norm", f, [normal(2, 0)], attrs, gradients=False, **ONE)
    for dims in ([0], [0, 2], [2, 1], [0, 1, 2]):
        for keepdim in (False, True):
            attrs = {"p": "2.0", "dim": dims, "keepdim": keepdim}
            name = "norm_over_" + "_".join(map(str, dims)) + ("_keepdim" if keepdim else "")
            differentiated(cases, name, "norm", lambda x: vector_norm(x, 2, dims, keepdim), [normal(2, 3, 2)], attrs, **ONE)
    odd = tensor([[1.0, NAN, 2.0], [INF, 1.0, -INF], [1e200, 1.0, 0.0]], "f64")
    for p in (0.0, 1.0, 2.0, INF, -INF):
        attrs = {"p": str(p), "dim": [1], "keepdim": False}
        differentiated(cases, f"norm_{word(p)}_odd", "norm", lambda x: vector_norm(x, p, 1), [odd], attrs, gradients=False, **ONE)
    for kind, order in {"Frobenius": "fro", "One": 1, "MinusOne": -1, "Infinity": INF, "MinusInfinity": -INF}.items():
        for dims in ([0, 1], [1, 0]):
            f = lambda x: torch.linalg.matrix_norm(x, order, dims)
            differentiated(cases, f"matrix_norm_{kind}_{dims[0]}{dims[1]}", "matrix_norm", f, [normal(2, 3)], {"norm": kind, "dim": dims, "keepdim": False}, **ONE)
        f = lambda x: torch.linalg.matrix_norm(x, order, (-1, 0), keepdim=True)
        differentiated(cases, f"matrix_norm_{kind}_batch", "matrix_norm", f, [normal(2, 2, 3)], {"norm": kind, "dim": [-1, 0], "keepdim": True}, **ONE)
    x = torch.cat([normal(2, 3), torch.zeros(1, 3, dtype=torch.float64)])
    for p, dim in [(2.0, 1), (1.0, 0), (3.0, -1), (INF, 1)]:
        differentiated(cases, f"normalize_{word(p)}_{word(dim)}", "normalize", lambda x: F.normalize(x, p, dim), [x if p == 2.0 else normal(2, 3)], {"p": str(p), "dim": dim, "eps": 1e-12}, **ONE)
    for a, b, dim in [((2, 3), (2, 3), 1), ((2, 3), (3,), 1), ((2, 1, 3), (4, 3), 0)]:
        f = lambda a, b: F.cosine_similarity(a, b, dim)
        differentiated(cases, f"cosine_similarity_{len(a)}_{len(b)}_{dim}", "cosine_similarity", f, [normal(*a), normal(*b)], {"dim": dim, "eps": 1e-8}, **ONE)
    for p in (1.0, 2.0, 3.5):
        f = lambda a, b: F.pairwise_distance(a, b, p)
        differentiated(cases, f"pairwise_distance_{word(p)}", "pairwise_distance", f, [normal(2, 3), normal(2, 3)], {"p": str(p), "eps": 1e-6}, **ONE)
    near = normal(3, 2)
    for p in (0.0, 1.0, 2.0, 3.0, INF):
        f = lambda a, b: torch.cdist(a, b, p, compute_mode="donot_use_mm_for_euclid_dist") + 0 * (a.sum() + b.sum())
        differentiated(cases, f"cdist_{word(p)}", "cdist", f, [normal(2, 3), normal(4, 3)], {"p": str(p)}, **ONE)
    f = lambda a, b: torch.cdist(a, b, 2.0, compute_mode="donot_use_mm_for_euclid_dist")
    differentiated(cases, "cdist_same", "cdist", f, [near, near.clone()], {"p": "2.0"}, **ONE)
    differentiated(cases, "cdist_batch", "cdist", f, [normal(2, 1, 2, 3), normal(3, 2, 3)], {"p": "2.0"}, **ONE)


def quantiles(cases):
    x = spread(3, 4)
    for mode in ("linear", "lower", "higher", "midpoint", "nearest"):
        q = torch.tensor([0.0, 0.15, 0.5, 0.625, 1.0], dtype=torch.float64)
        f = lambda x: x.quantile(q, 1, interpolation=mode)
        differentiated(cases, f"quantile_several_{mode}", "quantile_with", f, [x], {"q": q.tolist(), "dim": [1], "mode": mode}, **ONE)
    q = [0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0]
    for method in ["inverted_cdf", "averaged_inverted_cdf", "closest_observation", "interpolated_inverted_cdf", "hazen", "weibull", "median_unbiased", "normal_unbiased", "linear", "nearest", "midpoint"]:
        for n in (1, 4, 5):
            x = spread(2, n)
            y = np.quantile(x.numpy(), q, axis=1, method=method)
            cases.add(f"quantile_{method}_{n}", "quantile_with", {"q": q, "dim": [1], "mode": method}, [x], [y], NUMPY, "composition")
    x = spread(2, 3, 2)
    for dims, keepdim in [([0, 2], False), ([2, 0], True), ([0, 1, 2], False), ([1], True)]:
        y = np.quantile(x.numpy(), 0.3, axis=tuple(dims), keepdims=keepdim)
        cases.add(f"quantile_over_{'_'.join(map(str, dims))}_{keepdim}", "quantile_with", {"q": [0.3], "one": True, "dim": dims, "keepdim": keepdim, "mode": "linear"}, [x], [np.array(y)], NUMPY, "composition")
    odd = tensor([[1.0, NAN, 3.0, 2.0], [NAN, NAN, NAN, NAN], [INF, INF, -INF, 0.0], [4.0, 3.0, 2.0, 1.0]], "f64")
    for mode in ("linear", "higher"):
        q = torch.tensor([0.0, 0.4, 1.0], dtype=torch.float64)
        f = lambda x: x.nanquantile(q, 1, interpolation=mode)
        differentiated(cases, f"nanquantile_{mode}", "nanquantile", f, [odd[[0, 1, 3]]], {"q": q.tolist(), "dim": [1], "mode": mode}, gradients=False, **ONE)
    differentiated(cases, "nanmedian", "nanmedian", lambda x: x.nanmedian(1).values, [odd], {"dim": [1]}, "exact", gradients=False, **ONE)
    differentiated(cases, "nanmedian_indices", "nanmedian_indices", lambda x: x.nanmedian(1).indices, [odd[[0, 3]]], {"dim": [1]}, "exact", gradients=False, **ONE)
    x = spread(2, 3, 2)
    f = lambda x: x.transpose(0, 1).reshape(3, 4).median(1).values
    differentiated(cases, "median_over_two", "median_over", f, [x], {"dim": [0, 2]}, "exact", **ONE)
    differentiated(cases, "median_of_all", "median_over", lambda x: x.median(), [x], {"dim": [0, 1, 2]}, "exact", **ONE)


def statistics(cases):
    x = spread(2, 3, 2)
    for op in ("argmax", "argmin"):
        f = getattr(np, op)
        for dims in ([0, 1, 2], [0, 2], [1]):
            rest = [a for a in range(3) if a not in dims]
            flat = x.numpy().transpose(*rest, *dims).reshape(*[x.shape[a] for a in rest], -1)
            cases.add(f"{op}_over_{'_'.join(map(str, dims))}", op, {"dim": dims, "keepdim": False}, [x], [np.array(f(flat, axis=-1))], NUMPY, "exact")
        y = getattr(torch, op)(x, 1, keepdim=True)
        cases.add(f"{op}_keepdim", op, {"dim": [1], "keepdim": True}, [x], [y], TORCH, "exact")
    odd = tensor([[1.0, NAN, 0.0], [NAN, NAN, NAN], [0.0, -0.0, INF]], "f64")
    y = torch.count_nonzero(odd, 1)
    cases.add("count_nonzero", "count_nonzero", {"dim": [1], "keepdim": False}, [odd], [y], TORCH, "exact")
    for op in ("nansum", "nanmean"):
        f = getattr(torch, op)
        for dims, keepdim in [([1], False), ([0, 1], True)]:
            attrs = {"dim": dims, "keepdim": keepdim}
            name = f"{op}_{len(dims)}"
            differentiated(cases, name, op, lambda x: f(x, dims, keepdim), [odd[:1] if op == "nanmean" else odd[:2]], attrs, "reduction", **ONE)
            differentiated(cases, f"{name}_odd", op, lambda x: f(x, dims, keepdim), [odd], attrs, "reduction", gradients=False, **ONE)
    for shape, n, dim in [((5,), 1, 0), ((5,), 2, 0), ((2, 4), 3, 1), ((3, 2), 1, 0), ((2,), 3, 0), ((3,), 0, 0), ((0, 2), 1, 0)]:
        differentiated(cases, "diff_" + "x".join(map(str, shape)) + f"_{n}_{dim}", "diff", lambda x: torch.diff(x, n, dim) * 1, [normal(*shape)], {"n": n, "dim": dim}, "reduction", **ONE)
    x = torch.tensor([True, True, False, True])
    cases.add("diff_bool", "diff", {"n": 1, "dim": 0}, [x], [torch.diff(x)], TORCH, "exact")
    for shape, dim in [((4,), 0), ((2, 3), 0), ((2, 3), -1), ((1, 2), 0), ((2, 0), 1)]:
        differentiated(cases, "trapezoid_" + "x".join(map(str, shape)) + f"_{word(dim)}", "trapezoid", lambda x: torch.trapezoid(x, dx=0.7, dim=dim) + 0 * x.sum(), [normal(*shape)], {"dx": 0.7, "dim": dim}, "reduction", **ONE)
    differentiated(cases, "trapezoid_at", "trapezoid_at", lambda y, x: torch.trapezoid(y, x, dim=1), [normal(2, 4), normal(4)], {"dim": 1}, "reduction", **ONE)
    differentiated(cases, "trapezoid_at_each", "trapezoid_at", lambda y, x: torch.trapezoid(y, x, dim=0), [normal(3, 2), normal(3, 2)], {"dim": 0}, "reduction", **ONE)
    for a, b, dim in [((3,), (3,), 0), ((2, 3), (2, 3), 1), ((3, 2), (3, 1), 0), ((2, 1, 3), (4, 3), -1)]:
        f = lambda a, b: torch.linalg.cross(a, b if a.ndim == b.ndim else b[None], dim=dim)
        differentiated(cases, f"cross_{len(a)}_{len(b)}_{word(dim)}", "cross", f, [normal(*a), normal(*b)], {"dim": dim}, "reduction", **ONE)
    for correction in (0, 1):
        differentiated(cases, f"cov_{correction}", "cov", lambda x: torch.cov(x, correction=correction), [normal(3, 4)], {"correction": correction}, **ONE)
    differentiated(cases, "cov_vector", "cov", lambda x: torch.cov(x), [normal(5)], {"correction": 1}, **ONE)
    differentiated(cases, "corrcoef", "corrcoef", torch.corrcoef, [normal(3, 5)], {}, **ONE)


def further(cases):
    x = torch.tensor([[3, 1, 3, 1, 2], [5, 5, 4, 4, 4], [1, 2, 3, 4, 5]])
    for dim in (0, 1):
        cases.add(f"mode_{dim}", "mode", {"dim": dim}, [x], [torch.mode(x, dim).values], TORCH, "exact")
    differentiated(cases, "mode_float", "mode", lambda x: torch.mode(x, 1).values, [x.to(torch.float64)], {"dim": 1}, "exact", gradients=False, **ONE)
    differentiated(cases, "renorm", "renorm", lambda x: x.renorm(2, 0, 1.0), [normal(3, 2)], {"p": "2.0", "dim": 0, "most": 1.0}, **ONE)
    differentiated(cases, "renorm_1", "renorm", lambda x: x.renorm(1, 1, 2.5), [normal(2, 3, 2)], {"p": "1.0", "dim": 1, "most": 2.5}, **ONE)
    for p in (0.0, 1.0, 2.0, INF):
        differentiated(cases, f"pdist_{word(p)}", "pdist", lambda x: torch.pdist(x, p) + 0 * x.sum(), [normal(4, 3)], {"p": str(p)}, **ONE)
    differentiated(cases, "pdist_one", "pdist", lambda x: torch.pdist(x) + 0 * x.sum(), [normal(1, 3)], {"p": "2.0"}, **ONE)
    differentiated(cases, "dist", "dist", lambda x, y: torch.dist(x, y, 3.0), [normal(2, 3), normal(3)], {"p": "3.0"}, **ONE)
    for shape, dim in [((2,), 0), ((3, 4), 1), ((5, 2), 0)]:
        f = lambda x: torch.gradient(x, spacing=0.5, dim=dim)[0]
        differentiated(cases, "gradient_" + "x".join(map(str, shape)), "gradient", f, [normal(*shape)], {"dx": 0.5, "dim": dim}, "reduction", **ONE)
    for shape, dim in [((4,), 0), ((2, 3), 1), ((1, 2), 0)]:
        f = lambda x: torch.cumulative_trapezoid(x, dx=0.5, dim=dim) + 0 * x.sum()
        differentiated(cases, "cumulative_trapezoid_" + "x".join(map(str, shape)), "cumulative_trapezoid", f, [normal(*shape)], {"dx": 0.5, "dim": dim}, "reduction", **ONE)
    differentiated(cases, "vecdot", "vecdot", lambda x, y: torch.linalg.vecdot(x, y), [normal(2, 3), normal(3)], {"dim": -1}, "reduction", **ONE)
    differentiated(cases, "vecdot_0", "vecdot", lambda x, y: torch.linalg.vecdot(x, y, dim=0), [normal(2, 3), normal(2, 1)], {"dim": 0}, "reduction", **ONE)


def scattered(cases):
    i = torch.tensor([[2, 0, 2], [1, 1, 3]])
    for reduce in ("sum", "prod", "mean", "amax", "amin"):
        for include in (False, True):
            if include and reduce != "mean":
                continue
            f = lambda x, i, u: x.scatter_reduce(1, i, u, reduce, include_self=include)
            attrs = {"dim": 1, "reduce": reduce, "include_self": include}
            differentiated(cases, f"scatter_reduce_{reduce}_{include}", "scatter_reduce", f, [normal(2, 4), i, normal(2, 3)], attrs, "reduction", **ONE)
    i = torch.tensor([2, 0, 2])
    for reduce in ("prod", "mean", "amax", "amin"):
        for include in (False, True):
            f = lambda x, i, u: x.index_reduce(0, i, u, reduce, include_self=include)
            attrs = {"dim": 0, "reduce": reduce, "include_self": include}
            differentiated(cases, f"index_reduce_{reduce}_{include}", "index_reduce", f, [normal(4, 2), i, normal(3, 2)], attrs, "reduction", **ONE)
    x, i, u = torch.tensor([7, -7, 3]), torch.tensor([0, 1, 1]), torch.tensor([2, -2, 1])
    for include in (False, True):
        y = x.scatter_reduce(0, i, u, "mean", include_self=include)
        cases.add(f"scatter_reduce_mean_i64_{include}", "scatter_reduce", {"dim": 0, "reduce": "mean", "include_self": include}, [x, i, u], [y], TORCH, "exact")


def record(cases):
    norms(cases)
    quantiles(cases)
    statistics(cases)
    scattered(cases)
    further(cases)
