"""The workloads in JAX, each one jitted function. `make` is as in peer_torch.py."""

import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import jax.numpy as jnp
import numpy as np

VERSION = f"jax {jax.__version__}"


def make(workload, _threads, _compiled):
    random = np.random.default_rng(0)

    def normal(*shape, scale=1.0):
        return jnp.asarray((random.standard_normal(shape) * scale).astype(np.float32))

    if workload == "mlp_train_step":
        return mlp_step(normal, jnp.asarray(random.integers(0, 10, 128).astype(np.int32))), 1

    if workload == "tiny_call_overhead":
        f, operands, calls = lambda x: x * 2 + 1, [normal(4)], 1000
    elif workload.startswith("deep_chain_"):
        f, operands, calls = deep_chain(int(workload.removeprefix("deep_chain_"))), [normal(1024)], 1
    elif workload == "gelu_chain_64K":
        f, operands, calls = lambda x: jax.nn.gelu(x * 1.3 + 0.2, approximate=True) * 0.7, [normal(65536)], 20
    elif workload == "softmax_4096x1024":
        f, operands, calls = lambda x: jax.nn.softmax(x, axis=-1), [normal(4096, 1024)], 1
    elif workload == "layernorm_8192x768":
        f, operands, calls = layer_norm, [normal(8192, 768), normal(768), normal(768)], 1
    elif workload == "stencil_1024":
        f, operands, calls = stencil, [normal(1024, 1024)], 1
    elif workload == "stack_8x1M":
        f, operands, calls = lambda *xs: jnp.stack(xs, -1), [normal(1 << 20) for _ in range(8)], 1
    elif workload in ("mlp_gradient", "mlp_hvp", "per_example_gradients", "jacobian_64", "rnn_scan_200"):
        f, operands, calls = derivative(workload, normal, random)
    else:
        raise SystemExit(f"unknown workload {workload}")

    f = jax.jit(f)
    return lambda: jax.block_until_ready(f(*operands)), calls


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
    sizes = [784, 512, 512, 10]
    parameters = [(normal(i, o, scale=i**-0.5), jnp.zeros(o)) for i, o in zip(sizes, sizes[1:])]
    x = normal(128, 784)

    def loss(parameters):
        h = x
        for i, (w, b) in enumerate(parameters):
            h = h @ w + b
            h = jax.nn.relu(h) if i < 2 else h
        return -jnp.take_along_axis(jax.nn.log_softmax(h), labels[:, None], axis=1).mean()

    def step(parameters, m, v, t):
        value, gradients = jax.value_and_grad(loss)(parameters)
        t = t + 1
        m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, gradients)
        v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, gradients)
        a, b = 1 - 0.9**t, 1 - 0.999**t
        parameters = jax.tree.map(lambda p, m, v: p - 1e-3 * (m / a) / (jnp.sqrt(v / b) + 1e-8), parameters, m, v)
        return value, (parameters, m, v, t)

    step = jax.jit(step, donate_argnums=(0, 1, 2, 3))
    zeros = lambda: jax.tree.map(jnp.zeros_like, parameters)
    state = (parameters, zeros(), zeros(), jnp.zeros(()))

    def call():
        nonlocal state
        value, state = step(*state)
        jax.block_until_ready((value, state))

    return call
