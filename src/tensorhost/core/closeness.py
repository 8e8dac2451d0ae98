"""When two answers are the same one: exactly for whole numbers and text, up to rounding for floating-point numbers."""

from __future__ import annotations

import numpy as np

from tensorhost.core.dtypes import DType
from tensorhost.core.tensors import Array


def agree(expected: Array, actual: Array, tolerance: float) -> bool:
    """Whether two arrays of one dtype and shape are equal, floating-point numbers within ``tolerance``.

    The tolerance is relative to each value and to the largest of ``expected``: rounding errors are as large as what
    was added up, not as what is left. NaN equals NaN, infinity itself.
    """
    dtype = DType.of(expected)
    if not (dtype.is_floating or dtype.is_complex):
        return bool(np.array_equal(expected, actual))
    first, second = widened(expected), widened(actual)
    return bool(np.allclose(second, first, rtol=tolerance, atol=tolerance * scale_of(first), equal_nan=True))


def widened(array: Array) -> Array:
    """``array`` as float64 or complex128, in which differences are exact enough to be judged."""
    return array.astype(np.complex128 if DType.of(array).is_complex else np.float64)


def scale_of(array: Array) -> float:
    """Largest finite absolute value; 0 where there is none."""
    return float(np.abs(array[np.isfinite(array)]).max(initial=0.0))
