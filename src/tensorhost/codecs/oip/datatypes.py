"""The protocol's names for element types, in requests (``FP32``) and in a model's configuration (``TYPE_FP32``)."""

from __future__ import annotations

from collections.abc import Mapping

from tensorhost.core.dtypes import DType
from tensorhost.core.errors import InvalidInputTypeError, UnsupportedTypeError

DATATYPES: Mapping[str, DType] = {
    "BOOL": DType.BOOL,
    "UINT8": DType.UINT8,
    "UINT16": DType.UINT16,
    "UINT32": DType.UINT32,
    "UINT64": DType.UINT64,
    "INT8": DType.INT8,
    "INT16": DType.INT16,
    "INT32": DType.INT32,
    "INT64": DType.INT64,
    "FP16": DType.FLOAT16,
    "BF16": DType.BFLOAT16,
    "FP32": DType.FLOAT32,
    "FP64": DType.FLOAT64,
    "BYTES": DType.STRING,
}
"""The element types that the protocol can carry, by its names."""

_NAMES: Mapping[DType, str] = {dtype: name for name, dtype in DATATYPES.items()}
_LONGEST_SHOWN = 32


def dtype_of(datatype: str, name: str) -> DType:
    """The element type that a request states for the input ``name``.

    Raises:
        InvalidInputTypeError: the protocol has no such datatype.
    """
    dtype = DATATYPES.get(datatype)
    if dtype is None:
        known = ", ".join(DATATYPES)
        raise InvalidInputTypeError(
            f"Input '{name}' has an invalid datatype '{datatype[:_LONGEST_SHOWN]}'; the datatypes are {known}.",
            details={"input": name, "actual": datatype[:_LONGEST_SHOWN], "expected": list(DATATYPES)},
        )
    return dtype


def datatype_of(dtype: DType) -> str:
    """What metadata calls ``dtype``: its name in the protocol; for a type that has none there, its own in capitals."""
    return _NAMES.get(dtype) or dtype.value.upper()


def config_type_of(dtype: DType) -> str:
    """The name of ``dtype`` in a model's configuration; ``TYPE_INVALID`` for a type that has none there."""
    if dtype.is_string:
        return "TYPE_STRING"
    return f"TYPE_{_NAMES[dtype]}" if dtype in _NAMES else "TYPE_INVALID"


def check_answerable(dtype: DType, name: str) -> None:
    """Raise UnsupportedTypeError where the output ``name`` is of a type that the protocol cannot carry."""
    if dtype not in _NAMES:
        raise UnsupportedTypeError(
            f"Output '{name}' is {dtype}, which the Open Inference Protocol cannot carry.",
            details={"output": name, "actual": dtype.value},
        )
