"""The file format of the reference cases: tensors to JSON, and the list that cases are recorded into."""

import json

import numpy as np
import scipy
import torch

DTYPES = {
    "f64": torch.float64,
    "f32": torch.float32,
    "f16": torch.float16,
    "bf16": torch.bfloat16,
    "i64": torch.int64,
    "i32": torch.int32,
    "i16": torch.int16,
    "i8": torch.int8,
    "u64": torch.uint64,
    "u32": torch.uint32,
    "u16": torch.uint16,
    "u8": torch.uint8,
    "bool": torch.bool,
}
NAMES = {dtype: name for name, dtype in DTYPES.items()}
FLOATS = ["f64", "f32", "f16", "bf16"]
INTS = ["i64", "i32", "u8"]

TORCH = f"torch {torch.__version__.split('+')[0]}"
NUMPY = f"numpy {np.__version__}"
SCIPY = f"scipy {scipy.__version__}"


def narrow(x, dtype):
    """A float64 tensor in `dtype`, rounded as the compiler rounds: to f32 first where the dtype has 16 bits."""
    x = torch.as_tensor(x, dtype=torch.float64)
    if dtype in ("f16", "bf16"):
        x = x.to(torch.float32)
    return x.to(DTYPES[dtype])


def tensor(values, dtype):
    """A tensor from Python values."""
    if dtype in FLOATS:
        return narrow(torch.tensor(values, dtype=torch.float64), dtype)
    return torch.tensor(values, dtype=DTYPES[dtype])


def wide(x):
    """As float64 (exact for every float dtype)."""
    return x.to(torch.float64)


def encode(x):
    """A tensor as JSON; every NaN is written as the positive quiet one."""
    if isinstance(x, np.ndarray | np.generic):
        x = torch.from_numpy(np.array(x))
    x = x.detach().contiguous()
    if x.dtype.is_floating_point:
        x = torch.where(x.isnan(), torch.full_like(x, float("nan")), x)
    data = x.reshape(-1).view(torch.uint8).numpy().tobytes() if x.numel() else b""
    return {"dtype": NAMES[x.dtype], "shape": list(x.shape), "bits": data.hex()}


def scalar(value, dtype):
    """A scalar attribute."""
    x = encode(tensor(value, dtype))
    return {"dtype": x["dtype"], "bits": x["bits"]}


class Cases:
    """Recorded cases in order; names are made unique by construction and checked."""

    def __init__(self):
        self.cases = {}

    def add(self, name, op, attrs, inputs, outputs, source, tolerance, cotangents=None, gradients=None):
        assert name not in self.cases, name
        assert tolerance in ("exact", "ulp", "reduction", "composition"), tolerance
        case = {
            "name": name,
            "op": op,
            "attrs": attrs,
            "inputs": [encode(x) for x in inputs],
            "outputs": [encode(x) for x in outputs],
        }
        if gradients is not None:
            case["cotangents"] = [encode(x) for x in cotangents]
            case["gradients"] = [None if g is None else encode(g) for g in gradients]
        case["source"] = source
        case["tolerance_class"] = tolerance
        self.cases[name] = case

    def text(self):
        return "".join(json.dumps(case, separators=(",", ":")) + "\n" for case in self.cases.values())
