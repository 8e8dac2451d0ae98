"""JSON values to numpy arrays. Pure.

JSON says of a number whether it is whole, and nothing else of its type. An array gets the signature's dtype where its
values are of that kind, floating-point or whole; a postprocessing step can make whole numbers of floating-point ones
(``argmax``), and what the signature says of those would be wrong. Then, and where the signature is not known, the array
has int64 or float64, which lose nothing.
"""

from __future__ import annotations

from base64 import b64decode
from typing import Any

import numpy as np

from tensorhost.core.dtypes import DType
from tensorhost.core.tensors import Array

_BEYOND_INT64 = 2.0**63


def as_array(value: Any, dtype: DType | None) -> Array | None:
    """An array of what the server sent.

    Args:
        value: nested lists of equal lengths, or a scalar: numbers with null for NaN and infinities, booleans, or
            strings with ``{"b64": ...}`` for bytes that are no text.
        dtype: of the signature; None where it is not known.

    Returns:
        An array of numbers or booleans, or an object array of ``str`` and ``bytes``; None for what is no tensor.
    """
    try:
        array = np.asarray(value)
    except ValueError:
        return None  # lists of unequal lengths
    if array.size == 0:
        return array if dtype is None else array.astype(dtype.numpy)
    if array.dtype.kind in "OU":
        return _of_objects(value, dtype)
    if array.dtype.kind == "f" and bool((np.abs(array) >= _BEYOND_INT64).any()):
        elements = np.asarray(value, dtype=object)
        if all(isinstance(element, int) for element in elements.ravel()):
            return _of_large_integers(elements)
    if dtype is not None and _is_of_kind(array, dtype):
        return _converted(array, dtype)
    return array


def _of_large_integers(elements: Array) -> Array | None:
    """uint64, where numpy would make floating-point numbers of large and small integers; None for what is no uint64."""
    try:
        return elements.astype(np.uint64)
    except OverflowError:
        return None


def _is_of_kind(array: Array, dtype: DType) -> bool:
    kind = array.dtype.kind
    return (
        (kind == "f" and dtype.is_floating)
        or (kind in "iu" and dtype.is_integer)
        or (kind == "b" and dtype is DType.BOOL)
    )


def _converted(array: Array, dtype: DType) -> Array:
    """The array as ``dtype``, or as it is where that would lose a number."""
    with np.errstate(over="ignore", invalid="ignore"):
        converted = array.astype(dtype.numpy)
    if dtype.is_floating:
        survives = bool((np.isfinite(converted.astype(np.float64)) == np.isfinite(array)).all())
    else:
        # As floating-point numbers, in which a sign or a high digit that was lost shows whatever the two types are.
        survives = bool((converted.astype(np.float64) == array.astype(np.float64)).all())
    return converted if survives else array


def _of_objects(value: Any, dtype: DType | None) -> Array | None:
    """Arrays that JSON cannot write with numbers alone: strings, and numbers with null among them."""
    array = np.asarray(value, dtype=object)
    elements = array.ravel().tolist()
    if None in elements and all(element is None or isinstance(element, int | float) for element in elements):
        wanted = dtype.numpy if dtype is not None and dtype.is_floating else np.dtype(np.float64)
        return array.astype(np.float64).astype(wanted)
    if all(isinstance(element, str) or _is_b64(element) for element in elements):
        for index, element in enumerate(elements):
            array.flat[index] = element if isinstance(element, str) else _bytes(element)
        return array
    return None


def _is_b64(element: Any) -> bool:
    return isinstance(element, dict) and element.keys() == {"b64"} and isinstance(element["b64"], str)


def _bytes(element: dict[str, str]) -> bytes | str:
    try:
        return b64decode(element["b64"], validate=True)
    except ValueError:
        return element["b64"]
