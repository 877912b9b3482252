"""Functions of the frontend, with gradients by torch.autograd. f32 cases are computed in f64 from the f32 inputs and rounded."""

import numpy as np
import torch
import torch.nn.functional as F

from .cases import NUMPY, TORCH, narrow, tensor, wide

INF, NAN = float("inf"), float("nan")


def differentiated(cases, name, op, f, inputs, attrs=None, kind="composition", gradients=True, dtypes=("f64", "f32"), specials=False):
    """Records `f(*inputs)` and, for a random cotangent of each result, the gradient by every float input."""
    for dtype in dtypes:
        given = [narrow(x, dtype) if x.is_floating_point() else x for x in inputs]
        leaves = [wide(x).clone().requires_grad_(gradients) if x.is_floating_point() else x for x in given]
        results = f(*leaves)
        results = results if isinstance(results, tuple) else (results,)
        outputs = [narrow(y.detach(), dtype) if y.is_floating_point() else y for y in results]
        source = TORCH if dtype == "f64" else f"{TORCH} in f64, rounded"
        cotangents = grads = None
        if gradients:
            cotangents = [narrow(torch.ones_like(y) if specials else torch.randn_like(y), dtype) for y in results]
            torch.autograd.backward(results, [wide(c) for c in cotangents])
            grads = [narrow(x.grad, dtype) if x.is_floating_point() else None for x in leaves]
        cases.add(f"{name}_{dtype}", op, attrs or {}, given, outputs, source, kind, cotangents, grads)


def normal(*shape):
    return torch.randn(shape, dtype=torch.float64)


def positive(*shape):
    return torch.rand(shape, dtype=torch.float64) * 3 + 0.1


def spread(*shape):
    """Distinct values at least 0.1 apart, so that no maximum is tied and no kink is hit."""
    n = 1
    for d in shape:
        n *= d
    return ((torch.randperm(n, dtype=torch.float64) - n / 2) * 0.13 + 0.017).reshape(shape)


def pointwise(cases):
    unary = {
        "neg": torch.neg, "abs": torch.abs, "exp": torch.exp, "sin": torch.sin, "cos": torch.cos, "tanh": torch.tanh,
        "sigmoid": torch.sigmoid, "erf": torch.erf, "square": torch.square, "relu": F.relu, "silu": F.silu,
        "softplus": F.softplus, "log_sigmoid": F.logsigmoid, "elu": F.elu, "leaky_relu": F.leaky_relu, "expm1": torch.expm1,
    }
    for op, f in unary.items():
        attrs = {"elu": {"alpha": 1.0}, "leaky_relu": {"negative_slope": 0.01}}.get(op)
        differentiated(cases, op, op, f, [spread(4, 6)], attrs)
    for op, f in {"log": torch.log, "sqrt": torch.sqrt, "rsqrt": torch.rsqrt, "reciprocal": torch.reciprocal, "log1p": torch.log1p}.items():
        differentiated(cases, op, op, f, [positive(3, 5)])
    for approximate in ("tanh", "none"):
        f = lambda x: F.gelu(x, approximate=approximate)
        attrs = {"approximate": approximate}
        differentiated(cases, f"gelu_{approximate}", "gelu", f, [normal(4, 7) * 2], attrs)
        tails = tensor([0.0, 1e-6, -1e-3, 3.0, -3.0, 5.0, -5.0, 30.0, -30.0, INF, NAN], "f64")
        differentiated(cases, f"gelu_{approximate}_tails", "gelu", f, [tails], attrs, gradients=False)
    for op, f in {"add": torch.add, "sub": torch.sub, "mul": torch.mul, "div": torch.div, "maximum": torch.maximum, "minimum": torch.minimum}.items():
        a, b = spread(3, 4), spread(3, 4) + 0.05
        differentiated(cases, op, op, f, [a, b])
        differentiated(cases, f"{op}_broadcast", op, f, [spread(2, 1, 3), spread(4, 1) + 0.05])
        differentiated(cases, f"{op}_rank_0", op, f, [spread(3), torch.tensor(1.31, dtype=torch.float64)])
    differentiated(cases, "pow", "pow", torch.pow, [positive(3, 4), normal(3, 4)])
    differentiated(cases, "clamp", "clamp", lambda x: x.clamp(-0.5, 0.8), [spread(4, 5)], {"min": -0.5, "max": 0.8})
    condition = torch.arange(12).reshape(3, 4) % 3 == 0
    differentiated(cases, "where", "where", torch.where, [condition, normal(3, 4), normal(3, 4)])
    odd = tensor([0.0, 1.0, INF, -INF, NAN, -2.5], "f64")
    for op, f in {"isnan": torch.isnan, "isinf": torch.isinf, "isfinite": torch.isfinite}.items():
        differentiated(cases, op, op, f, [odd], gradients=False, kind="exact")
    odd = tensor([1.0, -2.0, INF, -INF, NAN, 50.0, -50.0, 1e-30], "f64")
    for op in ("sigmoid", "tanh", "exp", "erf", "relu", "softplus"):
        f = unary[op]
        differentiated(cases, f"{op}_specials", op, f, [odd], gradients=False)


def rows(cases):
    softmaxes = {"softmax": F.softmax, "log_softmax": F.log_softmax}
    for op, f in softmaxes.items():
        for shape, dim in [((3, 5), -1), ((3, 5), 0), ((2, 3, 4), 1), ((7,), 0), ((4, 1), 1)]:
            name = f"{op}_{'x'.join(map(str, shape))}_dim{dim}".replace("-", "m")
            differentiated(cases, name, op, lambda x: f(x, dim), [normal(*shape) * 3], {"dim": dim})
        masked = tensor([[1.0, -INF, 2.0], [-INF, -INF, 0.5], [1e4, -1e4, 1e4], [80.0, -80.0, 0.0]], "f64")
        differentiated(cases, f"{op}_masked", op, lambda x: f(x, -1), [masked], {"dim": -1}, gradients=False)
        bad = tensor([[NAN, 1.0, 2.0], [-INF, -INF, -INF], [INF, 0.0, 1.0]], "f64")
        differentiated(cases, f"{op}_nan", op, lambda x: f(x, -1), [bad], {"dim": -1}, gradients=False)
        differentiated(cases, f"{op}_empty", op, lambda x: f(x, -1), [normal(0, 4)], {"dim": -1})
        differentiated(cases, f"{op}_empty_rows", op, lambda x: f(x, -1), [normal(3, 0)], {"dim": -1})

    for keepdim in (False, True):
        k = "_keepdim" if keepdim else ""
        for dims in ([0], [-1], [0, 2]):
            d = "_".join(map(str, dims)).replace("-", "m")
            attrs = {"dim": dims, "keepdim": keepdim}
            x = normal(2, 4, 3)
            differentiated(cases, f"sum_{d}{k}", "sum", lambda x: x.sum(dims, keepdim=keepdim), [x], attrs, "reduction")
            differentiated(cases, f"mean_{d}{k}", "mean", lambda x: x.mean(dims, keepdim=keepdim), [x], attrs, "reduction")
            differentiated(cases, f"logsumexp_{d}{k}", "logsumexp", lambda x: x.logsumexp(dims, keepdim=keepdim), [x * 4], attrs)
            differentiated(cases, f"amax_{d}{k}", "amax", lambda x: x.amax(dims, keepdim=keepdim), [spread(2, 4, 3)], attrs)
            for correction in (0, 1):
                attrs = {"dim": dims, "keepdim": keepdim, "correction": correction}
                f = lambda x: x.var(dims, correction=correction, keepdim=keepdim)
                differentiated(cases, f"var_{d}_correction{correction}{k}", "var", f, [x], attrs)
    differentiated(cases, "prod", "prod", lambda x: x.prod(1), [spread(3, 4)], {"dim": [1], "keepdim": False}, "reduction")
    differentiated(cases, "std", "std", lambda x: x.std(1), [normal(3, 6)], {"dim": [1], "keepdim": False, "correction": 1})
    differentiated(cases, "norm", "norm", lambda x: x.norm(), [normal(3, 6)])
    huge = tensor([[1e4, 1e4, 0.0], [-1e4, -1e4, -1e4], [-INF, 1.0, 2.0]], "f64")
    attrs = {"dim": [-1], "keepdim": False}
    differentiated(cases, "logsumexp_huge", "logsumexp", lambda x: x.logsumexp(-1), [huge], attrs, gradients=False)
    differentiated(cases, "logsumexp_all_masked", "logsumexp", lambda x: x.logsumexp(-1), [torch.full((2, 3), -INF)], attrs, gradients=False)

    for shape, normalized in [((4, 6), [6]), ((2, 3, 4), [4]), ((2, 3, 4), [3, 4]), ((0, 5), [5]), ((5,), [5])]:
        name = "layer_norm_" + "x".join(map(str, shape)) + f"_{len(normalized)}"
        attrs = {"normalized_shape": normalized, "eps": 1e-5}
        f = lambda x, w, b: F.layer_norm(x, normalized, w, b, 1e-5)
        differentiated(cases, name, "layer_norm", f, [normal(*shape), normal(*normalized), normal(*normalized)], attrs)
    attrs = {"normalized_shape": [6], "eps": 1e-5}
    differentiated(cases, "layer_norm_plain", "layer_norm", lambda x: F.layer_norm(x, [6]), [normal(3, 6) * 5 + 2], attrs)
    attrs = {"normalized_shape": [6], "eps": 1e-6}
    differentiated(cases, "rms_norm", "rms_norm", lambda x, w: F.rms_norm(x, [6], w, 1e-6), [normal(3, 6), normal(6)], attrs)


def losses(cases):
    targets = torch.tensor([2, 0, 4, 4])
    for reduction in ("mean", "sum", "none"):
        attrs = {"reduction": reduction}
        f = lambda x, y: F.cross_entropy(x, y, reduction=reduction)
        differentiated(cases, f"cross_entropy_{reduction}", "cross_entropy", f, [normal(4, 5) * 2, targets], attrs)
        f = lambda x, y: F.nll_loss(x, y, reduction=reduction)
        differentiated(cases, f"nll_loss_{reduction}", "nll_loss", f, [normal(4, 5), targets], attrs)
        f = lambda x, y: F.mse_loss(x, y, reduction=reduction)
        differentiated(cases, f"mse_loss_{reduction}", "mse_loss", f, [normal(3, 4), normal(3, 4)], attrs)
        f = lambda x, y: F.l1_loss(x, y, reduction=reduction)
        differentiated(cases, f"l1_loss_{reduction}", "l1_loss", f, [spread(3, 4), spread(3, 4) + 0.05], attrs)
        f = lambda x, y: F.binary_cross_entropy_with_logits(x, y, reduction=reduction)
        differentiated(cases, f"binary_cross_entropy_with_logits_{reduction}", "binary_cross_entropy_with_logits", f, [normal(3, 4) * 4, torch.rand(3, 4, dtype=torch.float64)], attrs)
    attrs = {"reduction": "mean", "label_smoothing": 0.1}
    f = lambda x, y: F.cross_entropy(x, y, label_smoothing=0.1)
    differentiated(cases, "cross_entropy_label_smoothing", "cross_entropy", f, [normal(4, 5), targets], attrs)
    huge = tensor([[1000.0, 0.0, -1000.0], [0.0, 1000.0, 1000.0]], "f64")
    f = lambda x, y: F.cross_entropy(x, y)
    differentiated(cases, "cross_entropy_huge_logits", "cross_entropy", f, [huge, torch.tensor([0, 0])], {"reduction": "mean"})
    one = torch.zeros(3, dtype=torch.int64)
    differentiated(cases, "cross_entropy_one_class", "cross_entropy", f, [normal(3, 1), one], {"reduction": "mean"})


def products(cases):
    shapes = [
        ((4,), (4,)), ((3, 4), (4,)), ((4,), (4, 5)), ((3, 4), (4, 5)), ((2, 3, 4), (2, 4, 5)), ((1, 3, 4), (2, 4, 2)), ((2, 3, 4), (4, 5)),
        ((3, 4), (2, 4, 5)), ((2, 1, 3, 4), (3, 4, 2)), ((4,), (2, 4, 3)), ((2, 3, 4), (4,)), ((2, 1, 2, 3), (1, 3, 3, 2)), ((3, 0), (0, 2)), ((0, 3), (3, 2)), ((1, 1), (1, 1)),
    ]
    for a, b in shapes:
        name = "matmul_" + "x".join(map(str, a)) + "_by_" + "x".join(map(str, b))
        differentiated(cases, name, "matmul", torch.matmul, [normal(*a), normal(*b)], kind="reduction")
    for shape in ((3, 4), (4,), (2, 3, 4), (0, 4)):
        name = "linear_" + "x".join(map(str, shape))
        differentiated(cases, name, "linear", F.linear, [normal(*shape), normal(5, 4), normal(5)], kind="reduction")
    differentiated(cases, "linear_no_bias", "linear", lambda x, w: F.linear(x, w), [normal(3, 4), normal(5, 4)], kind="reduction")
    f = lambda i, w: F.embedding(i, w)
    differentiated(cases, "embedding", "embedding", f, [torch.tensor([[1, 0, 1], [4, 4, 2]]), normal(5, 3)], kind="reduction")
    q, k, v = normal(2, 2, 4, 3), normal(2, 2, 5, 3), normal(2, 2, 5, 3)
    f = lambda q, k, v: F.softmax(q @ k.transpose(-1, -2) * 3**-0.5, -1) @ v
    differentiated(cases, "attention", "scaled_dot_product_attention", f, [q, k, v], {"is_causal": False})

    def mlp(x, w1, b1, w2, b2, y):
        return F.cross_entropy(F.linear(F.gelu(F.linear(x, w1, b1), approximate="tanh"), w2, b2), y)

    inputs = [normal(5, 4), normal(6, 4), normal(6), normal(3, 6), normal(3), torch.tensor([0, 2, 1, 1, 0])]
    differentiated(cases, "mlp_gelu_cross_entropy", "mlp_gelu_cross_entropy", mlp, inputs)


def moves(cases):
    x = normal(2, 3, 4)
    differentiated(cases, "transpose", "transpose", lambda x: x.transpose(0, 2), [x], {"dim0": 0, "dim1": 2}, "exact")
    differentiated(cases, "permute", "permute", lambda x: x.permute(1, 2, 0), [x], {"dims": [1, 2, 0]}, "exact")
    differentiated(cases, "reshape", "reshape", lambda x: x.reshape(6, 4), [x], {"shape": [6, 4]}, "exact")
    differentiated(cases, "flatten", "flatten", lambda x: x.flatten(1), [x], {"start_dim": 1, "end_dim": -1}, "exact")
    differentiated(cases, "flip", "flip", lambda x: x.flip([0, 2]), [x], {"dims": [0, 2]}, "exact")
    differentiated(cases, "narrow", "narrow", lambda x: x.narrow(1, 1, 2), [x], {"dim": 1, "start": 1, "length": 2}, "exact")
    differentiated(cases, "expand", "expand", lambda x: x.expand(3, 2, 4), [normal(2, 1)], {"shape": [3, 2, 4]}, "reduction")
    differentiated(cases, "cat", "cat", lambda a, b: torch.cat([a, b], 1), [normal(2, 3), normal(2, 2)], {"dim": 1}, "exact")
    differentiated(cases, "stack", "stack", lambda a, b: torch.stack([a, b], 1), [normal(2, 3), normal(2, 3)], {"dim": 1}, "exact")
    i = torch.tensor([[2, 0], [1, 1], [3, 0]])
    differentiated(cases, "take_along_dim", "take_along_dim", lambda x, i: x.take_along_dim(i, 1), [normal(3, 4), i], {"dim": 1}, "reduction")
    i = torch.tensor([2, 0, 2])
    differentiated(cases, "index_select", "index_select", lambda x, i: x.index_select(0, i), [normal(3, 4), i], {"dim": 0}, "reduction")


def integer_sums(cases):
    """Sums and products of integers, which NumPy takes in 64 bits: unsigned ones in u64, others and bool in i64."""
    for dtype in ["bool", "i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64"]:
        if dtype == "bool":
            x = np.array([[True, False, True], [True, True, True]])
        else:
            info = np.iinfo({"i": "int", "u": "uint"}[dtype[0]] + dtype[1:])
            x = np.array([[info.max, info.max, 2], [info.min, 3, info.max - 1]], info.dtype)
        for op, f in {"sum": np.sum, "prod": np.prod}.items():
            for axes in [[1], [0, 1]]:
                name = f"{op}_{dtype}_{len(axes)}"
                cases.add(name, op, {"dim": axes, "keepdim": False}, [x], [f(x, axis=tuple(axes))], NUMPY, "exact")


def scattered(cases):
    one = {"dtypes": ("f64",)}
    along = torch.tensor([[2, 0, 2], [1, 1, 3]])
    for op, f in {
        "scatter": lambda x, i, u: x.scatter(1, i[:, ::2], u[:, ::2]),
        "scatter_add": lambda x, i, u: x.scatter_add(1, i, u),
        "scatter_prod": lambda x, i, u: x.scatter_reduce(1, i, u, "prod"),
        "scatter_amax": lambda x, i, u: x.scatter_reduce(1, i, u, "amax"),
        "scatter_amin": lambda x, i, u: x.scatter_reduce(1, i, u, "amin"),
    }.items():
        i = torch.tensor([[2, 0, 0], [1, 1, 3]]) if op == "scatter" else along
        differentiated(cases, op, op, f, [normal(2, 4), i, normal(2, 3)], {"dim": 1}, "reduction", **one)
    i = torch.tensor([2, 0])
    differentiated(cases, "index_copy", "index_copy", lambda x, i, u: x.index_copy(0, i, u), [normal(3, 2), i, normal(2, 2)], {"dim": 0}, "exact", **one)
    i = torch.tensor([2, 0, 2])
    differentiated(cases, "index_add", "index_add", lambda x, i, u: x.index_add(1, i, u), [normal(2, 3), i, normal(2, 3)], {"dim": 1}, "reduction", **one)


def ordered(cases):
    one = {"dtypes": ("f64",)}
    zeros = normal(4, 3)
    zeros[1, 0] = zeros[2, 1] = zeros[3, 1] = zeros[0, 2] = 0
    for dim in (0, 1):
        differentiated(cases, f"cumsum_{dim}", "cumsum", lambda x: x.cumsum(dim), [normal(3, 5)], {"dim": dim}, "reduction")
        differentiated(cases, f"cumprod_{dim}", "cumprod", lambda x: x.cumprod(dim), [zeros], {"dim": dim}, "reduction")
        differentiated(cases, f"logcumsumexp_{dim}", "logcumsumexp", lambda x: x.logcumsumexp(dim), [normal(3, 5) * 20], {"dim": dim})
        differentiated(cases, f"cummax_{dim}", "cummax", lambda x: x.cummax(dim).values, [spread(3, 5)], {"dim": dim}, "reduction", **one)
        differentiated(cases, f"cummin_{dim}", "cummin", lambda x: x.cummin(dim).values, [spread(3, 5)], {"dim": dim}, "reduction", **one)
        differentiated(cases, f"median_{dim}", "median", lambda x: x.median(dim).values, [spread(4, 5)], {"dim": dim}, "exact", **one)
        for q in (0.0, 0.3, 1.0):
            differentiated(cases, f"quantile_{dim}_{q}", "quantile", lambda x: x.quantile(q, dim), [spread(4, 5)], {"dim": dim, "q": q}, **one)
        for largest in (0, 1):
            attrs = {"dim": dim, "largest": largest, "k": 2}
            differentiated(cases, f"sort_{dim}_{largest}", "sort", lambda x: x.sort(dim, bool(largest)).values, [spread(4, 5)], attrs, "exact", **one)
            differentiated(cases, f"topk_{dim}_{largest}", "topk", lambda x: x.topk(2, dim, bool(largest)).values, [spread(4, 5)], attrs, "exact", **one)
        differentiated(cases, f"kthvalue_{dim}", "kthvalue", lambda x: x.kthvalue(2, dim).values, [spread(4, 5)], {"dim": dim, "k": 2}, "exact", **one)
    without = {"gradients": False, **one}
    odd = tensor([[1.0, 3.0, NAN, 2.0, 3.0], [0.0, 0.0, -1.0, INF, INF], [-INF, -INF, 5.0, 5.0, NAN]], "f64")
    for op, f in {
        "cummax": lambda x: x.cummax(1).values, "cummax_indices": lambda x: x.cummax(1).indices,
        "cummin_indices": lambda x: x.cummin(1).indices, "logcumsumexp": lambda x: x.logcumsumexp(1), "median": lambda x: x.median(1).values,
    }.items():
        differentiated(cases, f"{op}_odd", op, f, [odd], {"dim": 1}, "composition" if op == "logcumsumexp" else "exact", **without)
    x = tensor([-1.0, 0.0, 0.0, 2.0, 2.0, 2.0, 7.5], "f64")
    v = tensor([[-3.0, -1.0, 0.0], [2.0, 8.0, NAN]], "f64")
    rows = spread(2, 9).sort(1).values
    for right in (0, 1):
        f = lambda x, v: torch.searchsorted(x, v, right=bool(right))
        differentiated(cases, f"searchsorted_{right}", "searchsorted", f, [x, v], {"right": right}, "exact", **without)
        differentiated(cases, f"searchsorted_rows_{right}", "searchsorted", f, [rows, spread(2, 4)], {"right": right}, "exact", **without)


def record(cases):
    integer_sums(cases)
    pointwise(cases)
    rows(cases)
    losses(cases)
    products(cases)
    moves(cases)
    scattered(cases)
    ordered(cases)
