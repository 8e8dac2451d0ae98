"""Named tensors and what a signature promises about them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any, TypeAlias

import numpy as np

from tensorhost.core.dtypes import DType
from tensorhost.core.errors import InvalidInputShapeError, InvalidInputTypeError

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]
"""A numpy array of any shape and any dtype that DType lists."""

Tensors: TypeAlias = Mapping[str, Array]
"""Arrays by the name the signature gives them."""

Shape: TypeAlias = tuple[int | None, ...]
"""Dimensions; None where any size is allowed."""


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """Name, dtype and shape of one input or output. ``shape`` is None where even the rank is unknown."""

    name: str
    dtype: DType
    shape: Shape | None
    # Worked out once, since every request asks.
    is_batchable: bool = field(init=False, repr=False, compare=False)
    """Whether the first dimension exists and may have any size."""
    _row_shape: Shape | None = field(init=False, repr=False, compare=False)
    """The other dimensions, where only the first is free; else None."""

    def __post_init__(self) -> None:
        shape = self.shape
        is_batchable = bool(shape) and shape is not None and shape[0] is None
        object.__setattr__(self, "is_batchable", is_batchable)
        row_shape = shape[1:] if shape is not None and is_batchable and None not in shape[1:] else None
        object.__setattr__(self, "_row_shape", row_shape)

    def admits(self, shape: Sequence[int]) -> bool:
        """Whether a tensor of this shape may be fed."""
        wanted = self.shape
        if self._row_shape is not None:
            # Rows of one shape, as nearly every input has them: one comparison.
            return len(shape) > 0 and self._row_shape == tuple(shape[1:])
        if wanted is None:
            return True
        return len(shape) == len(wanted) and all(
            want is None or want == have for want, have in zip(wanted, shape, strict=True)
        )

    def check(self, array: Array) -> None:
        """Raise unless ``array`` has exactly this dtype and a shape this spec admits.

        Raises:
            InvalidInputShapeError: names the input, the shape expected and the shape that came.
            InvalidInputTypeError: the same for the dtype.
        """
        wanted = self.dtype.numpy
        if array.dtype is not wanted and array.dtype != wanted:
            raise self._dtype_error(array)
        if not self.admits(array.shape):
            raise self.shape_error(array.shape)

    def check_dtype(self, array: Array) -> None:
        """Raise InvalidInputTypeError unless ``array`` has exactly this dtype, whatever its shape."""
        if array.dtype != self.dtype.numpy:
            raise self._dtype_error(array)

    def shape_error(self, shape: Sequence[int]) -> InvalidInputShapeError:
        """The error for a tensor of ``shape`` where this spec was expected."""
        return InvalidInputShapeError(
            f"Input '{self.name}' has shape {format_shape(tuple(shape))}, expected {format_shape(self.shape)}.",
            details={
                "input": self.name,
                "expected": None if self.shape is None else list(self.shape),
                "actual": list(shape),
            },
        )

    def _dtype_error(self, array: Array) -> InvalidInputTypeError:
        return InvalidInputTypeError(
            f"Input '{self.name}' must be {self.dtype}, not {array.dtype}.",
            details={"input": self.name, "expected": self.dtype.value, "actual": str(array.dtype)},
        )


def format_shape(shape: Shape | None) -> str:
    """``[?, 28, 28]``; ``unknown rank`` for None."""
    if shape is None:
        return "unknown rank"
    return "[" + ", ".join("?" if size is None else str(size) for size in shape) + "]"


def element_count(shape: Sequence[int]) -> int:
    """Number of elements, in Python integers: a hostile shape cannot overflow it."""
    return prod(shape)


ALIGNMENT_BYTES = 64
"""What TensorFlow asks of memory it reads without a copy."""


def aligned_empty(shape: Sequence[int], dtype: np.dtype[Any]) -> Array:
    """An uninitialised array whose first element lies on a 64-byte border; numpy itself promises only 16.

    Strings (object dtype) are read one by one anyway and come as an ordinary array of None.
    """
    if dtype.hasobject:
        return np.empty(shape, dtype)
    return _aligned(element_count(shape) * dtype.itemsize, 0).view(dtype).reshape(shape)


def aligned_bytes(size: int, aligned_at: int = 0) -> memoryview:
    """Uninitialised bytes, of which the one at ``aligned_at`` lies on a 64-byte border, as writable memory."""
    return _aligned(size, aligned_at).data


def _aligned(size: int, aligned_at: int) -> Array:
    raw = np.empty(size + ALIGNMENT_BYTES, np.uint8)
    start = -(raw.ctypes.data + aligned_at) % ALIGNMENT_BYTES
    return raw[start : start + size]
