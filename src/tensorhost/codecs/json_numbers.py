"""JSON lists of numbers and booleans to arrays, without a Python object per number.

The signature's dtype decides: floating-point types take every number within their finite range, rounded to the
nearest; integer types take numbers without a fraction that are in range (3.0 yes, 3.5 no), 64-bit ones exactly;
bool takes true and false only. Null, strings and objects are refused, complex types cannot be written in JSON.

What must stay true: ``value`` was proved to be nested lists of ``shape`` before it is decoded here, since the
parser flattens what it hands out.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import Any

import numpy as np
from simdjson import Array as JsonArray

from tensorhost.codecs.json_document import kind_of
from tensorhost.codecs.json_shapes import MAX_SEARCH, iter_leaves, place_of
from tensorhost.core.dtypes import DType
from tensorhost.core.errors import InvalidInputTypeError
from tensorhost.core.tensors import Array, TensorSpec

_FLOAT32, _FLOAT64 = DType.FLOAT32.numpy, DType.FLOAT64.numpy
_INEXACT_DOUBLE = 2**53  # a float of this value may have been written as the next integer
_EVERY_FLOAT_HOLDS = 448  # the largest float8_e4m3fn, the narrowest type
# No number is beyond float32 (3.4e38) where the sum of all squares is below this: one fast pass, which ``vdot``,
# unlike ``dot``, makes without a warning when the sum is infinite.
_FLOAT32_HOLDS_SQUARE = 1e76
_ONE_THREAD = 10_000  # numpy's linear algebra takes several threads for the sum of more
_FAULTS = (TypeError, ValueError)  # the parser's words for "not a number" and "not in 64 bits"
_LIMITS: dict[DType, tuple[int, int]] = {
    DType(f"{prefix}{bits}"): (low, high)
    for bits in (4, 8, 16, 32, 64)
    for prefix, low, high in (("int", -(2 ** (bits - 1)), 2 ** (bits - 1) - 1), ("uint", 0, 2**bits - 1))
}


def decode_numbers(spec: TensorSpec, value: Any, shape: tuple[int, ...]) -> Array:
    """``value``, a list or a scalar, as a new array of the spec's dtype and of ``shape``.

    Raises:
        InvalidInputTypeError: a value has the wrong kind, has a fraction where none fits, or is out of range; the
            message gives its place.
    """
    dtype = spec.dtype
    if dtype.is_complex:
        raise InvalidInputTypeError(
            f"Input '{spec.name}' is {dtype}, which JSON cannot carry.",
            details={"input": spec.name, "expected": dtype.value},
        )
    if not isinstance(value, JsonArray):
        return _scalar(spec, value)
    if dtype.is_floating:
        flat = _floats(spec, value, shape)
    elif dtype.is_integer:
        flat = _integers(spec, value, shape)
    else:
        flat = _booleans(spec, value, shape)
    return flat.reshape(shape)


def _scalar(spec: TensorSpec, value: Any) -> Array:
    fault = _fault_finder(spec.dtype)(value)
    if fault is not None:
        raise _type_error(spec, "", value, fault)
    with np.errstate(over="ignore"):
        if spec.dtype.is_integer:
            return _narrow(np.array(int(value), np.uint64 if value > 0 else np.int64), spec.dtype)
        return np.array(value, np.bool_ if spec.dtype is DType.BOOL else np.float64).astype(spec.dtype.numpy)


def _floats(spec: TensorSpec, value: Any, shape: tuple[int, ...]) -> Array:
    try:
        wide = np.frombuffer(value.as_buffer(of_type="d"), _FLOAT64)
    except _FAULTS:
        raise _first_fault(spec, value, shape) from None
    dtype = spec.dtype.numpy
    if dtype is _FLOAT64:
        return wide
    if dtype is _FLOAT32 and wide.size <= _ONE_THREAD and np.vdot(wide, wide) < _FLOAT32_HOLDS_SQUARE:
        return wide.astype(_FLOAT32)
    with np.errstate(over="ignore"):
        flat = wide.astype(dtype)
    # JSON has no infinities, so one that is there now was made by rounding (float8_e4m3fn makes NaN).
    if not np.isfinite(flat).all():
        raise _first_fault(spec, value, shape)
    return flat


def _integers(spec: TensorSpec, value: Any, shape: tuple[int, ...]) -> Array:
    low, high = _LIMITS[spec.dtype]
    exact = (np.uint64, "u") if spec.dtype is DType.UINT64 else (np.int64, "i")
    try:
        wide: Array = np.frombuffer(value.as_buffer(of_type=exact[1]), exact[0])
    except _FAULTS:
        wide = _integers_among_floats(spec, value, shape)
    if wide.size and (wide.min() < low or wide.max() > high):
        raise _first_fault(spec, value, shape)
    return _narrow(wide, spec.dtype)


def _integers_among_floats(spec: TensorSpec, value: Any, shape: tuple[int, ...]) -> Array:
    try:
        floats = np.frombuffer(value.as_buffer(of_type="d"), np.float64)
    except _FAULTS:
        raise _first_fault(spec, value, shape) from None
    if not (floats == np.floor(floats)).all():
        raise _first_fault(spec, value, shape)
    if np.abs(floats).max() < _INEXACT_DOUBLE:
        return floats.astype(np.int64)
    # Some may be more than a float holds exactly: one by one, which only a mixture of forms makes necessary.
    if floats.size > MAX_SEARCH:
        raise InvalidInputTypeError(
            f"Input '{spec.name}' mixes integers from 2^53 on with numbers written with a point or an exponent.",
            details={"input": spec.name, "expected": spec.dtype.value},
        )
    find_fault = _fault_finder(spec.dtype)
    integers: list[int] = []
    for index, leaf in enumerate(iter_leaves(value, shape)):
        fault = find_fault(leaf)
        if fault is not None:
            raise _type_error(spec, place_of(index, shape), leaf, fault)
        integers.append(int(leaf))
    return np.array(integers, spec.dtype.numpy)


def _narrow(wide: Array, dtype: DType) -> Array:
    if dtype in (DType.INT4, DType.UINT4):
        wide = wide.astype(np.int8)
    return wide.astype(dtype.numpy, copy=False)


def _booleans(spec: TensorSpec, value: Any, shape: tuple[int, ...]) -> Array:
    leaves = list(iter_leaves(value, shape))
    if not {type(leaf) for leaf in leaves} <= {bool}:
        raise _first_fault(spec, value, shape)
    return np.array(leaves, np.bool_)


def _first_fault(spec: TensorSpec, value: Any, shape: tuple[int, ...]) -> InvalidInputTypeError:
    find_fault = _fault_finder(spec.dtype)
    for index, leaf in enumerate(islice(iter_leaves(value, shape), MAX_SEARCH)):
        fault = find_fault(leaf)
        if fault is not None:
            return _type_error(spec, place_of(index, shape), leaf, fault)
    return InvalidInputTypeError(
        f"Input '{spec.name}' must be {spec.dtype}; it holds a value that is not.",
        details={"input": spec.name, "expected": spec.dtype.value},
    )


def _fault_finder(dtype: DType) -> Callable[[Any], str | None]:
    """A function that says why a value cannot be of ``dtype``, or None when it can."""
    if dtype is DType.BOOL:
        return lambda leaf: None if isinstance(leaf, bool) else "only true and false are allowed"
    if dtype.is_integer:
        return lambda leaf: _integer_fault(leaf, *_LIMITS[dtype])
    return lambda leaf: _float_fault(leaf, dtype)


def _integer_fault(leaf: Any, low: int, high: int) -> str | None:
    if isinstance(leaf, bool) or not isinstance(leaf, int | float):
        return "only numbers are allowed"
    if leaf != leaf // 1:
        return "a fraction would be lost"
    if isinstance(leaf, float) and abs(leaf) >= _INEXACT_DOUBLE and low <= leaf <= high:
        return "from 2^53 on, integers must be written without point or exponent"
    return None if low <= leaf <= high else f"the range is {low} to {high}"


def _float_fault(leaf: Any, dtype: DType) -> str | None:
    if isinstance(leaf, bool) or not isinstance(leaf, int | float):
        return "only numbers are allowed"
    if abs(leaf) <= _EVERY_FLOAT_HOLDS:
        return None
    with np.errstate(over="ignore"):
        fits = bool(np.isfinite(np.float64(leaf).astype(dtype.numpy)))
    return None if fits else f"that is beyond the range of {dtype}"


def _type_error(spec: TensorSpec, place: str, leaf: Any, fault: str) -> InvalidInputTypeError:
    where = f"the value at {place}" if place else "the value"
    return InvalidInputTypeError(
        f"Input '{spec.name}' must be {spec.dtype}: {where} is {kind_of(leaf)}; {fault}.",
        details={"input": spec.name, "expected": spec.dtype.value, "actual": kind_of(leaf)},
    )
