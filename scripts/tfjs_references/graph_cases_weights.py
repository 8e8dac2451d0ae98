"""Models about what the manifest says: types, quantisation, shards, and signatures in all their places."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from graph_tracing import trace
from tfjs_graph_models import FLOAT, INT32, GraphModel, tensor_info

RANDOM = np.random.default_rng()  # seeded for each case by graph_models


def _x(*sizes: int) -> np.ndarray:
    return RANDOM.normal(size=sizes).astype(np.float32)


def weights() -> tuple[GraphModel, dict]:
    """Every type of weight and every quantisation, in shards that end in the middle of weights."""
    model = GraphModel()
    model.placeholder("x", FLOAT, -1, 6)
    outputs = {}
    for kind in ("uint8", "uint16", "float16"):
        model.const(f"{kind}_weight", _x(6) * 3, kind)
        model.add(f"{kind}", "Mul", "x", f"{kind}_weight", T=FLOAT)
        outputs[kind] = FLOAT
    for kind, top in (("uint8", 1000), ("uint16", 100_000)):
        name = f"{kind}_whole"
        model.const(f"{name}_weight", RANDOM.integers(-top, top, 6).astype(np.int32), kind)
        model.add(f"{name}_cast", "Cast", f"{name}_weight", SrcT=INT32, DstT=FLOAT)
        model.add(name, "AddV2", "x", f"{name}_cast", T=FLOAT)
        outputs[name] = FLOAT
    model.const("constant_weight", np.full(6, 2.5, np.float32), "uint8")
    model.add("constant", "Mul", "x", "constant_weight", T=FLOAT)
    for dtype, declared in (
        ("int64", "DT_INT64"),
        ("float64", "DT_DOUBLE"),
        ("float16", "DT_HALF"),
        ("bool", "DT_BOOL"),
    ):
        name = f"{dtype}_cast"
        model.const(f"{dtype}_stored", np.array([0, 1, 1, 0, 2, 3]).astype(dtype))
        model.add(f"{dtype}_float", "Cast", f"{dtype}_stored", SrcT=declared, DstT=FLOAT)
        model.add(name, "Mul", "x", f"{dtype}_float", T=FLOAT)
        outputs[name] = FLOAT
    model.const("turn", (_x(6) + 1j * _x(6)).astype(np.complex64))
    model.add("complex", "ComplexAbs", "turn", T="DT_COMPLEX64", Tout=FLOAT)
    model.const("axis", np.int64(1))
    model.add("expanded", "ExpandDims", "x", "axis", T=FLOAT, Tdim="DT_INT64")
    model.const("nothing", np.zeros((0, 6), np.float32))
    model.const("first", np.int32(0))
    model.add("joined", "ConcatV2", "x", "nothing", "first", N=2, T=FLOAT, Tidx=INT32)
    model.const("half", np.float32(0.5))
    model.add("scaled", "Mul", "joined", "half", T=FLOAT)
    model.const("names", np.array([b"", "zoë".encode(), b"a longer text"], object))
    model.add("texts", "Identity", "names", T="DT_STRING")
    signature = {name: tensor_info(f"{name}:0", dtype, -1, 6) for name, dtype in outputs.items()}
    signature |= {
        "constant": tensor_info("constant:0", FLOAT, -1, 6),
        "complex": tensor_info("complex:0", FLOAT, 6),
        "expanded": tensor_info("expanded:0", FLOAT, -1, 1, 6),
        "scaled": tensor_info("scaled:0", FLOAT, -1, 6),
        "texts": tensor_info("texts:0", "DT_STRING", 3),
    }
    model.sign({"x": tensor_info("x:0", FLOAT, -1, 6)}, signature)
    return model, {"x": _x(2, 6)}


def structured() -> tuple[GraphModel, dict]:
    """The signature in the metadata, whose keys have ``:0``, with names for the outputs; two inputs, one of 64 bits."""

    def function(x: tf.Tensor, index: tf.Tensor) -> dict:
        rows = tf.gather(x, index, axis=1)
        return {"a": tf.reduce_mean(x, 1), "b": tf.nn.softmax(rows)}

    specs = {"x": tf.TensorSpec((None, 4), tf.float32), "index": tf.TensorSpec((None,), tf.int64)}
    model = trace(function, specs)
    told = model.document.pop("signature")
    model.document["userDefinedMetadata"] = {
        "signature": {kind: {info["name"]: info for info in entries.values()} for kind, entries in told.items()},
        "structuredOutputKeys": ["mean", "shares"],
    }
    return model, {"x:0": _x(2, 4), "index:0": np.array([3, 0, 2])}


CASES = {"weights": weights, "structured": structured}
