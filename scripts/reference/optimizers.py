"""Optimizers of torch.optim on two small parameters, with the gradients given. Inputs: the parameters, then the gradients of
each step in turn; outputs: the parameters after each step in turn. f32 runs in f64 from the f32 inputs and is rounded."""

import torch

from .cases import TORCH, narrow, wide

STEPS = 5


def run(cases, name, op, make, attrs, zero_first=False):
    for dtype in ("f64", "f32"):
        shapes = [(3, 2), (4,)]
        start = [narrow(torch.randn(s, dtype=torch.float64), dtype) for s in shapes]
        gradients = [[narrow(torch.randn(s, dtype=torch.float64), dtype) for s in shapes] for _ in range(STEPS)]
        if zero_first:
            gradients[0] = [torch.zeros_like(g) for g in gradients[0]]
        parameters = [torch.nn.Parameter(wide(p).clone()) for p in start]
        optimizer = make(parameters)
        outputs = []
        for step in gradients:
            for p, g in zip(parameters, step):
                p.grad = wide(g).clone()
            optimizer.step()
            outputs += [narrow(p.detach().clone(), dtype) for p in parameters]
        source = TORCH if dtype == "f64" else f"{TORCH} in f64, rounded"
        inputs = start + [g for step in gradients for g in step]
        cases.add(f"{name}_{dtype}", op, {**attrs, "steps": STEPS, "parameters": len(shapes)}, inputs, outputs, source, "composition")


def record(cases):
    optim = torch.optim
    for name, values in {
        "adamw": {},
        "adamw_decay": {"lr": 0.05, "weight_decay": 0.3},
        "adamw_betas": {"lr": 0.01, "betas": (0.8, 0.95), "eps": 1e-6},
        "adamw_zero_gradient": {"lr": 0.01},
    }.items():
        attrs = {"lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 1e-2} | values
        run(cases, name, "adamw", lambda p: optim.AdamW(p, **attrs, foreach=False), attrs, name.endswith("zero_gradient"))
    for name, values in {"adam": {}, "adam_l2": {"lr": 0.02, "weight_decay": 0.1}}.items():
        attrs = {"lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.0} | values
        run(cases, name, "adam", lambda p: optim.Adam(p, **attrs, foreach=False), attrs)
    for name, values in {
        "sgd": {},
        "sgd_momentum": {"momentum": 0.9},
        "sgd_momentum_dampening": {"momentum": 0.8, "dampening": 0.3},
        "sgd_nesterov": {"momentum": 0.9, "nesterov": True},
        "sgd_weight_decay": {"momentum": 0.9, "weight_decay": 0.1},
    }.items():
        attrs = {"lr": 0.1, "momentum": 0.0, "dampening": 0.0, "weight_decay": 0.0, "nesterov": False} | values
        run(cases, name, "sgd", lambda p: optim.SGD(p, **attrs, foreach=False), attrs)

    for name, scale in {"over": 3.0, "under": 0.01}.items():
        for dtype in ("f64", "f32"):
            gradients = [narrow(torch.randn(s, dtype=torch.float64) * scale, dtype) for s in ((3, 2), (4,))]
            parameters = [torch.nn.Parameter(torch.zeros_like(wide(g))) for g in gradients]
            for p, g in zip(parameters, gradients):
                p.grad = wide(g).clone()
            norm = torch.nn.utils.clip_grad_norm_(parameters, 1.0, foreach=False)
            outputs = [narrow(p.grad, dtype) for p in parameters] + [narrow(norm.detach(), dtype)]
            cases.add(f"clip_grad_norm_{name}_{dtype}", "clip_grad_norm", {"max_norm": 1.0}, gradients, outputs, TORCH, "composition")
