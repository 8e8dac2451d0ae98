"""JSON numbers and booleans to arrays by TensorFlow Serving's rules.

Floating-point types take every number, rounded to the nearest and to an infinity beyond their range. Integer types
take integers without point or exponent; of int8, uint8, int16 and int32 each that fits 32 bits, of which the narrower
ones keep the lowest bits, as TensorFlow Serving does. bool takes true and false only. float16, bfloat16, the 8-bit
floating-point types, uint16 and the 4-bit integers, which TensorFlow Serving refuses, are taken here, in their range.

None is returned for values that do not fit; ``explanation`` then says which and why. What must stay true: lists were
proved to have their shape before they are decoded here, since the parser flattens what it hands out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
from simdjson import Array as JsonArray

from tensorhost.codecs.json_tokens import StandIns
from tensorhost.core.dtypes import DType
from tensorhost.core.tensors import Array

_INT32 = (-(2**31), 2**31 - 1)
INTEGER_RANGES: Mapping[DType, tuple[int, int]] = {
    DType.INT4: (-8, 7),
    DType.UINT4: (0, 15),
    DType.INT8: _INT32,
    DType.UINT8: _INT32,
    DType.INT16: _INT32,
    DType.UINT16: (0, 2**16 - 1),
    DType.INT32: _INT32,
    DType.UINT32: (0, 2**32 - 1),
    DType.INT64: (-(2**63), 2**63 - 1),
    DType.UINT64: (0, 2**64 - 1),
}
"""The integers that each type takes."""

_FAULTS = (TypeError, ValueError)  # the parser's words for "not a number" and "not in 64 bits"
_INTEGERS = frozenset((int,))
_REAL = frozenset((int, float))
_BOOLEANS = frozenset((bool,))


def decode_lists(dtype: DType, values: Sequence[Any], shape: Sequence[int], stand_ins: StandIns | None) -> Array | None:
    """The lists ``values``, one after the other, as a new array of ``shape``; None where a value does not fit."""
    try:
        if dtype is DType.BOOL:
            return _booleans(chain.from_iterable(map(_leaves, values)), shape)
        if dtype.is_floating:
            return _rounded(dtype, _flat(values, "d", np.float64), stand_ins).reshape(shape)
        if dtype is DType.UINT64:
            return _narrowed(dtype, _flat(values, "u", np.uint64), shape)
        if dtype.is_integer:
            return _narrowed(dtype, _flat(values, "i", np.int64), shape)
    except _FAULTS:
        pass
    return None


def _flat(values: Sequence[Any], kind: str, wide: type[np.generic]) -> Array:
    if len(values) == 1:
        return np.frombuffer(values[0].as_buffer(of_type=kind), wide)
    return np.frombuffer(b"".join([value.as_buffer(of_type=kind) for value in values]), wide)


def _leaves(value: Any) -> Iterable[Any]:
    return chain.from_iterable(map(_leaves, value)) if isinstance(value, JsonArray) else (value,)


def decode_scalars(
    dtype: DType, values: Sequence[Any], shape: Sequence[int], stand_ins: StandIns | None
) -> Array | None:
    """Python scalars, as the parser makes them, as an array of ``shape``; None where one does not fit."""
    kinds = frozenset(map(type, values))
    if dtype is DType.BOOL:
        return _booleans(values, shape)
    if dtype.is_floating and kinds <= _REAL:
        return _rounded(dtype, np.array(values, np.float64), stand_ins).reshape(shape)
    if dtype.is_integer and kinds <= _INTEGERS:
        low, high = INTEGER_RANGES[dtype]
        if all(low <= value <= high for value in values):
            wide = np.array(values, np.uint64 if dtype is DType.UINT64 else np.int64)
            return _narrowed(dtype, wide, shape)
    return None


def _rounded(dtype: DType, doubles: Array, stand_ins: StandIns | None) -> Array:
    if stand_ins is not None:
        doubles = stand_ins.replaced(doubles)
    with np.errstate(over="ignore", invalid="ignore"):
        return doubles.astype(dtype.numpy)


def _narrowed(dtype: DType, wide: Array, shape: Sequence[int]) -> Array | None:
    low, high = INTEGER_RANGES[dtype]
    if wide.size and (wide.min() < low or wide.max() > high):
        return None
    if dtype in (DType.INT4, DType.UINT4):
        wide = wide.astype(np.int8)
    return wide.astype(dtype.numpy).reshape(shape)


def _booleans(values: Iterable[Any], shape: Sequence[int]) -> Array | None:
    leaves = list(values)
    return np.array(leaves, np.bool_).reshape(shape) if frozenset(map(type, leaves)) <= _BOOLEANS else None
