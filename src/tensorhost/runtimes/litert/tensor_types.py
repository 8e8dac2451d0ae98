"""TensorFlow Lite's element types by number: name, size, and what they are outside."""

from __future__ import annotations

from typing import NamedTuple

from tensorhost.core.dtypes import DType


class TensorType(NamedTuple):
    """One element type. ``bits`` is 0 where elements differ in size, ``dtype`` None where no request can carry it."""

    name: str
    bits: int
    dtype: DType | None


TENSOR_TYPES = (
    TensorType("float32", 32, DType.FLOAT32),
    TensorType("float16", 16, DType.FLOAT16),
    TensorType("int32", 32, DType.INT32),
    TensorType("uint8", 8, DType.UINT8),
    TensorType("int64", 64, DType.INT64),
    TensorType("string", 0, DType.STRING),
    TensorType("bool", 8, DType.BOOL),
    TensorType("int16", 16, DType.INT16),
    TensorType("complex64", 64, DType.COMPLEX64),
    TensorType("int8", 8, DType.INT8),
    TensorType("float64", 64, DType.FLOAT64),
    TensorType("complex128", 128, DType.COMPLEX128),
    TensorType("uint64", 64, DType.UINT64),
    TensorType("resource", 0, None),
    TensorType("variant", 0, None),
    TensorType("uint32", 32, DType.UINT32),
    TensorType("uint16", 16, DType.UINT16),
    # LiteRT's Python interface takes and gives these under other types than their own.
    TensorType("int4", 4, None),
    TensorType("bfloat16", 16, DType.BFLOAT16),
    TensorType("int2", 2, None),
    TensorType("uint4", 4, None),
    TensorType("float8_e4m3fn", 8, None),
    TensorType("float8_e5m2", 8, None),
)
"""The position is the number in the file."""
