"""Small TensorFlow.js graph models, written node by node as the converter writes them: JSON and shards of weights.

Used by the tests and by the script that makes the recorded references. Needs no TensorFlow.
"""

from __future__ import annotations

import base64
import json
import struct
from pathlib import Path

import numpy as np

FLOAT, INT32, INT64, BOOL, STRING = "DT_FLOAT", "DT_INT32", "DT_INT64", "DT_BOOL", "DT_STRING"
_DECLARED = {
    "float32": FLOAT,
    "float64": "DT_DOUBLE",
    "float16": "DT_HALF",
    "int32": INT32,
    "int64": INT64,
    "uint8": "DT_UINT8",
    "bool": BOOL,
    "complex64": "DT_COMPLEX64",
    "object": STRING,
}
_STORED = {"float64": "float32", "float16": "float32", "int64": "int32", "uint8": "int32"}


def attribute(value) -> dict:
    """A Python value as the JSON of an attribute; ``DT_…`` strings are types, other strings bytes."""
    if isinstance(value, dict):
        return value
    if isinstance(value, bool):
        return {"b": value}
    if isinstance(value, int):
        return {"i": str(value)}
    if isinstance(value, float):
        return {"f": value}
    if isinstance(value, str):
        return {"type": value} if value.startswith("DT_") else {"s": base64.b64encode(value.encode()).decode()}
    kind = next(iter(attribute(value[0]))) if value else "i"
    return {"list": {kind: [attribute(item)[kind] for item in value]} if value else {}}


def shape(*sizes: int) -> dict:
    return {"dim": [{"size": str(size)} for size in sizes]} if sizes else {}


def tensor_info(name: str, dtype: str, *sizes: int) -> dict:
    """An entry of a signature."""
    return {"name": name, "dtype": dtype, "tensorShape": shape(*sizes)}


def node(name: str, op: str, *inputs: str, **attributes) -> dict:
    made = {"name": name, "op": op, "attr": {key: attribute(value) for key, value in attributes.items()}}
    return made | {"input": list(inputs)} if inputs else made


class GraphModel:
    """A model in the making: ``document`` is what becomes its JSON, ``weights`` what becomes its shards."""

    def __init__(self) -> None:
        self.weights: list[tuple[str, np.ndarray, str | None]] = []
        self.document: dict = {
            "format": "graph-model",
            "generatedBy": "2.21.0",
            "convertedBy": "tensorhost tests",
            "modelTopology": {"node": [], "library": {}, "versions": {"producer": 1987}},
        }

    @property
    def nodes(self) -> list[dict]:
        return self.document["modelTopology"]["node"]

    def placeholder(self, name: str, dtype: str, *sizes: int) -> str:
        self.nodes.append(node(name, "Placeholder", dtype=dtype, shape={"shape": shape(*sizes)}))
        return name

    def add(self, name: str, op: str, *inputs: str, **attributes) -> str:
        self.nodes.append(node(name, op, *inputs, **attributes))
        return name

    def const(self, name: str, value, quantize: str | None = None) -> str:
        """A constant; the type of ``value`` is the one its node declares."""
        array = np.asarray(value)
        self.nodes.append(self.constant_node(name, array, quantize))
        return name

    def constant_node(self, name: str, array: np.ndarray, quantize: str | None = None) -> dict:
        self.weights.append((name, array, quantize))
        return node(name, "Const", dtype=_DECLARED[array.dtype.name])

    def sign(self, inputs: dict, outputs: dict) -> None:
        self.document["signature"] = {"inputs": inputs, "outputs": outputs}

    def write(self, folder: Path, shard_bytes: int = 4 * 2**20) -> Path:
        """Write ``model.json`` and shards into ``folder``; the path of the first."""
        folder.mkdir(parents=True, exist_ok=True)
        entries, contents = [], b""
        for name, array, quantize in self.weights:
            entry, piece = encode(name, array, quantize)
            entries.append(entry)
            contents += piece
        pieces = [contents[start : start + shard_bytes] for start in range(0, len(contents), shard_bytes)]
        paths = [f"group1-shard{number + 1}of{len(pieces)}.bin" for number in range(len(pieces))]
        for path, piece in zip(paths, pieces, strict=True):
            (folder / path).write_bytes(piece)
        self.document["weightsManifest"] = [{"paths": paths, "weights": entries}]
        return self.write_json(folder)

    def write_json(self, folder: Path) -> Path:
        """Write ``model.json`` as ``document`` is now."""
        path = folder / "model.json"
        path.write_text(json.dumps(self.document, separators=(",", ":")))
        return path


def encode(name: str, array: np.ndarray, quantize: str | None) -> tuple[dict, bytes]:
    """The entry of the manifest and the bytes of one weight."""
    stored = array.astype(_STORED.get(array.dtype.name, array.dtype))
    dtype = "string" if array.dtype.hasobject else stored.dtype.name
    entry = {"name": name, "shape": list(array.shape), "dtype": dtype}
    if dtype == "string":
        return entry, b"".join(struct.pack("<I", len(text)) + text for text in array.reshape(-1))
    if quantize is None:
        return entry, stored.tobytes()
    if quantize == "float16":
        return entry | {"quantization": {"dtype": "float16", "original_dtype": dtype}}, stored.astype("<f2").tobytes()
    low, high = float(stored.min()), float(stored.max())
    scale = (high - low) / np.iinfo(quantize).max or 1.0
    quantized = np.round((stored - low) / scale).astype(quantize)
    affine = {"dtype": quantize, "min": low, "scale": scale, "original_dtype": dtype}
    return entry | {"quantization": affine}, quantized.tobytes()


def dense_model(rows: int = -1) -> GraphModel:
    """``y = relu(x @ kernel + bias)`` as one fused node: input ``x:0`` of 4, output ``y:0`` of 300 numbers."""
    random = np.random.default_rng(7)
    model = GraphModel()
    model.placeholder("x", FLOAT, rows, 4)
    model.const("kernel", random.normal(size=(4, 300)).astype(np.float32))
    model.const("bias", random.normal(size=300).astype(np.float32))
    model.add("y", "_FusedMatMul", "x", "kernel", "bias", T=FLOAT, num_args=1, fused_ops=["BiasAdd", "Relu"])
    model.sign({"x:0": tensor_info("x:0", FLOAT, rows, 4)}, {"y:0": tensor_info("y:0", FLOAT, rows, 300)})
    return model
