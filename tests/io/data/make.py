"""Writes the files of this folder, with NumPy, ml_dtypes, PyTorch and Hugging Face's safetensors."""

import os
import struct

import ml_dtypes
import numpy as np
import torch
from safetensors.torch import save_file

os.chdir(os.path.dirname(os.path.abspath(__file__)))
torch_types = "float64 float32 float16 bfloat16 int64 int32 int16 int8 uint64 uint32 uint16 uint8".split()
tensors = {name: torch.tensor([[0, 1, 2], [3, 4, 5]], dtype=getattr(torch, name)) for name in torch_types}
tensors["bool"] = torch.tensor([True, False, True])
tensors["scalar"] = torch.tensor(2.5)
tensors["empty"] = torch.zeros([0, 4])
save_file(tensors, "torch.safetensors", metadata={"format": "pt"})
save_file({"a": torch.ones(2), "b": torch.ones(2).to(torch.float8_e4m3fn)}, "fp8.safetensors")

numpy_types = "float64 float32 float16 int64 int32 int16 int8 uint64 uint32 uint16 uint8".split()
arrays = {name: np.array([[0, 1, 2], [3, 4, 5]], dtype=name) for name in numpy_types}
arrays["bool"] = np.array([True, False, True])
arrays["scalar"] = np.float32(2.5)
arrays["empty"] = np.zeros([0, 4], dtype=np.float32)
arrays["big"] = np.array([[1.5, 2.5, 3.5], [4.5, 5.5, 6.5]], dtype=">f4")
arrays["fortran"] = np.asfortranarray(np.arange(24, dtype=np.int32).reshape(2, 3, 4))
arrays["bfloat16"] = np.array([0.5, -3.0], dtype=ml_dtypes.bfloat16)
np.savez("stored.npz", **arrays)
np.savez_compressed("compressed.npz", **arrays)
np.savez("positions.npz", np.float32([1, 2]), np.int64([3]))
np.save("objects.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
for version in [(1, 0), (2, 0), (3, 0)]:
    with open(f"version{version[0]}.npy", "wb") as file:
        np.lib.format.write_array(file, np.float32([[1, 2], [3, 4]]), version=version)
