"""Results to JSON, the way ``predictions`` are written.

Floating-point numbers are written with the fewest digits that give the same value back in their own precision;
float16, bfloat16 and float8 as the float32 they are equal to; 64-bit integers exactly; int4 and uint4 as integers.
JSON has no NaN and no infinities: those become null. Strings that are UTF-8 are written as text, other bytes as
``{"b64": …}``. Complex numbers are refused.
"""

from __future__ import annotations

from binascii import b2a_base64
from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson

from tensorhost.codecs.json_strings import B64_KEY
from tensorhost.core.dtypes import DType
from tensorhost.core.errors import InvalidRequestError
from tensorhost.core.tensors import Array

_WRITTEN_AS: Mapping[DType, type[np.generic]] = {
    DType.INT4: np.int8,
    DType.UINT4: np.uint8,
    DType.FLOAT16: np.float32,
    DType.BFLOAT16: np.float32,
    DType.FLOAT8_E4M3FN: np.float32,
    DType.FLOAT8_E5M2: np.float32,
}

_WRITTEN_AS_THEY_ARE = frozenset(
    dtype.numpy for dtype in DType if dtype not in _WRITTEN_AS and not dtype.is_string and not dtype.is_complex
)
"""Types of arrays that the writer takes without a copy; of the machine's own byte order, which their equality says."""


def encode_outputs(outputs: Mapping[str, Any]) -> Any:
    """What ``predictions`` holds: the bare value of one output, an object by name of several.

    Args:
        outputs: by name, arrays of any shape and any dtype but the complex ones, numpy scalars, or values that
            are JSON-ready already (postprocessing makes such).

    Returns:
        Something ``dumps`` accepts. Arrays are not copied where they can be written as they are.

    Raises:
        InvalidRequestError: an output is complex.
    """
    if len(outputs) == 1:
        [(name, value)] = outputs.items()
        return _encode(name, value)
    return {name: _encode(name, value) for name, value in outputs.items()}


def dumps(value: Any) -> bytes:
    """JSON text, UTF-8, of dicts, lists, scalars and what ``encode_outputs`` returns.

    Arrays and numpy scalars inside lists and dicts are written as ``encode_outputs`` would write them. Raises
    TypeError for anything else that JSON does not have: a fault of the caller, not of a client.
    """
    return orjson.dumps(value, _encode_stray, orjson.OPT_SERIALIZE_NUMPY)


def _encode_stray(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        return _encode(None, value)
    if isinstance(value, bytes):
        return _encode_bytes(value)
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def _encode(name: str | None, value: Any) -> Any:
    if type(value) is np.ndarray and value.dtype in _WRITTEN_AS_THEY_ARE and value.ndim and value.flags.c_contiguous:
        return value  # what nearly every output is
    if isinstance(value, bytes):
        return _encode_bytes(value)
    if not isinstance(value, np.ndarray | np.generic):
        return value
    array = np.asarray(value)
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    dtype = DType.of(array)
    if dtype is DType.STRING:
        return _encode_strings(array.tolist())
    if dtype.is_complex:
        what = "A value" if name is None else f"Output '{name}'"
        raise InvalidRequestError(
            f"{what} is {dtype}, which JSON cannot carry.", details={"output": name, "actual": dtype.value}
        )
    return writable_numbers(array, dtype)


def writable_numbers(array: Array, dtype: DType) -> Any:
    """``array``, of numbers or booleans, as the writer takes it: contiguous, of a type it knows; rank 0 as a scalar."""
    written_as = _WRITTEN_AS.get(dtype)
    if written_as is not None:
        array = array.astype(written_as)
    return array[()] if array.ndim == 0 else np.ascontiguousarray(array)


def _encode_strings(value: Any) -> Any:
    if isinstance(value, list):
        return [_encode_strings(element) for element in value]
    return _encode_bytes(value) if isinstance(value, bytes) else value


def _encode_bytes(value: bytes) -> str | dict[str, str]:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return {B64_KEY: b2a_base64(value, newline=False).decode("ascii")}
