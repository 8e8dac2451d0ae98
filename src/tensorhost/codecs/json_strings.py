"""JSON strings and ``{"b64": …}`` objects to arrays of bytes.

A string input takes text (stored as UTF-8) and ``{"b64": "…"}`` (raw bytes) in nested lists of any rank. For a
numeric input, ``{"b64": …}`` is an encoded image: the bytes are handed on for the pipeline to decode.
"""

from __future__ import annotations

import binascii
from typing import Any

import numpy as np
from simdjson import Object as JsonMembers

from tensorhost.codecs.json_document import kind_of
from tensorhost.codecs.json_shapes import place_of, uniform_leaves
from tensorhost.codecs.json_structure import structure_of_shape
from tensorhost.core.errors import InvalidInputShapeError, InvalidInputTypeError
from tensorhost.core.tensors import Array, TensorSpec, format_shape

B64_KEY = "b64"
B64_STRUCTURE = b"{:}"


def is_b64(value: Any) -> bool:
    """Whether ``value`` is an object with ``b64`` as its only member."""
    return isinstance(value, JsonMembers) and len(value) == 1 and tuple(value) == (B64_KEY,)


def decode_strings(spec: TensorSpec, value: Any, shape: tuple[int, ...]) -> tuple[Array, bytes]:
    """``value`` as an object array of bytes of ``shape``, and the structure it has in the document.

    Raises:
        RaggedInputError: ``value`` is not nested lists of ``shape``.
        InvalidInputTypeError: a leaf is neither a string nor ``{"b64": "…"}``, or its base64 is not valid.
    """
    leaves = uniform_leaves(spec.name, value, shape)
    values: list[bytes] = []
    for index, leaf in enumerate(leaves):
        if isinstance(leaf, str):
            values.append(leaf.encode("utf-8"))
        elif is_b64(leaf):
            values.append(_decode_b64(spec, place_of(index, shape), leaf[B64_KEY]))
        else:
            raise _kind_error(spec, place_of(index, shape), leaf, 'a string or {"b64": "…"}')
    return _object_array(values, shape), _nested_structure(leaves, shape)


def decode_images(spec: TensorSpec, value: Any, shape: tuple[int, ...]) -> tuple[Array, bytes]:
    """Encoded images given for a numeric input: an object array of bytes of shape [N], or [] for a bare one.

    Raises:
        InvalidInputShapeError: the images are nested in more than one list.
        InvalidInputTypeError: something among them is not ``{"b64": "…"}``, or its base64 is not valid.
    """
    if len(shape) > 1:
        raise InvalidInputShapeError(
            f"Input '{spec.name}': encoded images come in one list, not in nested lists of shape "
            f"{format_shape(shape)}.",
            details={"input": spec.name, "actual": list(shape)},
        )
    leaves = uniform_leaves(spec.name, value, shape)
    values: list[bytes] = []
    for index, leaf in enumerate(leaves):
        if not is_b64(leaf):
            raise _kind_error(spec, place_of(index, shape), leaf, '{"b64": "…"}, as others are')
        values.append(_decode_b64(spec, place_of(index, shape), leaf[B64_KEY]))
    return _object_array(values, shape), _nested_structure(leaves, shape)


def _object_array(values: list[bytes], shape: tuple[int, ...]) -> Array:
    # Filled, not converted: numpy would make one fixed-width string array of a list of bytes.
    array = np.empty(len(values), object)
    array[:] = values
    return array.reshape(shape)


def _nested_structure(leaves: list[Any], shape: tuple[int, ...]) -> bytes:
    parts = [b"" if isinstance(leaf, str) else B64_STRUCTURE for leaf in leaves]
    if not any(parts):
        return structure_of_shape(shape)
    for size in reversed(shape):
        parts = [b"[" + b",".join(parts[at : at + size]) + b"]" for at in range(0, len(parts), size)]
    return parts[0]


def _decode_b64(spec: TensorSpec, place: str, text: Any) -> bytes:
    if not isinstance(text, str):
        raise _kind_error(spec, place, text, "a base64 string under 'b64'")
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except ValueError:
        where = f"the value at {place}" if place else "the value"
        raise InvalidInputTypeError(
            f"Input '{spec.name}': {where} is not valid base64 (standard alphabet, padded, no line breaks).",
            details={"input": spec.name},
        ) from None


def _kind_error(spec: TensorSpec, place: str, leaf: Any, expected: str) -> InvalidInputTypeError:
    where = f"the value at {place}" if place else "the value"
    return InvalidInputTypeError(
        f"Input '{spec.name}' must be {spec.dtype}: {where} is {kind_of(leaf)}, expected {expected}.",
        details={"input": spec.name, "expected": spec.dtype.value, "actual": kind_of(leaf)},
    )
