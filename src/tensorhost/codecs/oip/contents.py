"""Typed contents (``InferTensorContents``) to arrays and back: elements in the one field that their datatype has.

Works on the wire view, whose lists of numbers are bytes, as ``tensor_proto`` does. FP16 and BF16 have no field.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tensorhost.core.dtypes import DType
from tensorhost.core.tensors import Array


def decode_contents(dtype: DType, shape: Sequence[int], contents: Any, name: str, *, max_elements: int) -> Array:
    """The array of ``dtype`` and ``shape`` whose elements ``contents`` holds.

    Args:
        dtype, shape: what the request states.
        contents: a ``tensorhost.wire.InferTensorContents``.
        name: of the input, for errors.
        max_elements: most elements it may have.

    Returns:
        An array that is not to be written to; strings as objects of bytes.

    Raises:
        InvalidRequestError: the shape is none, the field has fewer or more elements, another field has some, or a
            number is out of the range of the datatype.
        InvalidInputTypeError: the datatype has no field.
        PayloadTooLargeError: more than ``max_elements``.
    """
    raise NotImplementedError


def encode_contents(array: Array) -> list[bytes | memoryview]:
    """The pieces of an ``InferTensorContents`` with the elements of ``array``.

    Raises:
        UnsupportedTypeError: the array's dtype has no field.
    """
    raise NotImplementedError
