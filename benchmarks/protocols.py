"""How each server is asked and how it answers: path, headers, request body, and where the outputs are in the answer.

All carry the same numbers; only what stands around them differs. JSON is written as a Python client writes it, tensors
of the Open Inference Protocol as Triton's client does: as bytes behind JSON over HTTP, as raw contents over gRPC.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError
from PIL import Image

from benchmarks.models import Model
from tensorhost.codecs.protobuf import message_class

JSON, PNG, BINARY, GRPC = "json", "png", "binary", "grpc"
"""The kinds of bodies: numbers, an image, tensors as bytes behind JSON, a message over gRPC."""

JSON_HEADERS = {"Content-Type": "application/json"}
_V2_TYPES = {"float32": "FP32", "int32": "INT32"}
_HEAD_BYTES = 512
"""JSON before binary tensor data is filled up with blanks to so many bytes, so that the headers are always the same."""


@dataclass(frozen=True, slots=True)
class Protocol:
    """One way of asking. ``write`` gives a request's body; ``read`` takes an answer's to the outputs.

    ``{model}`` in ``path`` is the model's name. Over gRPC, bodies are messages and ``path`` is the method's.
    """

    path: str
    write: Callable[[Model], bytes]
    read: Callable[[bytes], Any]
    headers: Mapping[str, str] = field(default_factory=lambda: JSON_HEADERS)
    is_grpc: bool = False

    def answers(self, model: Model, answer: bytes) -> bool:
        """Whether an answer is what TensorFlow gives, within float32 rounding."""
        try:
            given = np.array(self.read(answer), np.float32)
        except (KeyError, IndexError, TypeError, ValueError, DecodeError):
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


def _rows(model: Model) -> np.ndarray[Any, Any]:
    return np.array(model.rows, model.input_dtype)


def _v2_tensor(model: Model, rows: np.ndarray[Any, Any]) -> dict[str, Any]:
    return {"name": model.input_name, "shape": list(rows.shape), "datatype": _V2_TYPES[model.input_dtype]}


def _v2_body(model: Model) -> bytes:
    rows = _rows(model)
    return json.dumps({"inputs": [_v2_tensor(model, rows) | {"data": rows.ravel().tolist()}]}).encode()


def _binary_body(model: Model) -> bytes:
    rows = _rows(model)
    tensor = _v2_tensor(model, rows) | {"parameters": {"binary_data_size": rows.nbytes}}
    head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    return head.ljust(_HEAD_BYTES) + rows.tobytes()


def _read_binary(answer: bytes) -> Any:
    """The elements lie at the end; JSON without a size for them, and with numbers instead, is no binary answer."""
    head, _ = json.JSONDecoder().raw_decode(answer.decode("latin-1"))
    size = head["outputs"][0]["parameters"]["binary_data_size"]
    return np.frombuffer(answer[len(answer) - size :], np.float32)


def infer_message(model: Model, name: str) -> bytes:
    """A ModelInferRequest to the model called ``name``; with an id, since MLServer makes one up where there is none."""
    rows = _rows(model)
    request: Any = message_class("inference.ModelInferRequest")(model_name=name, id="1")
    request.inputs.add(name=model.input_name, datatype=_V2_TYPES[model.input_dtype], shape=rows.shape)
    request.raw_input_contents.append(rows.tobytes())
    encoded: bytes = request.SerializeToString()
    return encoded


def read_infer_message(answer: bytes) -> np.ndarray[Any, Any]:
    """The only output of a ModelInferResponse, float32, raw or not."""
    response: Any = message_class("inference.ModelInferResponse").FromString(answer)
    if response.raw_output_contents:
        return np.frombuffer(response.raw_output_contents[0], np.float32)
    return np.asarray(response.outputs[0].contents.fp32_contents, np.float32)


NATIVE = Protocol("/predict", _native_body, lambda answer: json.loads(answer)["predictions"])
"""tensorhost's own; servers that are written by hand take the same body and ignore the model's name."""

NATIVE_PNG = Protocol("/predict", _png_body, NATIVE.read)
BARE = Protocol("/predict", lambda model: json.dumps({"inputs": model.rows}).encode(), json.loads)
"""BentoML's: arguments by name, and the array as the whole answer."""

V1 = Protocol("/v1/models/model:predict", _v1_body, NATIVE.read)
V2 = Protocol("/v2/models/model/infer", _v2_body, lambda answer: json.loads(answer)["outputs"][0]["data"])
V2_BINARY = Protocol(
    V2.path,
    _binary_body,
    _read_binary,
    {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(_HEAD_BYTES)},
)
INFER = Protocol(
    "/inference.GRPCInferenceService/ModelInfer",
    lambda model: infer_message(model, "model"),
    read_infer_message,
    is_grpc=True,
)
"""ModelInfer, which the peers that have gRPC all speak."""

OUR_BINARY = replace(V2_BINARY, path="/v2/models/{model}/infer")
OUR_INFER = replace(INFER, write=lambda model: infer_message(model, model.name))
"""tensorhost's models have their folders' names, those of the peers are all called ``model``."""
