"""Arrays as serialized TensorProtos, written as answers are."""

from __future__ import annotations

from typing import Any

from tensorhost.codecs.protobuf import message_class
from tensorhost.codecs.tensor_writing import encode_predict_response
from tensorhost.core.tensors import Array

_Response: Any = message_class("tensorhost.wire.PredictResponse")


def tensor_bytes(array: Array, *, as_content: bool = False) -> bytes:
    """The bytes of a ``tensorflow.TensorProto`` that means ``array``."""
    response = _Response.FromString(encode_predict_response(b"", {"": array}, as_content=as_content))
    data: bytes = response.outputs[""].SerializeToString()
    return data
