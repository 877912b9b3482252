"""The workloads in JAX, each one jitted function. `make` is as in peer_torch.py; there are no modes."""

import os
import sys

# `worker.py PEER WORKLOAD THREADS [DEVICE]`: it must be known before JAX is imported.
DEVICE = sys.argv[4] if len(sys.argv) > 4 else "cpu"
os.environ["JAX_PLATFORMS"] = DEVICE.split(":")[0]
# Not three quarters of the memory: others run beside it.
os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.3")

import jax
import jax.numpy as jnp
import numpy as np

# As everybody else: f32 products are of f32, not of TF32.
jax.config.update("jax_default_matmul_precision", "highest")
VERSION = f"jax {jax.__version__}"
LARGE = 1 << 26


def make(workload, _threads, _mode, device):
    random = np.random.default_rng(0)

    def normal(*shape, scale=1.0):
        return jnp.asarray((random.standard_normal(shape, np.float32) * np.float32(scale)))

    def labels(n):
        return jnp.asarray(random.integers(0, 10, n).astype(np.int32))

    done = None

    def wait():
        jax.block_until_ready(done)

    if workload in ("mlp_train_step", "digits_step"):
        call = mlp_step(normal, labels(128)) if workload == "mlp_train_step" else digits_step(normal, labels(64))

        def step():
            nonlocal done
            done = call()
            if device == "cpu":
                wait()

        return step, 1, wait

    def sets(make):
        """Inputs of several calls, so that none finds its own in the GPU's cache."""
        first = make()
        size = sum(x.nbytes for x in first)
        more = 0 if device == "cpu" else max(1, min(31, (512 << 20) // max(size, 1) - 1))
        # Other data of the same kind, made where it is used.
        return [first] + [[x + 0.001 * i for x in first] for i in range(1, more + 1)]

    if workload == "tiny_call_overhead":
        f, many, calls = lambda x: x * 2 + 1, [[normal(4)]], 1000
    elif workload == "add_64M":
        f, many, calls = lambda x: x + 1.0, sets(lambda: [normal(LARGE)]), 1
    elif workload == "sum_64M":
        f, many, calls = lambda x: x.sum(), sets(lambda: [normal(LARGE)]), 1
    elif workload.startswith("deep_chain_"):
        f, many, calls = deep_chain(int(workload.removeprefix("deep_chain_"))), [[normal(1024)]], 1
    elif workload in ("gelu_chain_64K", "gelu_chain_64M"):
        n, calls = (65536, 20) if workload.endswith("K") else (LARGE, 1)
        f, many = lambda x: jax.nn.gelu(x * 1.3 + 0.2, approximate=True) * 0.7, sets(lambda: [normal(n)])
    elif workload in ("softmax_4096x1024", "softmax_64Kx1024"):
        rows = 4096 if "4096" in workload else 1 << 16
        f, many, calls = lambda x: jax.nn.softmax(x, axis=-1), sets(lambda: [normal(rows, 1024)]), 1
    elif workload in ("layernorm_8192x768", "layernorm_64Kx1024"):
        n, m = (8192, 768) if "768" in workload else (1 << 16, 1024)
        f, many, calls = layer_norm, sets(lambda: [normal(n, m), normal(m), normal(m)]), 1
    elif workload == "stencil_1024":
        f, many, calls = stencil, sets(lambda: [normal(1024, 1024)]), 1
    elif workload == "stack_8x1M":
        f, many, calls = lambda *xs: jnp.stack(xs, -1), sets(lambda: [normal(1 << 20) for _ in range(8)]), 1
    elif workload in ("mlp_gradient", "mlp_hvp", "per_example_gradients", "jacobian_64", "rnn_scan_200"):
        f, operands, calls = derivative(workload, normal, random)
        many = [operands]
    else:
        raise SystemExit(f"unknown workload {workload}")

    f, turn = jax.jit(f), 0

    def call():
        nonlocal done, turn
        turn = (turn + 1) % len(many)
        done = f(*many[turn])
        if device == "cpu":
            wait()

    return call, calls, wait


def deep_chain(ops):
    def chain(x):
        for _ in range(ops // 2):
            x = x * 0.999
            x = x + 0.001
        return x

    return chain


def stencil(x):
    padded = jnp.pad(x, 1)
    return sum(padded[i // 3 : i // 3 + 1024, i % 3 : i % 3 + 1024] * (1.0 + i) for i in range(9))


def layer_norm(x, w, b):
    centred = x - x.mean(axis=-1, keepdims=True)
    variance = (centred * centred).mean(axis=-1, keepdims=True)
    return centred * jax.lax.rsqrt(variance + 1e-5) * w + b


def derivative(workload, normal, random):
    def mlp(*sizes):
        return [(normal(i, o, scale=i**-0.5), jnp.zeros(o)) for i, o in zip(sizes, sizes[1:])]

    def labels(n):
        return jnp.asarray(random.integers(0, 10, n).astype(np.int32))

    def loss(parameters, x, y):
        for i, (w, b) in enumerate(parameters):
            x = x @ w + b
            x = jnp.tanh(x) if i + 1 < len(parameters) else x
        return -jnp.take_along_axis(jax.nn.log_softmax(x), y[..., None], axis=-1).mean()

    if workload == "mlp_gradient":
        return jax.grad(loss), [mlp(784, 512, 512, 10), normal(128, 784), labels(128)], 1
    if workload == "mlp_hvp":
        def product(p, v, x, y):
            return jax.jvp(lambda p: jax.grad(loss)(p, x, y), (p,), (v,))[1]

        return product, [mlp(64, 128, 128, 10), mlp(64, 128, 128, 10), normal(64, 64), labels(64)], 20
    if workload == "per_example_gradients":
        return jax.vmap(jax.grad(loss), (None, 0, 0)), [mlp(64, 64, 10), normal(64, 64), labels(64)], 20

    if workload == "rnn_scan_200":

        def rnn(parameters, h, xs):
            wx, wh, b = parameters

            def step(h, x):
                h = jnp.tanh(x @ wx + h @ wh + b)
                return h, h

            _, states = jax.lax.scan(step, h, xs)
            return (states * states).mean()

        weights = (normal(64, 128, scale=0.1), normal(128, 128, scale=0.08), normal(128, scale=0.1))
        return jax.value_and_grad(rnn), [weights, normal(16, 128, scale=0.1), normal(200, 16, 64)], 1

    def jacobian(a, b, x):
        return jax.jacrev(lambda x: jnp.tanh(b @ jnp.tanh(a @ x)))(x)

    return jacobian, [normal(128, 64, scale=0.1), normal(64, 128, scale=0.1), normal(64)], 100


def mlp_step(normal, labels):
    def update(parameters, gradients, m, v, t):
        t = t + 1
        m, v = moments(gradients, m, v)
        a, b = 1 - 0.9**t, 1 - 0.999**t
        parameters = jax.tree.map(lambda p, m, v: p - 1e-3 * (m / a) / (jnp.sqrt(v / b) + 1e-8), parameters, m, v)
        return parameters, m, v, t

    return training([784, 512, 512, 10], 128, jax.nn.relu, update, normal, labels)


def digits_step(normal, labels):
    def update(parameters, gradients, m, v, t):
        norm = jnp.sqrt(sum((g * g).sum() for g in jax.tree.leaves(gradients)))
        gradients = jax.tree.map(lambda g: g * jnp.minimum(1.0, 1.0 / (norm + 1e-6)), gradients)
        t = t + 1
        m, v = moments(gradients, m, v)
        a, b = 1 - 0.9**t, 1 - 0.999**t

        def new(p, m, v):
            return p * (1 - 3e-3 * 0.01) - 3e-3 * (m / a) / (jnp.sqrt(v / b) + 1e-8)

        return jax.tree.map(new, parameters, m, v), m, v, t

    return training([64, 64, 10], 64, lambda h: jax.nn.gelu(h, approximate=False), update, normal, labels)


def moments(gradients, m, v):
    m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, gradients)
    return m, jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, gradients)


def training(sizes, rows, activation, update, normal, labels):
    parameters = [(normal(i, o, scale=i**-0.5), jnp.zeros(o)) for i, o in zip(sizes, sizes[1:])]
    x = normal(rows, sizes[0])

    def loss(parameters):
        h = x
        for i, (w, b) in enumerate(parameters):
            h = h @ w + b
            h = activation(h) if i + 1 < len(parameters) else h
        return -jnp.take_along_axis(jax.nn.log_softmax(h), labels[:, None], axis=1).mean()

    def step(parameters, m, v, t):
        value, gradients = jax.value_and_grad(loss)(parameters)
        return value, update(parameters, gradients, m, v, t)

    step = jax.jit(step, donate_argnums=(0, 1, 2, 3))
    zeros = lambda: jax.tree.map(jnp.zeros_like, parameters)
    state = (parameters, zeros(), zeros(), jnp.zeros(()))

    def call():
        nonlocal state
        value, state = step(*state)
        return value, state

    return call
