"""Element types of tensors, named as TensorFlow names them.

Strings are numpy object arrays of ``bytes``. Anything not listed (resource, variant, quantised types) cannot
cross the wire and is refused when a signature is read.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import ml_dtypes
import numpy as np


class DType(StrEnum):
    """A tensor's element type."""

    BOOL = "bool"
    INT4 = "int4"
    UINT4 = "uint4"
    INT8 = "int8"
    INT16 = "int16"
    INT32 = "int32"
    INT64 = "int64"
    UINT8 = "uint8"
    UINT16 = "uint16"
    UINT32 = "uint32"
    UINT64 = "uint64"
    FLOAT8_E4M3FN = "float8_e4m3fn"
    FLOAT8_E5M2 = "float8_e5m2"
    FLOAT16 = "float16"
    BFLOAT16 = "bfloat16"
    FLOAT32 = "float32"
    FLOAT64 = "float64"
    COMPLEX64 = "complex64"
    COMPLEX128 = "complex128"
    STRING = "string"

    # Set below, once for each member: the path of a request reads them many times, and an attribute costs a fifth of a
    # property that looks its answer up.
    numpy: np.dtype[Any]
    """The numpy dtype that holds this type."""
    tensorflow_name: str
    """What TensorFlow calls it in messages: ``float`` for float32, ``half`` for float16."""
    is_floating: bool
    """Whether values are real floating-point numbers."""
    is_integer: bool
    """Whether values are integers (bool is not)."""
    is_complex: bool
    """Whether values are complex numbers."""
    is_string: bool
    """Whether values are strings of bytes."""

    @classmethod
    def of(cls, array: np.ndarray[Any, Any]) -> DType:
        """The type of ``array``'s elements. Raises KeyError for a numpy dtype that no tensor has."""
        kind = array.dtype.kind
        if kind in "OSU":
            return cls.STRING
        return _BY_NUMPY[array.dtype]


_NUMPY: dict[DType, np.dtype[Any]] = {
    DType.INT4: np.dtype(ml_dtypes.int4),
    DType.UINT4: np.dtype(ml_dtypes.uint4),
    DType.FLOAT8_E4M3FN: np.dtype(ml_dtypes.float8_e4m3fn),
    DType.FLOAT8_E5M2: np.dtype(ml_dtypes.float8_e5m2),
    DType.BFLOAT16: np.dtype(ml_dtypes.bfloat16),
    DType.STRING: np.dtype(object),
}
_NUMPY |= {dtype: np.dtype(dtype.value) for dtype in DType if dtype not in _NUMPY}
_BY_NUMPY: dict[np.dtype[Any], DType] = {numpy: dtype for dtype, numpy in _NUMPY.items()}
_FLOATING = frozenset(
    {DType.FLOAT8_E4M3FN, DType.FLOAT8_E5M2, DType.FLOAT16, DType.BFLOAT16, DType.FLOAT32, DType.FLOAT64}
)
_TENSORFLOW_NAMES = {DType.FLOAT16: "half", DType.FLOAT32: "float", DType.FLOAT64: "double"}
for _dtype in DType:
    _dtype.numpy = _NUMPY[_dtype]
    _dtype.tensorflow_name = _TENSORFLOW_NAMES.get(_dtype, _dtype.value)
    _dtype.is_floating = _dtype in _FLOATING
    _dtype.is_integer = _dtype.value.lstrip("u").startswith("int")
    _dtype.is_complex = _dtype.value.startswith("complex")
    _dtype.is_string = _dtype is DType.STRING
