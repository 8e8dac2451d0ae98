"""Arithmetic on numeric inputs: scale, min-max, mean and std, and the way into and out of the working type.

Pure functions on arrays. Floats up to 32 bits are worked on in float32, float64 and integers in float64. ``out``
is an array the caller owns, of the working type and of the shape of ``x`` (it may be ``x`` itself), or None for a
new one; nothing else is ever written to.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from tensorhost.core.dtypes import DType
from tensorhost.core.errors import InvalidPreprocessingError
from tensorhost.core.tensors import Array

_TILE = 512


def working_dtype(dtype: DType) -> np.dtype[Any]:
    """float32 for floats of at most 32 bits, float64 for float64 and integers."""
    wide = dtype.is_integer or dtype is DType.FLOAT64
    return np.dtype(np.float64 if wide else np.float32)


def integer_limits(dtype: DType) -> tuple[int, int]:
    """Least and greatest value of an integer dtype."""
    bits = int(dtype.value.lstrip("uint"))
    return (0, 2**bits - 1) if dtype.value.startswith("u") else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def scale(x: Array, divisor: float, out: Array | None = None) -> Array:
    """``x / divisor``, element by element, in the dtype of ``x`` (float32 or float64), any shape."""
    return np.asarray(np.divide(x, x.dtype.type(divisor), out=out))


def min_max(x: Array, out: Array | None = None) -> Array:
    """``(x - min) / (max - min)`` of each example, an example being one index of the first axis.

    ``x``: float32 or float64, any shape; of rank 0 it is one example. The result lies in [0, 1]; an example whose
    elements are all equal becomes 0.

    Raises:
        InvalidPreprocessingError: an example holds NaN or infinity, so it has no minimum and maximum to go by.
    """
    if x.size == 0:
        return x
    axes = tuple(range(1, x.ndim)) if x.ndim else None
    low, high = x.min(axis=axes, keepdims=True), x.max(axis=axes, keepdims=True)
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        raise InvalidPreprocessingError(
            "'preprocessing.normalize' needs finite numbers, but an example holds NaN or infinity.",
            details={"field": "preprocessing.normalize"},
        )
    with np.errstate(over="ignore"):
        span = high - low
    if not np.isfinite(span).all():  # the widest range a float has: halve everything, which is exact out there
        return min_max(np.multiply(x, x.dtype.type(0.5), out=out), out)
    span = np.where(span == 0, x.dtype.type(1), span)
    result = np.empty_like(x) if out is None else out
    np.subtract(x, low, out=result)
    np.divide(result, span, out=result)
    return result


def subtract_mean(x: Array, mean: Array, out: Array | None = None) -> Array:
    """``x - mean`` along the last axis. ``mean``: dtype of ``x``, shape [1] or [size of the last axis]."""
    return _along_last_axis(np.subtract, x, mean, out)


def divide_by_std(x: Array, std: Array, out: Array | None = None) -> Array:
    """``x / std`` along the last axis. ``std``: dtype of ``x``, shape [1] or [size of the last axis]."""
    return _along_last_axis(np.divide, x, std, out)


def _along_last_axis(operation: np.ufunc, x: Array, vector: Array, out: Array | None) -> Array:
    """Broadcast over a short last axis (colour channels) in long inner loops: the vector is repeated first."""
    last = x.shape[-1] if x.ndim else 1
    result = np.empty_like(x) if out is None else out
    repeats = x.shape[-2] if x.ndim > 1 and last < _TILE else 1
    if vector.size == 1 or repeats == 1 or not (x.flags.c_contiguous and result.flags.c_contiguous):
        return np.asarray(operation(x, vector, out=result))
    rows = prod(x.shape[:-2])
    operation(x.reshape(rows, repeats * last), np.tile(vector, repeats), out=result.reshape(rows, repeats * last))
    return result


def to_signature_dtype(x: Array, dtype: DType, name: str) -> Array:
    """``x`` (bool, integers or floats) as ``dtype``, where nothing but float rounding is lost.

    Args:
        x: the values of input ``name``, any shape.
        dtype: what the signature wants; a floating or integer type or bool.
        name: for the message.

    Raises:
        InvalidPreprocessingError: a value is not whole or out of range for an integer dtype, or finite and out of
            range for a floating one.
    """
    target = dtype.numpy
    if x.dtype == target:
        return x
    if dtype.is_floating:
        with np.errstate(over="ignore"):
            converted = x.astype(target)
        lost = np.isfinite(x) & ~np.isfinite(converted)
    else:
        lost = ~_fits_integer(x, dtype)
        converted = x.astype(target) if not lost.any() else x
    if lost.any():
        value = x[lost].ravel()[0]
        raise InvalidPreprocessingError(
            f"After preprocessing, input '{name}' holds {value}, which {dtype} cannot hold without loss.",
            details={"input": name, "expected": dtype.value, "actual": str(value)},
        )
    return np.asarray(converted)


def _fits_integer(x: Array, dtype: DType) -> Array:
    if dtype is DType.BOOL:
        return np.asarray((x == 0) | (x == 1))
    low, high = integer_limits(dtype)
    if x.dtype.kind in "iu":
        return np.asarray((x >= low) & (x <= high))
    # The upper bound as a float is exact only as a power of two: 2**63 - 1 would round up and let 2**63 through.
    return np.asarray((x >= float(low)) & (x < float(high + 1)) & (x == np.trunc(x)))
