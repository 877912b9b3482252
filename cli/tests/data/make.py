"""Writes the models of this folder, with the package onnx."""

import os

import numpy as np
from onnx import TensorProto, helper, numpy_helper, save

os.chdir(os.path.dirname(os.path.abspath(__file__)))


def model(name, nodes, inputs, outputs, constants):
    graph = helper.make_graph(nodes, name, inputs, outputs, [numpy_helper.from_array(v, k) for k, v in constants.items()])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(made, {"made by": "a test"})
    save(made, f"{name}.onnx")


info = helper.make_tensor_value_info
weight = np.arange(6, dtype=np.float32).reshape(3, 2) / 4 - 0.5
model(
    "layer",
    [
        helper.make_node("Gemm", ["x", "weight", "bias"], ["linear"], name="gemm"),
        helper.make_node("Tanh", ["linear"], ["y.out"], name="tanh"),
        helper.make_node("ReduceSum", ["y.out"], ["sum"], keepdims=0, name="sum"),
    ],
    [info("x", TensorProto.FLOAT, ["batch", 3])],
    [info("y.out", TensorProto.FLOAT, ["batch", 2]), info("sum", TensorProto.FLOAT, [])],
    {"weight": weight, "bias": np.float32([0.25, -0.25])},
)
model(
    "places",
    [helper.make_node("NonZero", ["x"], ["places"], name="nonzero")],
    [info("x", TensorProto.FLOAT, [4])],
    [info("places", TensorProto.INT64, [1, None])],
    {},
)
