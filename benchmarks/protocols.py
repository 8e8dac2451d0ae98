"""How each server is asked and how it answers: path, request body, and where the outputs are in the answer.

All carry the same numbers, written as a Python client writes them; only what stands around them differs.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.models import Model

_V2_TYPES = {"float32": "FP32", "int32": "INT32"}


@dataclass(frozen=True, slots=True)
class Protocol:
    """One way of asking over HTTP. ``write`` gives a request's body; ``read`` takes a parsed answer to the outputs."""

    path: str
    write: Callable[[Model], bytes]
    read: Callable[[Any], Any]

    def answers(self, model: Model, answer: Any) -> bool:
        """Whether a parsed answer is what TensorFlow gives, within float32 rounding."""
        try:
            given = np.array(self.read(answer), np.float32)
        except (KeyError, IndexError, TypeError, ValueError):
            return False
        # V2 puts the numbers in one flat list.
        return given.size == model.expected.size and np.allclose(given.ravel(), model.expected.ravel(), 1e-3, 1e-5)


def _native_body(model: Model) -> bytes:
    return json.dumps({"modelName": model.name, "inputs": model.rows}).encode()


def _png_body(model: Model) -> bytes:
    """The image itself, as PNG in base64: the pixels that the rows were made of."""
    pixels = np.rint(np.array(model.rows[0]) * 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    image = {"b64": base64.b64encode(file.getvalue()).decode()}
    return json.dumps({"modelName": model.name, "inputs": [image], "preprocessing": {"scale": 255}}).encode()


def _v1_body(model: Model) -> bytes:
    return json.dumps({"instances": model.rows}).encode()


def _v2_body(model: Model) -> bytes:
    rows = np.array(model.rows, model.input_dtype)
    tensor = {"name": model.input_name, "shape": list(rows.shape), "datatype": _V2_TYPES[model.input_dtype]}
    return json.dumps({"inputs": [tensor | {"data": rows.ravel().tolist()}]}).encode()


NATIVE = Protocol("/predict", _native_body, lambda answer: answer["predictions"])
"""tensorhost's own; servers that are written by hand take the same body and ignore the model's name."""

NATIVE_PNG = Protocol("/predict", _png_body, NATIVE.read)
BARE = Protocol("/predict", lambda model: json.dumps({"inputs": model.rows}).encode(), lambda answer: answer)
"""BentoML's: arguments by name, and the array as the whole answer."""

V1 = Protocol("/v1/models/model:predict", _v1_body, lambda answer: answer["predictions"])
V2 = Protocol("/v2/models/model/infer", _v2_body, lambda answer: answer["outputs"][0]["data"])
