"""Losses and normalisations of the frontend, with gradients by torch.autograd, as in functions.py."""

import torch
import torch.nn.functional as F

from .cases import tensor
from .functions import differentiated, normal, positive, spread


def signs(*shape):
    """Integers, so that there is no gradient by them: PyTorch has none by some of these targets."""
    return torch.where(normal(*shape) > 0, 1, -1)



def pairs(cases):
    one = {"dtypes": ("f64",)}
    a, b = spread(2, 3), spread(2, 3) + 0.05
    within = torch.rand(2, 3, dtype=torch.float64) * 0.9 + 0.05
    differentiated(cases, "smooth_l1_loss", "smooth_l1_loss", lambda x, y: F.smooth_l1_loss(x, y, beta=0.2), [a, b * -1], {"beta": 0.2})
    differentiated(cases, "huber_loss", "huber_loss", lambda x, y: F.huber_loss(x, y, delta=0.3), [a, b * -1], {"delta": 0.3})
    differentiated(cases, "binary_cross_entropy", "binary_cross_entropy", F.binary_cross_entropy, [within, torch.rand(2, 3, dtype=torch.float64)])
    ends = [tensor([0.0, 1.0, 0.0, 1e-9], "f64"), tensor([0.0, 1.0, 0.5, 1.0], "f64")]
    differentiated(cases, "binary_cross_entropy_ends", "binary_cross_entropy", F.binary_cross_entropy, ends, gradients=False, **one)
    differentiated(cases, "kl_div", "kl_div", F.kl_div, [within.log(), positive(2, 3)])
    differentiated(cases, "kl_div_zero", "kl_div", F.kl_div, [within.log(), tensor([[0.0, 1.0, 0.0], [2.0, 0.0, 0.5]], "f64")], gradients=False, **one)
    differentiated(cases, "poisson_nll_loss", "poisson_nll_loss", F.poisson_nll_loss, [a, positive(2, 3)])
    variances = positive(2, 3)
    variances[0, 0] = 0.01
    f = lambda x, y, v: F.gaussian_nll_loss(x, y, v, eps=0.05)
    differentiated(cases, "gaussian_nll_loss", "gaussian_nll_loss", f, [a, normal(2, 3), variances], {"eps": 0.05})
    y = signs(2, 3)
    differentiated(cases, "soft_margin_loss", "soft_margin_loss", lambda x, y: F.soft_margin_loss(x, y.to(x.dtype)), [a, y])
    f = lambda x, y: F.hinge_embedding_loss(x, y, margin=0.3)
    differentiated(cases, "hinge_embedding_loss", "hinge_embedding_loss", f, [a, y], {"margin": 0.3})
    f = lambda x, y, s: F.margin_ranking_loss(x, y, s, margin=0.3)
    differentiated(cases, "margin_ranking_loss", "margin_ranking_loss", f, [a, b * -1, y], {"margin": 0.3})
    y = torch.rand(2, 3, dtype=torch.float64)
    differentiated(cases, "multilabel_soft_margin_loss", "multilabel_soft_margin_loss", F.multilabel_soft_margin_loss, [a * 4, y])


def rows(cases):
    s = signs(4)
    f = lambda x, y, s: F.cosine_embedding_loss(x, y, s, margin=0.1)
    differentiated(cases, "cosine_embedding_loss", "cosine_embedding_loss", f, [normal(4, 3), normal(4, 3), s], {"margin": 0.1})
    vectors = [normal(4, 3), normal(4, 3), normal(4, 3)]
    for p in (1.0, 2.0, 3.0):
        f = lambda a, b, c: F.triplet_margin_loss(a, b, c, margin=1.5, p=p)
        differentiated(cases, f"triplet_margin_loss_{p}", "triplet_margin_loss", f, vectors, {"margin": 1.5, "p": p}, dtypes=("f64",))
    targets = torch.tensor([2, 0, 4, 4])
    for p in (1, 2):
        f = lambda x, y: F.multi_margin_loss(x, y, p=p, margin=0.7)
        differentiated(cases, f"multi_margin_loss_{p}", "multi_margin_loss", f, [spread(4, 5), targets], {"p": float(p), "margin": 0.7})


def normalisations(cases):
    one = {"dtypes": ("f64",)}
    x, w, b = normal(2, 4, 3) * 2 + 1, normal(4), normal(4)
    f = lambda x, w, b: F.group_norm(x, 2, w, b, eps=1e-3)
    differentiated(cases, "group_norm", "group_norm", f, [x, w, b], {"groups": 2, "eps": 1e-3})
    differentiated(cases, "group_norm_plain", "group_norm", lambda x: F.group_norm(x, 4, eps=1e-3), [x], {"groups": 4, "eps": 1e-3}, **one)
    f = lambda x, w, b: F.instance_norm(x, weight=w, bias=b, eps=1e-3)
    differentiated(cases, "instance_norm", "instance_norm", f, [x, w, b], {"eps": 1e-3})
    f = lambda x, m, v, w, b: (x - m[:, None]) / (v[:, None] + 1e-3).sqrt() * w[:, None] + b[:, None]
    given = [x, normal(4), positive(4), w, b]
    assert torch.allclose(f(*given), F.batch_norm(*given, eps=1e-3))
    differentiated(cases, "batch_norm", "batch_norm", f, given, {"eps": 1e-3})
    for size in (2, 3):
        f = lambda x: F.local_response_norm(x, size, alpha=0.3, beta=0.6, k=0.9)
        differentiated(cases, f"local_response_norm_{size}", "local_response_norm", f, [x], {"size": size}, **one)


def record(cases):
    pairs(cases)
    rows(cases)
    normalisations(cases)
