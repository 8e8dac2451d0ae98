"""Tensors as raw bytes: little-endian, row-major, as they lie in memory; texts with their lengths in front.

The form of ``raw_input_contents`` over gRPC, of binary tensor data over HTTP and of shared memory. Numbers are not
copied on their way in: the array is a view of the bytes that came, which may begin at any address.

What must stay true: nothing of the size that a shape claims is allocated before the bytes were counted.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np

from tensorhost.codecs.tensor_forms import Octets
from tensorhost.core.dtypes import DType
from tensorhost.core.errors import InvalidRequestError, PayloadTooLargeError
from tensorhost.core.tensors import Array, element_count

_MOST_DIMENSIONS = 64  # of an array
_LENGTH = struct.Struct("<I")
_QUICKER_COPIED_BYTES = 4096
_ONLY_BYTES = frozenset((bytes,))


def check_rank(rank: int, name: str) -> None:
    """Raise InvalidRequestError where the input ``name`` has too many dimensions."""
    if rank > _MOST_DIMENSIONS:
        raise InvalidRequestError(
            f"Input '{name}' has {rank} dimensions; at most {_MOST_DIMENSIONS} are allowed.",
            details={"input": name, "expected": _MOST_DIMENSIONS, "actual": rank},
        )


def check_shape(shape: Sequence[int], name: str) -> None:
    """Raise InvalidRequestError where the input ``name`` has too many dimensions, or one below zero."""
    check_rank(len(shape), name)
    if shape and min(shape) < 0:
        raise InvalidRequestError(
            f"Input '{name}' has a dimension below zero in its shape {list(shape)}.",
            details={"input": name, "actual": list(shape)},
        )


def checked_count(shape: Sequence[int], name: str, *, max_elements: int) -> int:
    """How many elements the input ``name`` of this ``shape`` has.

    Raises:
        InvalidRequestError: as ``check_shape``.
        PayloadTooLargeError: more than ``max_elements``, or the sizes that are not 0 alone make more.
    """
    check_shape(shape, name)
    count = element_count(shape)
    # A shape with a 0 among huge sizes has no elements, and is no array's all the same.
    if count > max_elements or (not count and element_count([size or 1 for size in shape]) > max_elements):
        raise PayloadTooLargeError(
            f"Input '{name}' has more than {max_elements} elements.", details={"input": name, "expected": max_elements}
        )
    return count


def decode_raw(dtype: DType, shape: Sequence[int], data: Octets, name: str, *, max_elements: int) -> Array:
    """The array of ``dtype`` and ``shape`` whose elements ``data`` holds.

    Args:
        dtype, shape: what the request states.
        data: the elements, and nothing else.
        name: of the input, for errors.
        max_elements: most elements it may have.

    Returns:
        A view of ``data``, not to be written to, though it is writable where ``data`` is: LiteRT and OpenVINO copy what
        they could not write to. Perhaps not aligned. For strings an object array of bytes. A bool that is no 0 is true.

    Raises:
        InvalidRequestError: the shape is none, or ``data`` is too short or too long for it; a length of a string
            reaches beyond the end.
        PayloadTooLargeError: more than ``max_elements``.
    """
    count = checked_count(shape, name, max_elements=max_elements)
    if dtype is DType.STRING:
        return _strings(data, count, name).reshape(shape)
    expected = count * dtype.numpy.itemsize
    if len(data) != expected:
        raise _size_error(name, expected, len(data))
    array = np.frombuffer(data, dtype.numpy) if expected else np.empty(0, dtype.numpy)
    if dtype is DType.BOOL and expected and array.view(np.uint8).max() > 1:
        # As perf_analyzer's random data have them. What a model would make of another bit pattern is not defined.
        array = array.view(np.uint8) != 0
    return array.reshape(shape)


def encode_raw(array: Array) -> Octets:
    """The elements of ``array`` in order. Many numbers that lie so in memory are not copied: the array is kept alive.

    Raises:
        KeyError: no tensor has the array's dtype.
    """
    if DType.of(array) is DType.STRING:
        return _encode_strings(array)
    if array.nbytes <= _QUICKER_COPIED_BYTES:
        return array.tobytes()
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def object_array(values: list[bytes]) -> Array:
    """``values`` as an object array of one dimension."""
    # Filled, not converted: numpy would make one fixed-width string array of a list of bytes.
    array = np.empty(len(values), object)
    array[:] = values
    return array


def strings_of(array: Array) -> list[bytes]:
    """The elements of an array of strings, in order, as bytes."""
    if array.dtype.kind == "U":
        array = np.strings.encode(array, "utf-8")
    values: list[Any] = array.reshape(-1).tolist()
    if set(map(type, values)) <= _ONLY_BYTES:
        return values
    return [value.encode() if isinstance(value, str) else value for value in values]


def _strings(data: Octets, count: int, name: str) -> Array:
    if count * _LENGTH.size > len(data):
        raise _size_error(name, count * _LENGTH.size, len(data), "at least ")
    raw = bytes(data)
    values: list[bytes] = []
    position, end = 0, len(raw)
    unpack = _LENGTH.unpack_from
    cut: int | None = None
    try:
        for _ in range(count):
            start = position + _LENGTH.size
            position = start + unpack(raw, position)[0]
            values.append(raw[start:position])
    except struct.error:
        cut = len(values)
    if position > end:
        cut = len(values) - 1
    if cut is not None:
        raise InvalidRequestError(
            f"Input '{name}': its bytes end inside element {cut} of {count}.",
            details={"input": name, "actual": end},
        )
    if position != end:
        raise InvalidRequestError(
            f"Input '{name}' has {end - position} bytes behind its {count} elements.",
            details={"input": name, "expected": position, "actual": end},
        )
    return object_array(values)


def _encode_strings(array: Array) -> bytes:
    pack = _LENGTH.pack
    return b"".join([pack(len(value)) + value for value in strings_of(array)])


def _size_error(name: str, expected: int, actual: int, bound: str = "") -> InvalidRequestError:
    return InvalidRequestError(
        f"Input '{name}' has {actual} bytes of data, expected {bound}{expected}.",
        details={"input": name, "expected": expected, "actual": actual},
    )
