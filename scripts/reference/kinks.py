"""Gradients where a function has a kink, a tie, a jump or a pole: the sum of the results, differentiated by torch.autograd."""

import torch
import torch.nn.functional as F

from .cases import tensor
from .functions import differentiated

INF, NAN = float("inf"), float("nan")


def kink(cases, name, of, at, f, *inputs):
    given = [tensor(x, "f64") for x in inputs]
    differentiated(cases, name, name, f, given, {"of": of, "at": at}, dtypes=("f64",), specials=True)


def ties(cases):
    kink(cases, "maximum", "maximum(x, y)", "x = y", torch.maximum, [1.0, 2.0, -3.0], [1.0, 1.0, -3.0])
    kink(cases, "minimum", "minimum(x, y)", "x = y", torch.minimum, [1.0, 2.0, -3.0], [1.0, 1.0, -3.0])
    kink(cases, "fmax", "fmax(x, y)", "x = y, and NaN", torch.fmax, [1.0, NAN, 2.0], [1.0, 1.0, NAN])
    kink(cases, "maximum_nan", "maximum(x, y)", "NaN", torch.maximum, [NAN, 1.0], [1.0, NAN])
    kink(cases, "amax", "max of an axis", "equal largest", lambda x: x.amax(0), [3.0, 1.0, 3.0, 3.0, 2.0])
    kink(cases, "amin", "min of an axis", "equal smallest", lambda x: x.amin(0), [1.0, 3.0, 1.0, 2.0])
    weights = tensor([1.0, 2.0, 3.0, 4.0, 5.0], "f64")
    kink(cases, "sort", "sort, weighted 1 to 5", "equal keys", lambda x: torch.sort(x, stable=True)[0] * weights, [3.0, 1.0, 3.0, 1.0, 2.0])
    f = lambda x: torch.sort(x, stable=True, descending=True)[0] * weights
    kink(cases, "sort_descending", "sort, descending, weighted 1 to 5", "equal keys", f, [3.0, 1.0, 3.0, 1.0, 2.0])
    kink(cases, "topk", "topk of 2", "one of two equal keys", lambda x: x.topk(2)[0], [2.0, 3.0, 2.0, 1.0])
    kink(cases, "median", "median", "equal middle", lambda x: x.median(0)[0], [2.0, 1.0, 2.0, 3.0, 2.0])
    kink(cases, "kthvalue", "kthvalue of 2", "equal keys", lambda x: x.kthvalue(2)[0], [2.0, 1.0, 2.0, 3.0])
    kink(cases, "quantile", "quantile of 0.5", "equal neighbours", lambda x: x.quantile(0.5), [2.0, 1.0, 2.0, 3.0])
    kink(cases, "cummax", "cummax", "equal largest so far", lambda x: x.cummax(0)[0], [1.0, 3.0, 2.0, 3.0, 1.0])
    kink(cases, "cummin", "cummin", "equal smallest so far", lambda x: x.cummin(0)[0], [3.0, 1.0, 2.0, 1.0, 4.0])
    kink(cases, "logsumexp", "logsumexp", "equal, and far apart", lambda x: x.logsumexp(1), [[1.0, 1.0, 1.0], [1000.0, 0.0, -1000.0]])


def activations(cases):
    points = [-1.0, 0.0, 1.0]
    kink(cases, "abs", "abs", "0", torch.abs, points)
    kink(cases, "relu", "relu", "0", F.relu, points)
    kink(cases, "relu6", "relu6", "0 and 6", F.relu6, [0.0, 3.0, 6.0])
    kink(cases, "leaky_relu", "leaky_relu(0.1)", "0", lambda x: F.leaky_relu(x, 0.1), points)
    kink(cases, "prelu", "prelu, slope 0.25", "0", lambda x, w: F.prelu(x, w), points, [0.25])
    kink(cases, "elu", "elu(2)", "0", lambda x: F.elu(x, 2.0), points)
    kink(cases, "celu", "celu(2)", "0", lambda x: F.celu(x, 2.0), points)
    kink(cases, "selu", "selu", "0", F.selu, points)
    kink(cases, "threshold", "threshold(1, 5)", "1", lambda x: F.threshold(x, 1.0, 5.0), [0.0, 1.0, 2.0])
    kink(cases, "hardtanh", "hardtanh", "-1 and 1", F.hardtanh, [-1.0, 0.0, 1.0])
    kink(cases, "hardsigmoid", "hardsigmoid", "-3 and 3", F.hardsigmoid, [-3.0, 0.0, 3.0])
    kink(cases, "hardswish", "hardswish", "-3 and 3", F.hardswish, [-3.0, 0.0, 3.0])
    kink(cases, "softshrink", "softshrink(0.5)", "-0.5 and 0.5", lambda x: F.softshrink(x, 0.5), [-0.5, 0.0, 0.5, 1.0])
    kink(cases, "hardshrink", "hardshrink(0.5)", "-0.5 and 0.5", lambda x: F.hardshrink(x, 0.5), [-0.5, 0.0, 0.5, 1.0])
    kink(cases, "clamp", "clamp(-1, 1)", "its bounds", lambda x: x.clamp(-1.0, 1.0), [-2.0, -1.0, 0.0, 1.0, 2.0])
    f = lambda x, low, high: torch.clamp(x, low, high)
    kink(cases, "clamp_tensors", "clamp(x, low, high)", "x at a bound", f, [-1.0, 0.0, 1.0], [-1.0, -1.0, -1.0], [1.0, 1.0, 1.0])
    extremes = [-1000.0, -30.0, 0.0, 30.0, 1000.0]
    kink(cases, "softplus", "softplus", "extremes", F.softplus, extremes)
    kink(cases, "log_sigmoid", "log_sigmoid", "extremes", F.logsigmoid, extremes)
    kink(cases, "sigmoid", "sigmoid", "extremes", torch.sigmoid, extremes)
    kink(cases, "silu", "silu", "extremes", F.silu, extremes)
    kink(cases, "gelu", "gelu", "extremes", F.gelu, extremes)
    kink(cases, "softmax", "softmax, the finite ones", "-inf among the logits", lambda x: x.softmax(0)[:2], [1.0, 2.0, -INF])
    kink(cases, "log_softmax", "log_softmax, the finite ones", "-inf among the logits", lambda x: x.log_softmax(0)[:2], [1.0, 2.0, -INF])


def poles(cases):
    kink(cases, "sqrt", "sqrt", "0", torch.sqrt, [0.0, 4.0])
    kink(cases, "rsqrt", "rsqrt", "0", torch.rsqrt, [0.0, 4.0])
    kink(cases, "log", "log", "0, and below", torch.log, [0.0, -1.0])
    kink(cases, "log1p", "log1p", "-1", torch.log1p, [-1.0])
    kink(cases, "recip", "1 / x", "0", torch.reciprocal, [0.0, 2.0])
    kink(cases, "div", "x / y", "y = 0", torch.div, [1.0, 0.0, -2.0], [0.0, 0.0, 0.0])
    kink(cases, "pow_base", "x ** p, by x", "x = 0, for p = 0, 0.5, 1, 2, 3", lambda x: x ** tensor([0.0, 0.5, 1.0, 2.0, 3.0], "f64"), [0.0] * 5)
    f = lambda p: tensor([0.0, 0.0, 0.0, 2.0], "f64") ** p
    kink(cases, "pow_exponent", "b ** x, by x", "b = 0, 0, 0, 2", f, [0.0, 1.0, 2.0, 0.0])
    kink(cases, "asin", "asin", "-1 and 1", torch.asin, [-1.0, 1.0])
    kink(cases, "acos", "acos", "-1 and 1", torch.acos, [-1.0, 1.0])
    kink(cases, "acosh", "acosh", "1", torch.acosh, [1.0])
    kink(cases, "atanh", "atanh", "-1 and 1", torch.atanh, [-1.0, 1.0])
    kink(cases, "xlogy", "x * log y (xlogy)", "x = 0", torch.xlogy, [0.0, 0.0, 1.0], [0.0, 2.0, 0.0])
    kink(cases, "where_nan", "where(x > 0, sqrt(x), 0)", "0, and below", lambda x: torch.where(x > 0, x.sqrt(), torch.zeros_like(x)), [4.0, 0.0, -1.0])
    f = lambda x: torch.where(x > 0, torch.where(x > 0, x, torch.ones_like(x)).sqrt(), torch.zeros_like(x))
    kink(cases, "where_twice", "the same, safe inside", "0, and below", f, [4.0, 0.0, -1.0])
    kink(cases, "nan_to_num", "nan_to_num", "NaN and infinities", torch.nan_to_num, [NAN, INF, -INF, 1.0])


def jumps(cases):
    kink(cases, "sign", "sign", "everywhere", torch.sign, [-1.0, 0.0, 2.0])
    kink(cases, "floor", "floor", "everywhere", torch.floor, [-1.5, 0.0, 2.0])
    kink(cases, "round", "round", "everywhere", torch.round, [-1.5, 0.5, 2.0])
    kink(cases, "trunc", "trunc", "everywhere", torch.trunc, [-1.5, 0.0, 2.0])
    kink(cases, "frac", "frac", "integers", torch.frac, [-1.5, 0.0, 2.0])
    kink(cases, "remainder", "remainder(x, y)", "multiples of y", torch.remainder, [6.0, 7.0, -7.0, 0.0], [3.0, 3.0, 3.0, 3.0])
    kink(cases, "fmod", "fmod(x, y)", "multiples of y", torch.fmod, [6.0, 7.0, -7.0, 0.0], [3.0, 3.0, 3.0, 3.0])


def sums(cases):
    kink(cases, "prod", "prod", "one zero", lambda x: x.prod(0), [2.0, 0.0, 3.0])
    kink(cases, "prod_zeros", "prod", "two zeros", lambda x: x.prod(0), [2.0, 0.0, 0.0])
    kink(cases, "cumprod", "cumprod", "a zero", lambda x: x.cumprod(0), [2.0, 0.0, 3.0, 4.0])
    for p in (1.0, 2.0, 3.0, INF):
        kink(cases, f"norm_{p}", f"{p}-norm".replace(".0", ""), "0", lambda x: torch.linalg.vector_norm(x, p), [0.0, 0.0])
    kink(cases, "norm_ties", "inf-norm", "equal largest", lambda x: torch.linalg.vector_norm(x, INF), [2.0, -2.0, 1.0])
    kink(cases, "norm_half", "0.5-norm", "a zero", lambda x: torch.linalg.vector_norm(x, 0.5), [0.0, 4.0])
    kink(cases, "std", "std", "equal numbers", lambda x: x.std(0), [2.0, 2.0, 2.0])
    kink(cases, "normalize", "normalize", "0", lambda x: F.normalize(x, dim=0), [0.0, 0.0])
    kink(cases, "hypot", "hypot(x, y)", "0", torch.hypot, [0.0], [0.0])
    kink(cases, "atan2", "atan2(x, y)", "0", torch.atan2, [0.0], [0.0])
    kink(cases, "cdist", "cdist", "equal rows", lambda x, y: torch.cdist(x, y), [[1.0, 2.0]], [[1.0, 2.0], [1.0, 4.0]])
    kink(cases, "l1_loss", "l1_loss, summed", "0", lambda x, y: F.l1_loss(x, y, reduction="sum"), [1.0, 2.0], [1.0, 1.0])
    f = lambda x, y: F.smooth_l1_loss(x, y, beta=0.5, reduction="sum")
    kink(cases, "smooth_l1_loss", "smooth_l1_loss(0.5), summed", "0 and 0.5", f, [0.0, 0.5, 1.0], [0.0, 0.0, 0.0])
    f = lambda x, y: F.huber_loss(x, y, delta=0.5, reduction="sum")
    kink(cases, "huber_loss", "huber_loss(0.5), summed", "0 and 0.5", f, [0.0, 0.5, 1.0], [0.0, 0.0, 0.0])
    kink(cases, "logaddexp", "logaddexp(x, y)", "equal, and -inf", torch.logaddexp, [1.0, 1.0, -INF], [1.0, -INF, 1.0])
    kink(cases, "sinc", "sinc", "0", torch.sinc, [0.0, 0.5])


def record(cases):
    ties(cases)
    activations(cases)
    poles(cases)
    jumps(cases)
    sums(cases)
