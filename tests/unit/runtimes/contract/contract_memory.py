"""A process that loads and closes a model of most formats again and again and reports its memory, a line per format.

Run as ``python contract_memory.py FOLDER``. The models are a matrix product with 4 MiB of weights, made here.
"""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tensorhost.models.loading import release_memory
from tensorhost.runtimes import LoadOptions, load, prepare
from tensorhost.telemetry import process_memory

SIZE = 1024
MODEL_BYTES = SIZE * SIZE * 4
SETTLING, CYCLES = 1, 3


def main() -> None:
    warnings.simplefilter("ignore")
    options = LoadOptions(intra_op_threads=1, inter_op_threads=1)
    prepare(options)
    weights = np.random.default_rng(0).normal(size=(SIZE, SIZE)).astype(np.float32)
    models = dict(write(Path(sys.argv[1]), weights))
    x = np.ones((2, SIZE), np.float32)
    for name, path in models.items():
        for cycle in range(SETTLING + CYCLES):
            runtime = load(path, options)
            [signature] = runtime.signatures.values()
            [answer] = runtime.run(signature.name, {next(iter(signature.inputs)): x}).values()
            np.testing.assert_allclose(answer, x @ weights, rtol=1e-3, atol=1e-2)
            runtime.close()
            del runtime, answer
            release_memory()
            if cycle == SETTLING - 1:
                before = process_memory().rss
        print(json.dumps({"name": name, "grown_bytes": process_memory().rss - before}), flush=True)


def write(folder: Path, weights: np.ndarray) -> Iterator[tuple[str, Path]]:
    """A model of each format in ``folder``."""
    import keras
    import tensorflow as tf

    yield "saved_model", _saved_model(tf, folder / "saved_model", weights)
    yield "graph_def", _graph_def(tf, folder / "graph.pb", weights)
    yield "keras", _keras(keras, folder / "model.keras", weights)
    yield "tflite", _tflite(folder / "model.tflite", weights)
    yield "tfjs", _tfjs(folder / "tfjs", weights)
    yield "tfjs layers", _tfjs_layers(folder / "layers", weights)


def _saved_model(tf: Any, folder: Path, weights: np.ndarray) -> Path:
    module = tf.Module()
    module.weights = tf.Variable(weights)
    spec = tf.TensorSpec([None, SIZE], tf.float32, name="x")
    function = tf.function(lambda x: {"y": x @ module.weights}, input_signature=[spec])
    tf.saved_model.save(module, str(folder), signatures={"serving_default": function})
    return folder


def _graph_def(tf: Any, file: Path, weights: np.ndarray) -> Path:
    with tf.Graph().as_default() as graph:
        tf.matmul(tf.compat.v1.placeholder(tf.float32, [None, SIZE], name="x"), tf.constant(weights), name="y")
    file.write_bytes(graph.as_graph_def().SerializeToString())
    return file


def _keras(keras: Any, file: Path, weights: np.ndarray) -> Path:
    x = keras.Input((SIZE,), name="x")
    model = keras.Model(x, keras.layers.Dense(SIZE, use_bias=False, name="y")(x))
    model.set_weights([weights])
    model.save(file)
    keras.backend.clear_session()
    return file


def _tflite(file: Path, weights: np.ndarray) -> Path:
    from ai_edge_litert import schema_py_generated as schema
    from tflite_models import Flat

    flat = Flat()
    flat.tensor("x", (1, SIZE), signature=[-1, SIZE])
    flat.tensor("weights", (SIZE, SIZE), constant=np.ascontiguousarray(weights.T))
    flat.tensor("y", (1, SIZE), signature=[-1, SIZE])
    kind = schema.BuiltinOptions.FullyConnectedOptions
    flat.operator(
        schema.BuiltinOperator.FULLY_CONNECTED, [0, 1, -1], [2], options=schema.FullyConnectedOptionsT(), kind=kind
    )
    file.write_bytes(flat.ports([0], [2]).build())
    return file


def _tfjs(folder: Path, weights: np.ndarray) -> Path:
    from tfjs_graph_models import FLOAT, GraphModel, tensor_info

    model = GraphModel()
    model.placeholder("x", FLOAT, -1, SIZE)
    model.const("weights", weights)
    model.add("y", "MatMul", "x", "weights", T=FLOAT)
    model.sign({"x": tensor_info("x:0", FLOAT, -1, SIZE)}, {"y": tensor_info("y:0", FLOAT, -1, SIZE)})
    return model.write(folder)


def _tfjs_layers(folder: Path, weights: np.ndarray) -> Path:
    config = {"name": "y", "units": SIZE, "use_bias": False, "activation": "linear", "batch_input_shape": [None, SIZE]}
    layers = {
        "class_name": "Sequential",
        "config": {"name": "m", "layers": [{"class_name": "Dense", "config": config}]},
    }
    manifest = {"paths": ["weights.bin"], "weights": [{"name": "y/kernel", "shape": [SIZE, SIZE], "dtype": "float32"}]}
    topology = {"model_config": layers, "keras_version": "2.15.0", "backend": "tensorflow"}
    folder.mkdir()
    (folder / "weights.bin").write_bytes(weights.tobytes())
    document = {"format": "layers-model", "modelTopology": topology, "weightsManifest": [manifest]}
    (folder / "model.json").write_text(json.dumps(document), encoding="utf-8")
    return folder / "model.json"


if __name__ == "__main__":
    main()
