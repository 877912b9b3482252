"""Random primitives, by plain Python after their documentation; derivatives of gamma variates by mpmath."""

import math
import struct

import mpmath
import torch

from .cases import tensor

MASK = 0xFFFF_FFFF
SOURCE = "philox4x32-10 in Python integers, checked against the known answers of Random123"


def philox(counter, key):
    c, k = list(counter), list(key)
    for _ in range(10):
        a, b = c[0] * 0xD2511F53, c[2] * 0xCD9E8D57
        c = [(b >> 32) ^ c[1] ^ k[0], b & MASK, (a >> 32) ^ c[3] ^ k[1], a & MASK]
        k = [(k[0] + 0x9E3779B9) & MASK, (k[1] + 0xBB67AE85) & MASK]
    return c


assert philox([0] * 4, [0] * 2) == [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]
assert philox([MASK] * 4, [MASK] * 2) == [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]
assert philox([0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344], [0xA4093822, 0x299F31D0]) == [
    0xD16CFE09,
    0x94FDCCEB,
    0x5001E420,
    0x24126EA1,
]


def bits(key, index, stream):
    block = index // 4
    return philox([block & MASK, block >> 32, 0, stream], key)[index % 4]


def units(key, index, attempt, stream):
    w = philox([index & MASK, index >> 32, attempt, stream], key)
    return [((w[i] << 32 | w[i + 1]) >> 11) * 2.0**-53 for i in (0, 2)]


def log_gamma(key, index, shape):
    stream = int.from_bytes(b"GAMM", "big")
    raised = shape + 1 if shape < 1 else shape
    d = raised - 1.0 / 3.0
    c = 1.0 / math.sqrt(9.0 * d)
    for attempt in range(1000):
        radius, angle = units(key, index, 2 * attempt, stream)
        x = math.sqrt(-2.0 * math.log(1.0 - radius)) * math.cos(math.tau * angle)
        v = (1.0 + c * x) ** 3
        u = 1.0 - units(key, index, 2 * attempt + 1, stream)[0]
        if v > 0 and math.log(u) < 0.5 * x * x + d * (1.0 - v + math.log(v)):
            break
    boost = math.log(1.0 - units(key, index, MASK, stream)[0]) / shape if shape < 1 else 0.0
    return math.log(d) + math.log(v) + boost


def poisson(key, index, rate):
    stream = int.from_bytes(b"POIS", "big")
    if rate < 10:
        product, count = 1.0, 0
        while True:
            product *= units(key, index, count // 2, stream)[count % 2]
            if product <= math.exp(-rate):
                return float(count)
            count += 1
    b = 0.931 + 2.53 * math.sqrt(rate)
    a = -0.059 + 0.02483 * b
    for attempt in range(1000):
        u, v = units(key, index, attempt, stream)
        u -= 0.5
        us = 0.5 - abs(u)
        k = math.floor((2 * a / us + b) * u + rate + 0.43)
        if us >= 0.07 and v <= 0.9277 - 3.6224 / (b - 2):
            return float(k)
        if k < 0 or (us < 0.013 and v > us):
            continue
        left = math.log(v) + math.log(1.1239 + 1.1328 / (b - 3.4)) - math.log(a / (us * us) + b)
        if left <= -rate + k * math.log(rate) - math.lgamma(k + 1):
            return float(k)


def slope(a, log_x):
    """-dP/da / (x dP/dx), with the derivative of the incomplete gamma function as an integral."""
    mpmath.mp.dps = 40
    a, log_x = mpmath.mpf(a), mpmath.mpf(log_x)
    x = mpmath.exp(log_x)
    psi = mpmath.digamma(a)
    spread = mpmath.sqrt(a) + 1
    if x <= a + 1:
        # t = x e^-w
        f = lambda w: mpmath.exp(-a * w - x * mpmath.expm1(-w)) * (log_x - w - psi)
        unit = 1 / (a + mpmath.sqrt(a))
        ends = [0] + sorted({unit * n for n in (0.5, 1, 2, 4, 8, 16, 32, 64, 128, 512)} | {mpmath.mpf(n) for n in (0.5, 1, 2, 4, 8, 16, 32)})
        return -mpmath.quad(f, ends + [mpmath.inf])
    f = lambda s: mpmath.exp((a - 1) * mpmath.log1p(s / x) - s) * (mpmath.log(x + s) - psi) / x
    return mpmath.quad(f, [0] + [spread * n for n in (0.5, 1, 2, 4, 8, 16, 32, 64)] + [mpmath.inf])


def u64(values):
    return torch.frombuffer(bytearray(struct.pack(f"<{len(values)}Q", *values)), dtype=torch.uint64)


def u32(values):
    return torch.frombuffer(bytearray(struct.pack(f"<{len(values)}I", *values)), dtype=torch.uint32)


def record(cases):
    indices = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 1 << 33, (1 << 34) + 3, (1 << 64) - 1]
    keys = [[0, 0], [MASK, MASK], [0xA4093822, 0x299F31D0]]
    for n, key in enumerate(keys):
        for stream in (0, 7, MASK):
            inputs = [u32([key[0]] * len(indices)), u32([key[1]] * len(indices)), u64(indices)]
            words = u32([bits(key, i, stream) for i in indices])
            cases.add(f"philox_{n}_{stream}", "philox", {"stream": stream}, inputs, [words], SOURCE, "exact")
    shapes = [1e-3, 0.1, 0.5, 0.9, 1.0, 1.5, 3.0, 10.0, 100.0, 1e4, 1e8]
    rates = [0.0, 0.01, 0.5, 3.0, 9.5, 10.0, 12.5, 40.0, 1000.0, 1e7]
    for name, parameters, draw in [("random_log_gamma", shapes, log_gamma), ("random_poisson", rates, poisson)]:
        values = [(p, i) for p in parameters for i in (0, 1, 2, 3, 1 << 40)]
        for n, key in enumerate(keys):
            inputs = [u32([k] * len(values)) for k in key] + [u64([i for _, i in values]), tensor([p for p, _ in values], "f64")]
            drawn = tensor([draw(key, i, p) for p, i in values], "f64")
            source = f"{SOURCE}; the method in Python floats"
            cases.add(f"{name}_{n}", name, {}, inputs, [drawn], source, "composition")
    pairs = []
    for a in [1e-6, 1e-3, 0.1, 0.5, 1.0, 1.5, 2.0, 3.0, 7.0, 30.0, 400.0, 2e4, 9.9e4, 1e6]:
        for z in (-3.0, -1.0, 0.0, 1.0, 3.0, 6.0):
            x = a + z * math.sqrt(a)
            if x > 0:
                pairs.append((a, math.log(x)))
        pairs.append((a, math.log(a + 1 + 4 * math.sqrt(a))))
        if a < 1:
            pairs += [(a, -0.1 / a), (a, -3 / a), (a, -20.0)]
    for a, log_x in pairs:
        value = tensor([float(slope(a, log_x))], "f64")
        inputs = [tensor([a], "f64"), tensor([log_x], "f64")]
        cases.add(f"log_gamma_slope_{a}_{log_x}", "log_gamma_slope", {}, inputs, [value], f"mpmath {mpmath.__version__}", "ulp")
