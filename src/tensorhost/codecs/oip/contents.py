"""Typed contents (``InferTensorContents``) to arrays and back: elements in the one field that their datatype has.

Works on the wire view, whose lists of numbers are bytes, as ``tensor_proto`` does. FP16 and BF16 have no field.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tensorhost.codecs.oip.datatypes import datatype_of
from tensorhost.codecs.oip.raw import checked_count, object_array, strings_of
from tensorhost.codecs.protobuf import message_class
from tensorhost.codecs.protobuf.framing import field_key, varint
from tensorhost.codecs.tensor_forms import FORM_OF, Octets
from tensorhost.codecs.varints import decode_varints
from tensorhost.core.dtypes import DType
from tensorhost.core.errors import InvalidInputTypeError, InvalidRequestError, UnsupportedTypeError
from tensorhost.core.tensors import Array

_TrueContents: Any = message_class("inference.InferTensorContents")

_FIELDS: Mapping[DType, str] = {
    DType.BOOL: "bool_contents",
    DType.INT8: "int_contents",
    DType.INT16: "int_contents",
    DType.INT32: "int_contents",
    DType.INT64: "int64_contents",
    DType.UINT8: "uint_contents",
    DType.UINT16: "uint_contents",
    DType.UINT32: "uint_contents",
    DType.UINT64: "uint64_contents",
    DType.FLOAT32: "fp32_contents",
    DType.FLOAT64: "fp64_contents",
    DType.STRING: "bytes_contents",
}
_KEYS: Mapping[DType, bytes] = {
    dtype: field_key(_TrueContents.DESCRIPTOR.fields_by_name[field].number) for dtype, field in _FIELDS.items()
}
# What a field holds, wider than some of its datatypes: a number out of their range is refused, not cut.
_WIDE: Mapping[str, type[np.generic]] = {
    "int_contents": np.int32,
    "int64_contents": np.int64,
    "uint_contents": np.uint32,
    "uint64_contents": np.uint64,
}


@dataclass(slots=True)
class TypedElements:
    """Elements as a ``tensorhost.wire.InferTensorContents``."""

    contents: Any

    def decode(self, dtype: DType, shape: Sequence[int], name: str, *, max_elements: int) -> Array:
        """See ``decode_contents``."""
        return decode_contents(dtype, shape, self.contents, name, max_elements=max_elements)


def decode_contents(dtype: DType, shape: Sequence[int], contents: Any, name: str, *, max_elements: int) -> Array:
    """The array of ``dtype`` and ``shape`` whose elements ``contents`` holds.

    Args:
        dtype, shape: what the request states.
        contents: a ``tensorhost.wire.InferTensorContents``.
        name: of the input, for errors.
        max_elements: most elements it may have.

    Returns:
        An array that is not to be written to; strings as objects of bytes.

    Raises:
        InvalidRequestError: the shape is none, the field has fewer or more elements, another field has some, or a
            number is out of the range of the datatype.
        InvalidInputTypeError: the datatype has no field.
        PayloadTooLargeError: more than ``max_elements``.
    """
    count = checked_count(shape, name, max_elements=max_elements)
    field = _FIELDS.get(dtype)
    if field is None:
        raise InvalidInputTypeError(
            f"Input '{name}' is {datatype_of(dtype)}, which has no typed contents: send it in raw_input_contents.",
            details={"input": name, "actual": datatype_of(dtype)},
        )
    for descriptor, _ in contents.ListFields():
        if descriptor.name != field:
            raise InvalidRequestError(
                f"Input '{name}' has {descriptor.name}, but {datatype_of(dtype)} comes in {field}.",
                details={"input": name, "expected": field, "actual": descriptor.name},
            )
    values = _values(dtype, field, contents, count, name)
    if values.size != count:
        raise InvalidRequestError(
            f"Input '{name}' has {values.size} elements in {field}, expected {count} for its shape {list(shape)}.",
            details={"input": name, "expected": count, "actual": values.size},
        )
    return values.reshape(shape)


def _values(dtype: DType, field: str, contents: Any, count: int, name: str) -> Array:
    pieces = getattr(contents, field)
    if dtype is DType.STRING:
        return object_array(list(pieces))
    data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
    if not data and count:
        return _unpacked(dtype, field, contents)
    try:
        return _narrowed(dtype, field, _wide(dtype, field, data), name)
    except ValueError:
        raise InvalidRequestError(f"Input '{name}' has {field} that end inside a number.") from None


def _wide(dtype: DType, field: str, data: bytes) -> Array:
    if dtype.is_floating:
        return np.frombuffer(data, dtype.numpy)
    numbers = decode_varints(data)
    if dtype is DType.BOOL:
        return numbers.astype(np.bool_)
    return numbers.astype(_WIDE[field])


def _unpacked(dtype: DType, field: str, contents: Any) -> Array:
    """Values that were sent one field each, as only hand-made encoders do; read through the true message."""
    values = getattr(_TrueContents.FromString(contents.SerializeToString()), field)
    return np.array(values, _WIDE.get(field, dtype.numpy))


def _narrowed(dtype: DType, field: str, wide: Array, name: str) -> Array:
    narrow = wide.astype(dtype.numpy, copy=False)
    if narrow is not wide and (narrow != wide).any():
        raise InvalidRequestError(
            f"Input '{name}' has a number in {field} that is out of the range of {datatype_of(dtype)}.",
            details={"input": name, "expected": datatype_of(dtype)},
        )
    return narrow


def has_contents(dtype: DType) -> bool:
    """Whether typed contents have a field for ``dtype``."""
    return dtype in _FIELDS


def encode_contents(array: Array) -> list[Octets]:
    """The pieces of an ``InferTensorContents`` with the elements of ``array``.

    Raises:
        UnsupportedTypeError: the array's dtype has no field.
    """
    dtype = DType.of(array)
    key = _KEYS.get(dtype)
    if key is None:
        raise UnsupportedTypeError(f"Typed contents have no field for {dtype}.", details={"actual": dtype.value})
    if dtype is DType.STRING:
        return [key + varint(len(value)) + value for value in strings_of(array)]
    if not array.size:
        return []
    values = FORM_OF[dtype].write(array)
    return [key + varint(len(values)), values]
