"""Python values to the JSON body of a request.

Arrays are written by orjson straight from their memory; only what JSON has no form for is converted first: bytes,
files, arrays of strings, and the number formats orjson does not know. An array that JSON cannot carry is an error here;
a NaN in a plain list is sent as null, since looking at every number of every list would cost more than sending it.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from tensorhost.client.errors import ClientError, InvalidInputTypeError, InvalidRequestError
from tensorhost.client.files import read_file
from tensorhost.core.dtypes import DType
from tensorhost.core.tensors import Array

_AS_IT_IS = frozenset("biuf")
_REGISTERED = 2
"""``numpy.dtype.isbuiltin`` of a type another package registered."""
_EXACT_IN_FLOAT32 = frozenset({DType.BFLOAT16, DType.FLOAT8_E4M3FN, DType.FLOAT8_E5M2})
_EXACT_IN_INT8 = frozenset({DType.INT4, DType.UINT4})


class FilesToReadError(Exception):
    """The value names files, and the caller has said that none is to be read where it is."""


def to_json(value: object, *, reads_files: bool = True) -> bytes:
    """The value as JSON. numpy arrays become nested lists; bytes, and files by their path, ``{"b64": "..."}``.

    Raises:
        InvalidInputTypeError: an array JSON cannot carry (complex numbers, NaN, infinities).
        InvalidRequestError: any other value JSON cannot carry, or a file that cannot be read.
        FilesToReadError: there are files, and ``reads_files`` is False; nothing was read.
    """
    try:
        return orjson.dumps(value, default=_replace if reads_files else _replace_without_files)
    except TypeError as error:
        # What the replacing function raises arrives as the cause of orjson's own error.
        if isinstance(error.__cause__, ClientError | FilesToReadError):
            raise error.__cause__ from error.__cause__.__cause__
        raise InvalidRequestError(f"The request cannot be written as JSON: {error}.") from error


def _replace_without_files(value: Any) -> Any:
    if isinstance(value, Path):
        raise FilesToReadError
    return _replace(value)


def _replace(value: Any) -> Any:
    """A stand-in for a value that orjson does not write by itself."""
    if isinstance(value, Path):
        value = read_file(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return {"b64": base64.b64encode(value).decode("ascii")}
    if isinstance(value, np.ndarray | np.generic) or hasattr(value, "__array__"):
        return _replace_array(np.asarray(value))
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"there is no JSON form of {type(value).__name__}")


def _replace_array(array: Array) -> Any:
    if array.dtype.kind in "OSU":
        return array.tolist()
    numbers = _numbers(array)
    if array.ndim == 0:
        return numbers.item()
    return orjson.Fragment(orjson.dumps(numbers, option=orjson.OPT_SERIALIZE_NUMPY))


def _numbers(array: Array) -> Array:
    """The same numbers in a layout and a format orjson writes."""
    native = array.dtype.newbyteorder("=")
    # The small formats of ml_dtypes may claim numpy's own kinds, but orjson knows numpy's own types only.
    if native.kind in _AS_IT_IS and native.isbuiltin != _REGISTERED:
        _check_finite(array)
        return array.astype(native, order="C", copy=False)
    return _numbers(array.astype(_carrier(array)))


def _check_finite(array: Array) -> None:
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise InvalidInputTypeError("JSON cannot carry NaN or infinity; replace them before the request.")


def _carrier(array: Array) -> type[np.generic]:
    """A dtype orjson writes that holds every value of ``array``."""
    try:
        dtype = DType.of(array)
    except KeyError:
        dtype = None
    if dtype in _EXACT_IN_FLOAT32:
        return np.float32
    if dtype in _EXACT_IN_INT8:
        return np.int8
    raise InvalidInputTypeError(f"JSON cannot carry an array of {array.dtype}.")
