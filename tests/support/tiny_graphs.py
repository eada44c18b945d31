"""Tiny stand-ins for the two graphs that prepare a voice, and recordings for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import soundfile
from onnx import TensorProto, helper, numpy_helper

#: Fixed mixing weights of the speaker graph.
MIX = np.random.default_rng(0).normal(size=(80, 192)).astype(np.float32)


def save_graph(
    path: Path,
    nodes: list[onnx.NodeProto],
    inputs: list[Any],
    output: str,
    kind: int,
    constants: dict[str, Any],
) -> Path:
    graph = helper.make_graph(
        nodes,
        path.stem,
        [helper.make_tensor_value_info(*port) for port in inputs],
        [helper.make_tensor_value_info(output, kind, None)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return path


def write_tokenizer(folder: Path, *, scale: float = 1000.0) -> Path:
    """Write ids = maximum of the 100 Hz log-mel over 4 frames and 128 bands, times `scale`; released port names."""
    nodes = [
        helper.make_node("ReduceMax", ["feats"], ["loud"], axes=[1], keepdims=1),
        helper.make_node("MaxPool", ["loud"], ["pooled"], kernel_shape=[4], strides=[4]),
        helper.make_node("Mul", ["pooled", "scale"], ["scaled"]),
        helper.make_node("Abs", ["scaled"], ["positive"]),
        helper.make_node("Cast", ["positive"], ["ids"], to=TensorProto.INT32),
    ]
    inputs = [("feats", TensorProto.FLOAT, [1, 128, "T"]), ("feats_length", TensorProto.INT32, [1])]
    constants = {"scale": np.array(scale, dtype=np.float32)}
    return save_graph(folder / "speech_tokenizer_v1.onnx", nodes, inputs, "ids", TensorProto.INT32, constants)


def write_speaker(folder: Path) -> Path:
    """Write embedding = mean over time of the squared filter bank, mixed to 192 values."""
    nodes = [
        helper.make_node("Mul", ["input", "input"], ["squared"]),
        helper.make_node("ReduceMean", ["squared"], ["mean"], axes=[1], keepdims=0),
        helper.make_node("MatMul", ["mean", "mix"], ["output"]),
    ]
    inputs = [("input", TensorProto.FLOAT, [1, "T", 80])]
    return save_graph(folder / "campplus.onnx", nodes, inputs, "output", TensorProto.FLOAT, {"mix": MIX})


def record(path: Path, *, seconds: float, rate: int = 24_000, channels: int = 1) -> Path:
    t = np.arange(round(seconds * rate)) / rate
    voice = 0.3 * np.sin(2 * np.pi * 150 * t) + 0.1 * np.sin(2 * np.pi * 2500 * t)
    soundfile.write(path, np.stack([voice] * channels, axis=1), rate, subtype="FLOAT")
    return path
