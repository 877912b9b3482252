"""The workloads in PyTorch.

`make` yields a function that starts one call, how many calls one timing takes, and a function that waits for the device.
Modes: none is eager; `compile` is torch.compile; `graphs` is torch.compile with CUDA graphs (`mode="reduce-overhead"`);
`captured` is a training step that is compiled and then captured whole as one CUDA graph, the optimizer with it.
"""

import torch
import torch.nn.functional as F

VERSION = f"torch {torch.__version__}"
LARGE = 1 << 26


def make(workload, threads, mode, device):
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    if device == "cpu":
        return made(workload, mode, device)
    with torch.device(device):
        return made(workload, mode, device)


def made(workload, mode, device):
    wait = torch.cuda.synchronize if device != "cpu" else lambda: None
    if workload.startswith("eager_"):
        return *eager(*workload.removeprefix("eager_").rsplit("_", 1)), wait
    if workload.startswith("tape_"):
        return {"tape_chain_100": tape_chain, "tape_mlp_step": tape_mlp}[workload](), 20, wait
    compile = {
        "": lambda f: f,
        "compile": lambda f: torch.compile(f, dynamic=False),
        "graphs": lambda f: torch.compile(f, dynamic=False, mode="reduce-overhead"),
        "captured": lambda f: torch.compile(f, dynamic=False),
    }[mode]

    if workload in ("mlp_train_step", "digits_step"):
        step = mlp_step(compile, device) if workload == "mlp_train_step" else digits_step(compile, device)
        return Captured(step) if mode == "captured" else step, 1, wait

    def sets(make):
        """Inputs of several calls, so that none finds its own in the GPU's cache."""
        first = make()
        size = sum(x.nbytes for x in first if torch.is_tensor(x))
        more = 0 if device == "cpu" else max(1, min(31, (512 << 20) // max(size, 1) - 1))
        return [first] + [make() for _ in range(more)]

    if workload == "tiny_call_overhead":
        f, many, calls = lambda x: x * 2 + 1, [[torch.randn(4)]], 1000
    elif workload == "copy_64M":
        target = torch.empty(LARGE)
        f, many, calls = lambda x: target.copy_(x), sets(lambda: [torch.randn(LARGE)]), 1
    elif workload == "add_64M":
        f, many, calls = lambda x: x + 1.0, sets(lambda: [torch.randn(LARGE)]), 1
    elif workload == "sum_64M":
        f, many, calls = lambda x: x.sum(), sets(lambda: [torch.randn(LARGE)]), 1
    elif workload.startswith("deep_chain_"):
        f, many, calls = deep_chain(int(workload.removeprefix("deep_chain_"))), [[torch.randn(1024)]], 1
    elif workload in ("gelu_chain_64K", "gelu_chain_64M"):
        n, calls = (65536, 20) if workload.endswith("K") else (LARGE, 1)
        f, many = lambda x: F.gelu(x * 1.3 + 0.2, approximate="tanh") * 0.7, sets(lambda: [torch.randn(n)])
    elif workload in ("softmax_4096x1024", "softmax_64Kx1024"):
        rows = 4096 if "4096" in workload else 1 << 16
        f, many, calls = lambda x: F.softmax(x, -1), sets(lambda: [torch.randn(rows, 1024)]), 1
    elif workload in ("layernorm_8192x768", "layernorm_64Kx1024"):
        n, m = (8192, 768) if "768" in workload else (1 << 16, 1024)
        f, calls = lambda x, w, b: F.layer_norm(x, (m,), w, b), 1
        many = sets(lambda: [torch.randn(n, m), torch.randn(m), torch.randn(m)])
    elif workload == "stencil_1024":
        f, many, calls = stencil, sets(lambda: [torch.randn(1024, 1024)]), 1
    elif workload == "stack_8x1M":
        f, many, calls = lambda *xs: torch.stack(xs, -1), sets(lambda: [torch.randn(1 << 20) for _ in range(8)]), 1
    elif workload in ("mlp_gradient", "mlp_hvp", "per_example_gradients", "jacobian_64", "rnn_scan_200"):
        f, operands, calls = derivative(workload)
        many = [operands]
    else:
        raise SystemExit(f"unknown workload {workload}")

    f, turn = compile(f), 0

    def call():
        nonlocal turn
        turn = (turn + 1) % len(many)
        with torch.no_grad():
            f(*many[turn])

    return call, calls, wait


class Captured:
    """A step as one CUDA graph, captured by the first call."""

    def __init__(self, step):
        self.step, self.graph = step, None

    def __call__(self):
        if self.graph is None:
            side = torch.cuda.Stream()
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                for _ in range(3):
                    self.step()
            torch.cuda.current_stream().wait_stream(side)
            self.graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self.graph):
                self.step()
        self.graph.replay()


def eager(op, exponent):
    n, side = 1 << int(exponent), 1 << int(exponent) // 2
    flat, other = torch.randn(n), torch.randn(n)
    square, other_square = torch.randn(side, side), torch.randn(side, side)
    weight, bias = torch.randn(side), torch.randn(side)
    indices = torch.randint(0, n, (n,))
    call = {
        "add": lambda: flat + other,
        "exp": lambda: flat.exp(),
        "sum": lambda: flat.sum(),
        "softmax": lambda: square.softmax(-1),
        "layer_norm": lambda: F.layer_norm(square, (side,), weight, bias, 1e-5),
        "gather": lambda: flat.gather(0, indices),
        "matmul": lambda: square @ other_square,
    }[op]
    return call, max(1, 1 << 18 >> int(exponent))


def tape_chain():
    x, w = torch.randn(64, requires_grad=True), torch.randn(64, requires_grad=True)

    def step():
        y = x
        for _ in range(49):
            y = (y * w).sin()
        (y * 0.5).sum().backward()
        x.grad = w.grad = None

    return step


def tape_mlp():
    model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))
    parameters = list(model.parameters())
    x, y = torch.randn(32, 64), torch.randint(0, 10, (32,))

    def step():
        F.cross_entropy(model(x), y).backward()
        with torch.no_grad():
            for p in parameters:
                p -= p.grad * 0.01
                p.grad = None

    return step


def stencil(x):
    padded = F.pad(x, (1, 1, 1, 1))
    return sum(padded[i // 3 : i // 3 + 1024, i % 3 : i % 3 + 1024] * (1.0 + i) for i in range(9))


def deep_chain(ops):
    def chain(x):
        for _ in range(ops // 2):
            x = x * 0.999
            x = x + 0.001
        return x

    return chain


def derivative(workload):
    def mlp(*sizes):
        return [(torch.randn(i, o) * i**-0.5, torch.zeros(o)) for i, o in zip(sizes, sizes[1:])]

    def loss(parameters, x, y):
        for i, (w, b) in enumerate(parameters):
            x = x @ w + b
            x = torch.tanh(x) if i + 1 < len(parameters) else x
        return F.cross_entropy(x, y)

    def labels(n):
        return torch.randint(0, 10, (n,))

    grad = torch.func.grad(loss)
    if workload == "mlp_gradient":
        return grad, [mlp(784, 512, 512, 10), torch.randn(128, 784), labels(128)], 1
    if workload == "mlp_hvp":
        def product(p, v, x, y):
            return torch.func.jvp(lambda p: grad(p, x, y), (p,), (v,))[1]

        return product, [mlp(64, 128, 128, 10), mlp(64, 128, 128, 10), torch.randn(64, 64), labels(64)], 20
    if workload == "per_example_gradients":
        return torch.func.vmap(grad, (None, 0, 0)), [mlp(64, 64, 10), torch.randn(64, 64), labels(64)], 20

    if workload == "rnn_scan_200":

        def rnn(parameters, h, xs):
            wx, wh, b = parameters
            states = []
            for x in xs:
                h = torch.tanh(x @ wx + h @ wh + b)
                states.append(h)
            states = torch.stack(states)
            return (states * states).mean()

        weights = (torch.randn(64, 128) * 0.1, torch.randn(128, 128) * 0.08, torch.randn(128) * 0.1)
        return torch.func.grad_and_value(rnn), [weights, torch.randn(16, 128) * 0.1, torch.randn(200, 16, 64)], 1

    def jacobian(a, b, x):
        return torch.func.jacrev(lambda x: torch.tanh(b @ torch.tanh(a @ x)))(x)

    return jacobian, [torch.randn(128, 64) * 0.1, torch.randn(64, 128) * 0.1, torch.randn(64)], 100


def mlp_step(compile, device):
    model = torch.nn.Sequential(
        torch.nn.Linear(784, 512), torch.nn.ReLU(), torch.nn.Linear(512, 512), torch.nn.ReLU(), torch.nn.Linear(512, 10)
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True, capturable=device != "cpu")
    x, y = torch.randn(128, 784), torch.randint(0, 10, (128,))
    loss = compile(lambda x, y: F.cross_entropy(model(x), y))

    def step():
        optimizer.zero_grad(set_to_none=True)
        loss(x, y).backward()
        optimizer.step()

    return step


def digits_step(compile, device):
    model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.GELU(), torch.nn.Linear(64, 10))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, fused=True, capturable=device != "cpu")
    x, y = torch.randn(64, 64), torch.randint(0, 10, (64,))
    loss = compile(lambda x, y: F.cross_entropy(model(x), y))

    def step():
        optimizer.zero_grad(set_to_none=True)
        loss(x, y).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0, foreach=True)
        optimizer.step()

    return step
