"""Arrays to TensorProto, as TensorFlow Serving writes its outputs.

The bytes are put together here and not by protobuf, which would copy a large output three times where once is enough.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from tensorhost.codecs.protobuf import message_class
from tensorhost.codecs.protobuf.framing import field_key, varint
from tensorhost.codecs.tensor_forms import DT_STRING, FORM_OF, Octets
from tensorhost.core.dtypes import DType
from tensorhost.core.tensors import Array

_ShapeMessage: Any = message_class("tensorflow.TensorShapeProto")

_NAME, _SHAPE, _CONTENT, _STRING = (field_key(number) for number in (1, 2, 4, 8))
_RESPONSE_OUTPUTS, _RESPONSE_SPEC = field_key(1), field_key(2)
_REQUEST_SPEC, _REQUEST_INPUTS = field_key(1), field_key(2)
_ENTRY_TENSOR = field_key(2)
_VALUES = {dtype: field_key(form.field_number) for dtype, form in FORM_OF.items()}


def encode_predict_response(model_spec: bytes, outputs: Mapping[str, Array], *, as_content: bool) -> bytes:
    """The bytes of a ``tensorflow.serving.PredictResponse``.

    Args:
        model_spec: a serialized ``tensorflow.serving.ModelSpec``.
        outputs: the arrays by name, of dtypes that DType lists; strings as objects of bytes, or of numpy's own string
            types.
        as_content: write numbers as ``tensor_content``, not as a list. Strings always come as a list: readers in
            Python look for them nowhere else.

    Raises:
        KeyError: no tensor has the dtype of one of the arrays.
    """
    pieces = _entries(_RESPONSE_OUTPUTS, outputs, as_content=as_content)
    pieces.append(_RESPONSE_SPEC + varint(len(model_spec)) + model_spec)
    return b"".join(pieces)


def is_written_in_place(array: Array, *, as_content: bool) -> bool:
    """Whether writing ``array`` makes no pass over its elements but to copy them; raises KeyError as writing does."""
    dtype = DType.of(array)
    return dtype is not DType.STRING and (as_content or FORM_OF[dtype].is_plain)


def encode_predict_request(model_spec: bytes, inputs: Mapping[str, Array]) -> bytes:
    """The bytes of a ``tensorflow.serving.PredictRequest``; see ``encode_predict_response``."""
    pieces = _entries(_REQUEST_INPUTS, inputs, as_content=False)
    pieces.append(_REQUEST_SPEC + varint(len(model_spec)) + model_spec)
    return b"".join(pieces)


def _entries(key: bytes, arrays: Mapping[str, Array], *, as_content: bool) -> list[Octets]:
    """The pieces of a map from names to TensorProtos."""
    pieces: list[Octets] = []
    for name, array in arrays.items():
        tensor = _tensor(array, as_content=as_content)
        encoded_name = name.encode()
        name_head = _NAME + varint(len(encoded_name)) + encoded_name
        tensor_size = sum(map(len, tensor))
        tensor_head = name_head + _ENTRY_TENSOR + varint(tensor_size)
        pieces.append(key + varint(len(tensor_head) + tensor_size) + tensor_head)
        pieces += tensor
    return pieces


def _tensor(array: Array, *, as_content: bool) -> list[Octets]:
    """The pieces of a TensorProto."""
    dtype = DType.of(array)
    if dtype is DType.STRING:
        return [_head(DT_STRING, array.shape), *_string_values(array)]
    form = FORM_OF[dtype]
    head = _head(form.number, array.shape)
    if not array.size:
        return [head]
    key, values = (_CONTENT, form.write_content(array)) if as_content else (_VALUES[dtype], form.write(array))
    return [head + key + varint(len(values)), values]


@lru_cache(maxsize=1024)
def _head(data_type: int, shape: tuple[int, ...]) -> bytes:
    """The fields ``dtype`` and ``tensor_shape``."""
    message = _ShapeMessage()
    for size in shape:
        message.dim.add(size=size)
    data: bytes = message.SerializeToString()
    return varint(1 << 3) + varint(data_type) + _SHAPE + varint(len(data)) + data


def _string_values(array: Array) -> Iterable[bytes]:
    if array.dtype.kind == "U":
        array = np.strings.encode(array, "utf-8")
    for value in array.reshape(-1).tolist():
        yield _STRING + varint(len(value)) + value
