"""Models with control flow, both generations of it, and with tables."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from graph_tracing import trace, trace_v1
from tfjs_graph_models import FLOAT, INT32, STRING, GraphModel, node, tensor_info

_LEFTOVER = {"name": "leftover", "inputArg": [], "outputArg": []}
RANDOM = np.random.default_rng()  # seeded for each case by graph_models


def version_1() -> tuple[GraphModel, dict]:
    """Loops, conditions and TensorArrays of TensorFlow 1."""

    def function(x: tf.Tensor, steps: tf.Tensor) -> dict:
        kernel = tf.constant(RANDOM.normal(size=(3, 3)).astype(np.float32))

        def step(i: tf.Tensor, state: tf.Tensor, kept: tf.TensorArray) -> tuple:
            state = tf.tanh(tf.matmul(state, kernel) + tf.gather(rows, i))
            return i + 1, state, kept.write(i, state)

        rows = tf.transpose(tf.stack([x, x * 0.5, x + 1.0, -x]), [0, 1, 2])
        kept = tf.TensorArray(tf.float32, 4, element_shape=(None, 3))
        arguments = (tf.constant(0), tf.zeros_like(x), kept)
        _, last, kept = tf.while_loop(lambda i, *_: i < 4, step, arguments)
        counted = tf.while_loop(lambda i, _: i < steps, lambda i, v: (i + 1, v * 2.0), (tf.constant(0), x))
        chosen = tf.cond(tf.reduce_sum(x) > 0.0, lambda: tf.nn.relu(x) + 1.0, lambda: tf.nn.relu(x) - 1.0)
        parts = tf.TensorArray(tf.float32, 2).unstack(tf.stack([x, x + 2.0]))
        return {
            "last": last,
            "kept": kept.stack(),
            "counted": counted[1],
            "chosen": chosen,
            "read": parts.read(1),
            "size": parts.size(),
        }

    specs = {"x": tf.TensorSpec((None, 3), tf.float32), "steps": tf.TensorSpec((), tf.int32)}
    return trace_v1(function, specs), {
        "x": RANDOM.normal(size=(2, 3)).astype(np.float32),
        "steps": np.array(3, np.int32),
    }


def functional() -> tuple[GraphModel, dict]:
    """Loops and conditions that are functions, one in the other, and the lists they keep tensors in."""

    def function(x: tf.Tensor) -> dict:
        kernel = tf.constant(RANDOM.normal(size=(3, 3)).astype(np.float32))

        def step(i: tf.Tensor, state: tf.Tensor, kept: tf.TensorArray) -> tuple:
            kept = kept.write(i, state)  # TensorFlow.js 4.22 has forgotten anything else by the time it is read
            moved = tf.tanh(tf.matmul(state, kernel) + x)
            moved = tf.cond(tf.equal(i % 2, 0), lambda: moved * 2.0, lambda: moved - 1.0)
            inner = tf.while_loop(lambda j, _: j < i, lambda j, v: (j + 1, v * 0.5), (tf.constant(0), moved * 1.0))
            return i + 1, inner[1] + 0.1, kept

        kept = tf.TensorArray(tf.float32, 3, element_shape=(2, 3))
        _, last, kept = tf.while_loop(lambda i, *_: i < 3, step, (tf.constant(0), x * 1.0, kept))
        chosen = tf.cond(tf.reduce_max(x) > 100.0, lambda: tf.nn.softmax(x), lambda: tf.nn.log_softmax(x))
        items = tf.raw_ops.TensorListFromTensor(tensor=x, element_shape=tf.constant([3]))
        item = tf.raw_ops.TensorListGetItem(
            input_handle=items, index=tf.constant(1), element_shape=tf.constant([3]), element_dtype=tf.float32
        )
        length = tf.raw_ops.TensorListLength(input_handle=items)
        return {"last": last, "kept": kept.stack(), "chosen": chosen, "item": item, "length": length}

    return trace(function, {"x": tf.TensorSpec((2, 3), tf.float32)}), {
        "x": RANDOM.normal(size=(2, 3)).astype(np.float32)
    }


def _filling(model: GraphModel, table: str, keys: np.ndarray, values: np.ndarray) -> dict:
    attributes = {"key_dtype": STRING, "value_dtype": INT32, "shared_name": "vocabulary", "container": ""}
    return {
        "node": [
            model.constant_node("table_keys", keys),
            model.constant_node("table_values", values),
            node(table, "HashTableV2", **attributes),
            node("fill", "LookupTableImportV2", table, "table_keys", "table_values", Tin=STRING, Tout=INT32),
        ],
        "library": {"function": [{"signature": _LEFTOVER, "nodeDef": [], "ret": {}}]},
        "versions": {"producer": 1987},
    }


def _words() -> np.ndarray:
    return np.array([b"cat", b"dog", b"cow"], object)


def table() -> tuple[GraphModel, dict]:
    """Words to numbers by a table that the initializer fills; strings split, cleaned and hashed."""
    model = GraphModel()
    model.placeholder("words", STRING, -1)
    model.add("vocabulary", "HashTableV2", key_dtype=STRING, value_dtype=INT32, shared_name="vocabulary")
    model.const("unknown", np.int32(-1))
    model.const("space", np.array(b" ", object))
    cleaned = model.add("cleaned", "StaticRegexReplace", "words", pattern="[^a-z ]", rewrite="", replace_global=True)
    model.add("split", "StringSplit", cleaned, "space", skip_empty=True)
    model.add("ids", "LookupTableFindV2", "vocabulary", "split:1", "unknown", Tin=STRING, Tout=INT32)
    model.add("size64", "LookupTableSizeV2", "vocabulary")
    model.add("size", "Cast", "size64", SrcT="DT_INT64", DstT=INT32)
    model.add("hash64", "StringToHashBucketFast", "split:1", num_buckets=1000)
    model.add("hash", "Cast", "hash64", SrcT="DT_INT64", DstT=INT32)
    model.document["modelInitializer"] = _filling(model, "vocabulary", _words(), np.array([7, 8, 9], np.int32))
    model.sign(
        {"words": tensor_info("words:0", STRING, -1)},
        {
            "ids": tensor_info("ids:0", INT32, -1),
            "size": tensor_info("size:0", INT32),
            "cleaned": tensor_info("cleaned:0", STRING, -1),
            "hash": tensor_info("hash:0", INT32, -1),
        },
    )
    return model, {"words": np.array([b"a cat!", b"Dog dog  cow"], object)}


def captured_table() -> tuple[GraphModel, dict]:
    """The same as converters of version 4 write it: the table is an input that the initializer gives."""
    model = GraphModel()
    model.placeholder("words", STRING, -1)
    model.placeholder("handle", "DT_RESOURCE")
    model.const("unknown", np.int32(-1))
    model.add("ids", "LookupTableFindV2", "handle", "words", "unknown", Tin=STRING, Tout=INT32)
    model.add("scores", "Cast", "ids", SrcT=INT32, DstT=FLOAT)
    model.document["modelInitializer"] = _filling(model, "made", _words(), np.array([4, 5, 6], np.int32))
    resource = {"dtype": "DT_RESOURCE", "tensorShape": {}, "resourceId": 12}
    model.document["initializerSignature"] = {"outputs": {"fill": {"name": "fill:0", **resource}}}
    model.sign(
        {"words": tensor_info("words:0", STRING, -1), "handle": {"name": "handle:0", **resource}},
        {"scores": tensor_info("scores:0", FLOAT, -1)},
    )
    return model, {"words": np.array([b"cow", b"bird", b"cat"], object)}


CASES = {
    "control_version_1": version_1,
    "control_functional": functional,
    "table": table,
    "captured_table": captured_table,
}
