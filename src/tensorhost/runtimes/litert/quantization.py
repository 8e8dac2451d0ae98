"""Quantised tensors as float32: real value = scale * (number - zero point), one scale for the whole tensor.

Rounded as TensorFlow Lite's own QUANTIZE and DEQUANTIZE do (half away from zero; products in double precision, then
float32), so that a client who lets the server convert gets what a converter's float interface gives.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

import numpy as np

from tensorhost.core.dtypes import DType
from tensorhost.core.errors import InvalidRequestError
from tensorhost.core.tensors import Array
from tensorhost.runtimes.litert.model_file import TensorRecord
from tensorhost.runtimes.litert.tensor_types import TENSOR_TYPES

_QUANTISED = frozenset({DType.INT8, DType.UINT8, DType.INT16, DType.UINT16})


@dataclass(frozen=True, slots=True)
class Quantization:
    """Scale and zero point of one tensor of integers, ``dtype`` being their type."""

    dtype: DType
    scale: float
    zero_point: int

    @classmethod
    def of(cls, tensor: TensorRecord) -> Quantization | None:
        """How ``tensor`` is quantised; None where it is not, or not with one scale for all of it."""
        dtype = TENSOR_TYPES[tensor.type].dtype
        if dtype not in _QUANTISED or len(tensor.scales) != 1 or len(tensor.zero_points) > 1:
            return None
        scale = tensor.scales[0]
        zero_point = tensor.zero_points[0] if tensor.zero_points else 0
        limits = np.iinfo(dtype.numpy)
        if not (isfinite(scale) and scale > 0 and limits.min <= zero_point <= limits.max):
            return None
        return cls(dtype, scale, zero_point)

    def quantize(self, name: str, values: Array) -> Array:
        """The nearest numbers for float32 ``values``; what is out of range becomes the closest in range.

        Raises InvalidRequestError for NaN, which no integer stands for; ``name`` is the input's.
        """
        steps = (values / np.float32(self.scale)).astype(np.float64)
        if np.isnan(steps).any():
            raise InvalidRequestError(f"Input '{name}' holds NaN, which its quantised form cannot.")
        limits = np.iinfo(self.dtype.numpy)
        rounded = np.trunc(steps + np.copysign(0.5, steps)) + self.zero_point
        numbers: Array = np.clip(rounded, limits.min, limits.max).astype(self.dtype.numpy)
        return numbers

    def dequantize(self, numbers: Array) -> Array:
        """The float32 values that ``numbers`` stand for."""
        values: Array = (self.scale * (numbers.astype(np.float64) - self.zero_point)).astype(np.float32)
        return values
