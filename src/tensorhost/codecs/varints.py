"""Whole numbers in protobuf's base-128 form to arrays and back, without a Python object for each.

A number is written seven bits a byte, the lowest first; every byte but its last has the eighth bit set. Negative
numbers are written as the 64-bit number with the same bits, in ten bytes.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tensorhost.core.tensors import Array

_LONGEST_BYTES = 10
# A block's scratch arrays stay in the processor's cache.
_BLOCK_NUMBERS = 1 << 15


def decode_varints(data: bytes) -> Array:
    """The numbers of ``data``, in order, as an array of uint64; of uint8 where each takes one byte.

    Bits beyond the 64th are dropped. Raises ValueError where ``data`` ends inside a number, or one has more than ten
    bytes.
    """
    raw = np.frombuffer(data, np.uint8)
    is_last = raw < 0x80
    ends = np.flatnonzero(is_last)
    if ends.size == raw.size:
        return raw
    if not is_last[-1]:
        raise ValueError("ends inside a number")
    lengths = np.diff(ends, prepend=-1)
    if lengths.max() > _LONGEST_BYTES:
        raise ValueError("a number of more than ten bytes")
    starts = ends - lengths
    starts += 1
    values = np.empty(ends.size, np.uint64)
    for block in _blocks(ends.size):
        values[block] = _combined(raw, starts[block], lengths[block])
    return values


def _combined(raw: Array, starts: Array, lengths: Array) -> Array:
    values = (raw[starts] & 0x7F).astype(np.uint64)
    longer: Any = slice(None)
    for index in range(1, int(lengths.max())):
        # Few numbers are long: after the first bytes only those that go on are touched.
        longer = np.flatnonzero(lengths > index)
        bits = (raw[starts[longer] + index] & 0x7F).astype(np.uint64)
        values[longer] |= bits << np.uint64(7 * index)
    return values


def encode_varints(values: Array) -> bytes:
    """``values``, an array of bools or of integers of up to 64 bits, in order."""
    flat = values.reshape(-1)
    if flat.dtype.kind == "i":
        flat = flat.astype(np.int64).view(np.uint64)
    if not flat.size:
        return b""
    if flat.dtype.kind == "b" or flat.max() < 0x80:
        return flat.astype(np.uint8).tobytes()
    return b"".join(_written(flat[block].astype(np.uint64)) for block in _blocks(flat.size))


def _written(values: Array) -> bytes:
    lengths = np.ones(values.size, np.intp)
    for index in range(1, _LONGEST_BYTES):
        is_longer = values >= np.uint64(1 << (7 * index))
        if not is_longer.any():
            break
        lengths += is_longer
    ends = np.cumsum(lengths)
    starts = ends - lengths
    out = np.empty(int(ends[-1]), np.uint8)
    longer: Any = slice(None)
    for index in range(int(lengths.max())):
        if index:
            longer = np.flatnonzero(lengths > index)
        bits = (values[longer] >> np.uint64(7 * index)).astype(np.uint8) & np.uint8(0x7F)
        out[starts[longer] + index] = bits | ((lengths[longer] > index + 1).view(np.uint8) << 7)
    return out.tobytes()


def _blocks(size: int) -> list[slice]:
    return [slice(start, start + _BLOCK_NUMBERS) for start in range(0, size, _BLOCK_NUMBERS)]
