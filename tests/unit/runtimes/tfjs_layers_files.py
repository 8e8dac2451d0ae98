"""Small TensorFlow.js layers models written by hand: what a test changes is all that differs from a good one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from tensorhost.runtimes import LoadOptions
from tensorhost.runtimes.base import Runtime
from tensorhost.runtimes.tfjs.layers_model import load_layers_model
from tensorhost.runtimes.tfjs.model_json import read_model_json

Weights = dict[str, Any]


def layer(kind: str, name: str, inbound: list[Any] | None = None, **config: Any) -> dict[str, Any]:
    data: dict[str, Any] = {"class_name": kind, "config": {"name": name, **config}}
    return data if inbound is None else {**data, "name": name, "inbound_nodes": inbound}


def sequential(*layers: dict[str, Any]) -> dict[str, Any]:
    return {"class_name": "Sequential", "config": {"name": "model", "layers": list(layers)}}


def functional(layers: list[dict[str, Any]], inputs: list[str], outputs: list[Any]) -> dict[str, Any]:
    references = [output if isinstance(output, list) else [output, 0, 0] for output in outputs]
    config = {"name": "model", "layers": layers, "input_layers": [[name, 0, 0] for name in inputs]}
    return {"class_name": "Functional", "config": {**config, "output_layers": references}}


def dense_model(**changes: Any) -> dict[str, Any]:
    """One dense layer from 3 numbers to 2."""
    return sequential(layer("Dense", "dense", **{"units": 2, "batch_input_shape": [None, 3], **changes}))


def dense_weights() -> Weights:
    kernel = np.arange(6, dtype=np.float32).reshape(3, 2) / 10
    return {"dense/kernel": kernel, "dense/bias": np.array([0.5, -0.5], np.float32)}


def write(folder: Path, topology: Any, weights: Weights | None = None) -> Path:
    """The path of the ``model.json`` of a model with float32 weights."""
    weights = dense_weights() if weights is None else weights
    arrays = {name: np.asarray(value, np.float32) for name, value in weights.items()}
    entries = [{"name": name, "shape": list(array.shape), "dtype": "float32"} for name, array in arrays.items()]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "weights.bin").write_bytes(b"".join(array.tobytes() for array in arrays.values()))
    document = {"modelTopology": topology, "weightsManifest": [{"paths": ["weights.bin"], "weights": entries}]}
    path = folder / "model.json"
    path.write_text(json.dumps(document))
    return path


def load(folder: Path, topology: Any, weights: Weights | None, options: LoadOptions) -> Runtime:
    return load_layers_model(read_model_json(write(folder, topology, weights)), options)
