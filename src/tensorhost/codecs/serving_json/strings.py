"""JSON strings and ``{"b64": …}`` objects to bytes, by TensorFlow Serving's rules."""

from __future__ import annotations

import binascii
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

import numpy as np

from tensorhost.codecs.json_shapes import uniform_leaves
from tensorhost.codecs.json_strings import B64_KEY, is_b64
from tensorhost.core.errors import RaggedInputError
from tensorhost.core.tensors import Array

_SPACE = " \t\n\v\f\r"
_NOT_SPACE = str.maketrans("", "", _SPACE)


def is_binary(value: Any) -> bool:
    """Whether ``value`` is an object whose only member is ``b64``, a string."""
    return is_b64(value) and isinstance(value[B64_KEY], str)


def decode_base64(text: str) -> bytes:
    """Base64 of the standard alphabet, with or without padding, spaces ignored. Raises ValueError for anything else."""
    compact = text.translate(_NOT_SPACE)
    return binascii.a2b_base64(compact + "=" * (-len(compact) % 4), strict_mode=True)


def decode_string(value: Any) -> bytes | None:
    """The bytes of a string or of ``{"b64": …}``; None for anything else."""
    if isinstance(value, str):
        return value.encode("utf-8")
    if not is_binary(value):
        return None
    try:
        return decode_base64(value[B64_KEY])
    except ValueError:
        return None


def decode_strings(values: Iterable[Any], shape: Sequence[int]) -> Array | None:
    """Strings as an object array of ``shape``; None where one of them is none."""
    decoded: list[bytes] = []
    for value in values:
        text = decode_string(value)
        if text is None:
            return None
        decoded.append(text)
    # Filled, not converted: numpy would make one fixed-width string array of a list of bytes.
    array = np.empty(len(decoded), object)
    array[:] = decoded
    return array.reshape(shape)


def decode_nested_strings(name: str, values: Sequence[Any], shape: tuple[int, ...]) -> Array | None:
    """Strings in nested lists, each of ``values`` of ``shape``, one after the other.

    Returns:
        An array of ``shape`` for one value; of [values, *shape] for several.
    """
    try:
        leaves = list(chain.from_iterable(uniform_leaves(name, value, shape) for value in values))
    except RaggedInputError:
        return None
    return decode_strings(leaves, shape if len(values) == 1 else (len(values), *shape))
