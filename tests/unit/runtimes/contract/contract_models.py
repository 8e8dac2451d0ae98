"""Models that only the contract suite needs: bare graphs, and models whose rows depend on each other."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path

import numpy as np

WEIGHTS = np.array([[0.5, -1.0], [2.0, 0.25], [-0.75, 1.5]], np.float32)
WORDS = {b"a": 1, b"b": 2}
OTHER_WORDS = {b"a": 10, b"b": 20}


def write_graphs(tf, root: Path) -> Path:
    """Frozen graphs; gives ``root``.

    ``linear`` (x @ WEIGHTS), ``words`` (a table and text), ``other_words`` (a table of the same name with other
    numbers), ``mixing`` (x minus the mean of the batch).
    """
    v1 = tf.compat.v1
    with tf.Graph().as_default() as linear:
        x = v1.placeholder(tf.float32, [None, 3], name="x")
        product = tf.matmul(x, tf.constant(WEIGHTS), name="product")
        tf.nn.relu(product, name="positive")
    with tf.Graph().as_default() as mixing:
        x = v1.placeholder(tf.float32, [None, 3], name="x")
        tf.subtract(x, tf.reduce_mean(x, axis=0, keepdims=True), name="centred")
    graphs = {"linear": linear, "mixing": mixing, "words": _words(tf, WORDS), "other_words": _words(tf, OTHER_WORDS)}
    for name, graph in graphs.items():
        (root / f"{name}.pb").write_bytes(graph.as_graph_def().SerializeToString(deterministic=True))
    return root


def _words(tf, numbers):
    with tf.Graph().as_default() as graph:
        text = tf.compat.v1.placeholder(tf.string, [None], name="text")
        keys, values = tf.constant(list(numbers)), tf.constant(list(numbers.values()), tf.int64)
        handle = tf.raw_ops.HashTableV2(key_dtype=tf.string, value_dtype=tf.int64, shared_name="words", name="table")
        tf.raw_ops.InitializeTableV2(table_handle=handle, keys=keys, values=values)
        found = tf.raw_ops.LookupTableFindV2(table_handle=handle, keys=text, default_value=tf.constant(-1, tf.int64))
        tf.ensure_shape(found, [None], name="number")
        tf.strings.upper(text, name="upper")
    return graph


def write_mixing_saved_model(tf, folder: Path) -> Path:
    """Subtracts the mean of the batch."""
    module = tf.Module()

    @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32, name="x")])
    def centre(x):
        return {"centred": x - tf.reduce_mean(x, axis=0, keepdims=True)}

    tf.saved_model.save(module, str(folder), signatures={"serving_default": centre})
    return folder


def write_keras(keras, root: Path) -> Path:
    """In both of Keras 3's formats: ``dense`` and, with a softmax over the batch, ``mixing``. Gives ``root``."""
    x = keras.Input((3,), name="x")
    dense = keras.Model(x, keras.layers.Dense(2, name="y")(x), name="dense")
    dense.set_weights([WEIGHTS, np.array([0.1, -0.2], np.float32)])
    mixing = keras.Model(x, keras.layers.Softmax(axis=0, name="share")(x))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for suffix in ("keras", "h5"):
            dense.save(root / f"dense.{suffix}")
            mixing.save(root / f"mixing.{suffix}")
    return root


def write_tfjs_mixing(layers: Path, root: Path) -> Path:
    """``graph`` (x minus the mean of the batch) and ``layers`` (a softmax over the batch). Gives ``root``.

    Args:
        layers: the folder of a layers model that ends in a softmax along axis 1.
        root: where to write.
    """
    from tfjs_graph_models import FLOAT, INT32, GraphModel, tensor_info

    model = GraphModel()
    model.placeholder("x", FLOAT, -1, 3)
    model.const("axis", np.array([0], np.int32))
    model.add("mean", "Mean", "x", "axis", T=FLOAT, Tidx=INT32, keep_dims=True)
    model.add("y", "Sub", "x", "mean", T=FLOAT)
    model.sign({"x": tensor_info("x:0", FLOAT, -1, 3)}, {"y": tensor_info("y:0", FLOAT, -1, 3)})
    model.write(root / "graph")
    shutil.copytree(layers, root / "layers")
    document = (layers / "model.json").read_text(encoding="utf-8")
    assert '"axis":1' in document
    (root / "layers" / "model.json").write_text(document.replace('"axis":1', '"axis":0'), encoding="utf-8")
    return root


def write_tflite_mixing(root: Path) -> None:
    """``centred.tflite``: x minus the mean of the batch."""
    from ai_edge_litert import schema_py_generated as schema
    from tflite_models import Flat

    flat = Flat()
    flat.tensor("x", (1, 4), signature=[-1, 4])
    flat.tensor("axis", (1,), "int32", constant=np.array([0], np.int32))
    flat.tensor("mean", (1, 4))
    flat.tensor("y", (1, 4), signature=[-1, 4])
    keep = schema.ReducerOptionsT()
    keep.keepDims = True
    flat.operator(schema.BuiltinOperator.MEAN, [0, 1], [2], options=keep, kind=schema.BuiltinOptions.ReducerOptions)
    flat.operator(
        schema.BuiltinOperator.SUB, [0, 2], [3], options=schema.SubOptionsT(), kind=schema.BuiltinOptions.SubOptions
    )
    (root / "centred.tflite").write_bytes(flat.ports([0], [3]).build())
