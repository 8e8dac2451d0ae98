"""How long tensors take between bytes of TensorFlow Serving's messages and numpy, against TensorFlow's own Python.

Run: ``python -m benchmarks.tensors [--save]``. Takes under a minute. ``--save`` writes
``benchmarks/results/tensors.json``: machine, versions, microseconds and ratios. Every figure is the
best of several rounds, the ways taken in turn.
"""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.codecs import cpu_name, time_ways
from tensorhost.codecs.protobuf import message_class
from tensorhost.codecs.tensor_proto import decode_tensor
from tensorhost.codecs.tensor_writing import encode_predict_response

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

RESULT = Path(__file__).parent / "results" / "tensors.json"
_REQUEST: Any = message_class("tensorhost.wire.PredictRequest")
_GENERATOR = np.random.default_rng(0)
ARRAYS = {
    "float32 1x3": _GENERATOR.random((1, 3), np.float32),
    "float32 32x784": _GENERATOR.random((32, 784), np.float32),
    "float32 8x224x224x3": _GENERATOR.random((8, 224, 224, 3), np.float32),
    "int64 1x3": np.array([[1, 300, 70_000]]),
    "int64 32x512, token ids": _GENERATOR.integers(0, 120_000, (32, 512)),
    "string 32": np.array([b"some text of a client's %d" % index for index in range(32)], object),
}


def decode_ways(tf: Any, messages: Any, array: np.ndarray[Any, Any]) -> dict[str, Callable[[], Any]]:
    """The ways from the bytes of a PredictRequest, its values in lists, to an array; each checked to give the same."""
    request = messages.PredictRequest()
    request.model_spec.name = "m"
    response = messages.PredictResponse.FromString(encode_predict_response(b"", {"x": array}, as_content=False))
    request.inputs["x"].CopyFrom(response.outputs["x"])
    body = request.SerializeToString()
    ways = {
        "tensorhost": lambda: decode_tensor(_REQUEST.FromString(body).inputs["x"], "x", max_elements=2**27),
        "tf.make_ndarray": lambda: tf.make_ndarray(messages.PredictRequest.FromString(body).inputs["x"]),
    }
    for way in ways.values():
        np.testing.assert_array_equal(way(), array)
    return ways


def encode_ways(tf: Any, messages: Any, array: np.ndarray[Any, Any]) -> dict[str, Callable[[], Any]]:
    """The ways from an array to the bytes of a PredictResponse."""

    def with_tensorflow() -> bytes:
        response = messages.PredictResponse()
        response.outputs["x"].CopyFrom(tf.make_tensor_proto(array))
        return bytes(response.SerializeToString())

    return {
        "tensorhost": lambda: encode_predict_response(b"", {"x": array}, as_content=False),
        "tensorhost, tensor_content": lambda: encode_predict_response(b"", {"x": array}, as_content=True),
        "tf.make_tensor_proto": with_tensorflow,
    }


def main() -> None:
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2

    results: list[dict[str, Any]] = []
    for direction, make_ways in (("decode", decode_ways), ("encode", encode_ways)):
        for name, array in ARRAYS.items():
            micros = time_ways(make_ways(tf, predict_pb2, array))
            ratios = {way: round(taken / micros["tensorhost"], 2) for way, taken in micros.items()}
            micros = {way: round(taken, 2) for way, taken in micros.items()}
            results.append({"direction": direction, "array": name, "microseconds": micros, "ratios": ratios})
            columns = "  ".join(f"{way} {micros[way]:>10.1f} us ({ratios[way]:.2f}x)" for way in micros)
            print(f"{direction} {name:<26} {columns}")
    if "--save" in sys.argv[1:]:
        machine = {"cpu": cpu_name(), "cores": os.cpu_count(), "system": platform.system()}
        packages = {name: version(name) for name in ("numpy", "protobuf", "tensorflow-cpu", "tensorflow-serving-api")}
        versions = {"python": platform.python_version(), **packages}
        saved = {"machine": machine, "versions": versions, "ratio": "time over tensorhost's time", "results": results}
        RESULT.write_text(json.dumps(saved, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
