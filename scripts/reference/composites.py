"""Compositions of many ops, and small networks, with the gradient by every float operand from torch.autograd."""

import math

import torch
import torch.nn.functional as F

from .functions import differentiated, normal, positive, spread


class Recorder:
    def __init__(self, cases):
        self.cases = cases

    def __call__(self, name, f, *inputs):
        differentiated(self.cases, name, name, f, list(inputs), dtypes=("f64",))


def chains(add):
    add("gelu_tanh_chain", lambda x: F.gelu(x).tanh().exp(), normal(3, 4))
    add("silu_of_affine", lambda x, w, b: F.silu(x * w + b), normal(3, 4), normal(4), normal(4))
    add("logistic_map", lambda x, r: iterate(lambda y: r * y * (1 - y), x, 5), torch.rand(6, dtype=torch.float64), torch.tensor(3.3, dtype=torch.float64))
    add("newton_root", lambda a: iterate(lambda y: 0.5 * (y + a / y), torch.ones_like(a), 4), positive(5))
    add("softplus_log_ratio", lambda x, y: (F.softplus(x) / F.softplus(y)).log(), normal(2, 5), normal(2, 5))
    add("mish_and_trig", lambda x: x.sin() * F.mish(x) + x.cos() ** 2, normal(8))
    add("bounded_angle", lambda y, x: torch.atan2(y.tanh(), x.exp()), normal(7), normal(7))
    add("stable_sigmoid_products", lambda x: (F.logsigmoid(x) + F.logsigmoid(-x)).exp(), normal(9) * 3)
    add("rational", lambda x: (x ** 3 - 2 * x + 1) / (x ** 2 + 1), normal(7))
    add("swiglu", lambda x, w, v: F.silu(x @ w) * (x @ v), normal(3, 4), normal(4, 5), normal(4, 5))
    add("geglu", lambda x: F.gelu(x.chunk(2, -1)[0], approximate="tanh") * x.chunk(2, -1)[1], normal(3, 6))
    add("polynomial_horner", lambda x, c: sum_horner(x, c), normal(6), normal(5))


def iterate(f, x, n):
    for _ in range(n):
        x = f(x)
    return x


def sum_horner(x, c):
    y = torch.zeros_like(x)
    for i in range(5):
        y = y * x + c[i]
    return y


def rows(add):
    add("softmax_temperature", lambda x, t: F.softmax(x / t, -1), normal(3, 5), torch.tensor(0.7, dtype=torch.float64))
    add("entropy_of_softmax", lambda x: -(F.softmax(x, -1) * F.log_softmax(x, -1)).sum(-1), normal(3, 5))
    add("layer_norm_gelu", lambda x, w, b: F.gelu(F.layer_norm(x, (5,), w, b, 1e-5)), normal(3, 5), normal(5), normal(5))
    add("rms_norm_residual", lambda x, w: x + F.rms_norm(x, (6,), w, 1e-6), normal(2, 6), normal(6))
    add("batch_statistics_norm", lambda x: (x - x.mean(0)) / (x.var(0, correction=0) + 1e-5).sqrt(), normal(6, 3))
    add("group_norm_silu", lambda x, w, b: F.silu(F.group_norm(x, 2, w, b)), normal(2, 4, 3), normal(4), normal(4))
    add("logsumexp_of_products", lambda x, y: torch.logsumexp(x @ y, -1), normal(3, 4), normal(4, 5))
    add("weight_standardised", lambda x, w: x @ ((w - w.mean(0)) / (w.std(0) + 1e-6)), normal(3, 5), normal(5, 4))
    add("power_mean", lambda x, p: x.pow(p).mean(-1).pow(1 / p), positive(3, 4), torch.tensor(2.5, dtype=torch.float64))
    add("weighted_variance", lambda x, w: ((x - (x * w.softmax(0)).sum()) ** 2 * w.softmax(0)).sum(), normal(7), normal(7))
    add("standardised_moments", lambda x: torch.stack([(((x - x.mean(-1, keepdim=True)) / x.std(-1, keepdim=True)) ** k).mean(-1) for k in (3, 4)]), normal(2, 6))
    add("cosine_matrix", lambda x: F.normalize(x, dim=-1) @ F.normalize(x, dim=-1).T, normal(4, 3))


def losses(add):
    y = torch.tensor([2, 0, 4, 1])
    add("masked_cross_entropy", lambda x, y, m: (F.cross_entropy(x, y, reduction="none") * m).sum() / m.sum(), normal(4, 5), y, torch.tensor([1.0, 0.0, 1.0, 1.0], dtype=torch.float64))
    add("label_smoothing", lambda x, y: F.cross_entropy(x, y, label_smoothing=0.1), normal(4, 5), y)
    add("focal", lambda x, y: ((1 - F.softmax(x, -1)[torch.arange(4), y]) ** 2 * F.cross_entropy(x, y, reduction="none")).mean(), normal(4, 5), y)
    add("distillation", lambda s, t: F.kl_div(F.log_softmax(s / 2, -1), F.softmax(t / 2, -1), reduction="batchmean") * 4, normal(3, 5), normal(3, 5))
    add("contrastive", lambda x, y: F.cross_entropy(F.normalize(x, dim=-1) @ F.normalize(y, dim=-1).T / 0.1, torch.arange(4)), normal(4, 3), normal(4, 3))
    add("triplet", lambda a, p, n: F.relu((a - p).norm(dim=-1) - (a - n).norm(dim=-1) + 0.5).mean(), normal(4, 3), normal(4, 3), normal(4, 3))
    add("dice", lambda x, y: 1 - 2 * (x.sigmoid() * y).sum() / (x.sigmoid() + y).sum(), normal(3, 4), torch.rand(3, 4, dtype=torch.float64))
    add("gaussian_kl", lambda m, s: (0.5 * (m ** 2 + s.exp() - s - 1)).sum(-1), normal(3, 4), normal(3, 4))
    add("huber_regression", lambda x, w, b, y: F.huber_loss(x @ w + b, y, delta=0.5), normal(5, 3), normal(3), normal(1)[0], normal(5))
    add("quantile_loss", lambda x, y: torch.maximum(0.3 * (y - x), -0.7 * (y - x)).mean(), spread(7), spread(7) + 0.05)
    add("log_cosh", lambda x, y: (F.softplus(2 * (x - y)) - (x - y) - math.log(2)).mean(), normal(7), normal(7))
    add("ridge", lambda w, x, y: ((x @ w - y) ** 2).mean() + 0.1 * (w ** 2).sum() + 0.01 * w.abs().sum(), normal(3), normal(6, 3), normal(6))


def contractions(add):
    add("attention", lambda q, k, v: F.softmax(q @ k.transpose(-1, -2) / 2, -1) @ v, normal(2, 3, 4), normal(2, 3, 4), normal(2, 3, 5))
    causal = torch.ones(4, 4, dtype=torch.bool).tril()
    add("causal_attention", lambda q, k, v, m: F.softmax((q @ k.T).masked_fill(~m, -math.inf), -1) @ v, normal(4, 3), normal(4, 3), normal(4, 2), causal)
    add("einsum_chain", lambda a, b, c: torch.einsum("ij,jkl,lm->ikm", a, b, c), normal(2, 3), normal(3, 2, 4), normal(4, 2))
    add("bilinear_form", lambda x, a, y: torch.einsum("bi,ij,bj->b", x, a, y), normal(3, 4), normal(4, 2), normal(3, 2))
    add("outer_then_trace", lambda x, y: torch.outer(x, y).tanh().trace(), normal(4), normal(4))
    add("matrix_power_series", lambda a: torch.eye(3, dtype=torch.float64) + a + a @ a / 2 + a @ a @ a / 6, normal(3, 3))
    add("low_rank_adapter", lambda x, w, a, b: x @ w + 2 * (x @ a) @ b, normal(3, 4), normal(4, 5), normal(4, 2), normal(2, 5))
    add("batched_quadratic", lambda x, a: torch.einsum("bi,bij,bj->b", x, a @ a.transpose(1, 2), x), normal(2, 3), normal(2, 3, 3))


def indices(add):
    i = torch.tensor([3, 0, 3, 1, 2])
    add("gather_products", lambda x, i: x[i].prod(-1), normal(4, 3), i)
    add("embedding_mean", lambda w, i: F.embedding(i, w).mean(0).tanh(), normal(4, 3), i)
    add("scatter_softmax", lambda x, i: x.exp() / torch.zeros(4, dtype=torch.float64).index_add(0, i, x.exp())[i], normal(5), i)
    add("segment_norms", lambda x, i: torch.zeros(4, 2, dtype=torch.float64).index_add(0, i, x ** 2).sqrt(), normal(5, 2), i)
    add("take_along_weighted", lambda x, w: (x.gather(1, x.argsort(1)) * w).sum(-1), spread(3, 4), normal(4))
    add("cumsum_of_softmax", lambda x: F.softmax(x, -1).cumsum(-1).log(), normal(2, 5))
    add("cumprod_survival", lambda x: (1 - x.sigmoid()).cumprod(-1) * x.sigmoid(), normal(2, 5))
    add("logcumsumexp_difference", lambda x: x.logcumsumexp(-1) - x.flip(-1).logcumsumexp(-1).flip(-1), normal(2, 5))
    add("sorted_differences", lambda x: x.sort(-1)[0].diff(dim=-1).square(), spread(2, 6))
    add("topk_mean", lambda x: x.topk(3, -1)[0].mean(-1).exp(), spread(2, 6))
    add("median_deviation", lambda x: (x - x.median(-1, keepdim=True)[0]).abs().mean(-1), spread(2, 7))
    add("quantile_range", lambda x: x.quantile(0.8, -1) - x.quantile(0.3, -1), spread(2, 6))


def shapes(add):
    add("distance_matrix", lambda x: torch.cdist(x, x[:2]).sin(), normal(4, 3))
    add("pairwise_gaussian", lambda x, y: (-((x[:, None] - y[None]) ** 2).sum(-1)).exp(), normal(3, 2), normal(4, 2))
    add("windowed_products", lambda x, w: x.unfold(-1, 3, 2) @ w, normal(2, 9), normal(3, 2))
    add("depthwise_by_shifts", lambda x, w: w[0] * x[:, :-2] + w[1] * x[:, 1:-1] + w[2] * x[:, 2:], normal(2, 7), normal(3))
    add("padded_average", lambda x: F.pad(x, (1, 1), mode="circular").unfold(-1, 3, 1).mean(-1), normal(2, 6))
    add("reflected_blur", lambda x: F.pad(x[None], (2, 2), mode="reflect")[0].unfold(-1, 5, 1) @ torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0], dtype=torch.float64) / 16, normal(2, 6))
    add("roll_and_correlate", lambda x, y: torch.stack([(x * y.roll(k, -1)).sum(-1) for k in range(3)], -1), normal(2, 5), normal(2, 5))
    add("rotary", lambda x: rotary(x), normal(3, 4))
    add("triangle_logdet", lambda a: (a.tril(-1) + torch.eye(4, dtype=torch.float64) * (a.diagonal().exp() + 0.1)).diagonal().log().sum() + a.tril().norm(), normal(4, 4))
    add("concat_of_views", lambda x, y: torch.cat([x.T, y.flip(0), x[:, :1].expand(3, 3)], 0).norm(dim=0), normal(3, 3), normal(2, 3))
    add("where_branches", lambda x: torch.where(x > 0, x.log1p(), -(-x).expm1()), spread(9))
    add("clamped_log_odds", lambda x: (lambda p: p.log() - (1 - p).log())(x.sigmoid().clamp(0.05, 0.95)), spread(9) * 4)


def rotary(x):
    n, d = x.shape
    angles = torch.arange(n, dtype=torch.float64)[:, None] * 0.5 ** torch.arange(d // 2, dtype=torch.float64)
    a, b = x[:, : d // 2], x[:, d // 2 :]
    return torch.cat([a * angles.cos() - b * angles.sin(), a * angles.sin() + b * angles.cos()], -1)


def small(*shape):
    return normal(*shape) * 0.6


def networks(add):
    y = torch.tensor([1, 0, 2])
    f = lambda x, w1, b1, w2, b2, w3, b3, y: F.cross_entropy(F.linear(F.relu(F.linear(F.gelu(F.linear(x, w1, b1)), w2, b2)), w3, b3), y)
    add("net_mlp", f, normal(3, 4), small(5, 4), small(5), small(4, 5), small(4), small(3, 4), small(3), y)
    f = lambda x, g, h, w1, w2: (lambda z: z + F.linear(F.gelu(F.linear(F.layer_norm(z, (4,), g, h), w1)), w2))(iterate(lambda z: z + F.linear(F.silu(F.linear(F.layer_norm(z, (4,), g, h), w1)), w2), x, 2)).square().mean()
    add("net_residual_mlp", f, normal(3, 4), small(4) + 1, small(4), small(6, 4), small(4, 6))
    add("net_attention_block", attention_block, normal(2, 3, 4), small(4) + 1, small(4), small(4, 12), small(4, 4), small(4, 6), small(6, 4))
    tokens = torch.tensor([[0, 3, 1, 2], [2, 2, 0, 4]])
    add("net_rnn", rnn, tokens, small(5, 3), small(3, 4), small(4, 4), small(4), small(4, 5))
    add("net_mixture_of_experts", experts, normal(4, 3), small(3, 3), small(3, 3, 5), small(3, 5, 2), normal(4, 2))
    f = lambda x, w1, b1, w2, b2: F.binary_cross_entropy_with_logits(F.linear(torch.tanh(F.linear(x, w1, b1)), w2, b2), x) + 0.1 * torch.tanh(F.linear(x, w1, b1)).abs().mean()
    add("net_autoencoder", f, torch.rand(3, 6, dtype=torch.float64), small(2, 6), small(2), small(6, 2), small(6))


def attention_block(x, g, h, wqkv, wo, w1, w2):
    b, n, d = x.shape
    z = F.layer_norm(x, (d,), g, h)
    q, k, v = (z @ wqkv).reshape(b, n, 3, 2, 2).permute(2, 0, 3, 1, 4)
    scores = (q @ k.transpose(-1, -2) / math.sqrt(2)).masked_fill(~torch.ones(n, n, dtype=torch.bool).tril(), -math.inf)
    a = (F.softmax(scores, -1) @ v).transpose(1, 2).reshape(b, n, d)
    x = x + a @ wo
    return x + F.gelu(F.layer_norm(x, (d,), g, h) @ w1, approximate="tanh") @ w2


def rnn(tokens, e, wx, wh, b, wo):
    h = torch.zeros(2, 4, dtype=torch.float64)
    loss = 0
    for t in range(3):
        h = torch.tanh(F.embedding(tokens[:, t], e) @ wx + h @ wh + b)
        loss = loss + F.cross_entropy(h @ wo, tokens[:, t + 1])
    return loss / 3


def experts(x, gate, w1, w2, y):
    scores = x @ gate
    best, which = scores.topk(2, -1)
    weights = torch.zeros_like(scores).scatter(1, which, F.softmax(best, -1))
    outputs = torch.einsum("ned,edk->nek", F.relu(torch.einsum("ni,eid->ned", x, w1)), w2)
    importance = weights.mean(0)
    return F.mse_loss(torch.einsum("ne,nek->nk", weights, outputs), y) + 0.1 * (importance * F.softmax(scores, -1).mean(0)).sum() * 3


def record(cases):
    add = Recorder(cases)
    for group in (chains, rows, losses, contractions, indices, shapes, networks):
        group(add)
