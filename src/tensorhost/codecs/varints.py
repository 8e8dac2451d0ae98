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
_BLOCK_NUMBERS = 1 << 14
# So few are done faster one by one than by a dozen calls of numpy.
_FEW = 128
_TOO_LONG = "a number of more than ten bytes"

_GROUPS_OF = np.array([int.from_bytes(b"\x7f" * min(length, 8), "little") for length in range(11)], np.uint64)
"""The bits of a word that belong to a number of 0 to 10 bytes."""
_MOVES = [
    (np.uint64(0x007F_007F_007F_007F), np.uint64(0x7F00_7F00_7F00_7F00), np.uint64(1)),
    (np.uint64(0x0000_3FFF_0000_3FFF), np.uint64(0x3FFF_0000_3FFF_0000), np.uint64(2)),
    (np.uint64(0x0000_0000_0FFF_FFFF), np.uint64(0x0FFF_FFFF_0000_0000), np.uint64(4)),
]
"""Which groups stay, which move, and how far: pairs of groups join, then pairs of those, then pairs of those."""


def decode_varints(data: bytes) -> Array:
    """The numbers of ``data``, in order, as an array of uint64; of uint8 where each takes one byte.

    Bits beyond the 64th are dropped. Raises ValueError where ``data`` ends inside a number, or one has more than ten
    bytes.
    """
    raw = np.frombuffer(data, np.uint8)
    is_last = raw < 0x80
    count = int(np.count_nonzero(is_last))
    if count == raw.size:
        return raw
    if not is_last[-1]:
        raise ValueError("ends inside a number")
    if raw.size <= _FEW:
        return np.array(_decode_few(data), np.uint64)
    ends = np.flatnonzero(is_last)
    lengths = np.diff(ends, prepend=-1)
    if lengths.max() > _LONGEST_BYTES:
        raise ValueError(_TOO_LONG)
    starts = ends - lengths
    starts += 1
    padded = np.zeros(raw.size + _LONGEST_BYTES, np.uint8)
    padded[: raw.size] = raw
    values = np.empty(count, np.uint64)
    for block in _blocks(count):
        values[block] = _combined(padded, starts[block], lengths[block])
    return values


def _decode_few(data: bytes) -> list[int]:
    values, value, shift = [], 0, 0
    for byte in data:
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte >= 0x80:
            continue
        if shift > 7 * _LONGEST_BYTES:
            raise ValueError(_TOO_LONG)
        values.append(value & 0xFFFF_FFFF_FFFF_FFFF)
        value = shift = 0
    return values


def _combined(padded: Array, starts: Array, lengths: Array) -> Array:
    """Numbers of up to eight bytes are read as one word each, whose groups of seven bits are then moved together."""
    words = np.ndarray((padded.size - 7,), "<u8", padded, strides=(1,))
    values: Array = words[starts]
    values &= _GROUPS_OF[lengths]
    for low, high, distance in _MOVES:
        values = (values & low) | ((values & high) >> distance)
    for index in range(8, int(lengths.max())):
        longer = np.flatnonzero(lengths > index)
        bits = (padded[starts[longer] + index] & 0x7F).astype(np.uint64)
        values[longer] |= bits << np.uint64(7 * index)
    return values


def encode_varints(values: Array) -> bytes:
    """``values``, an array of bools or of integers of up to 64 bits, in order."""
    flat = values.reshape(-1)
    if not flat.size:
        return b""
    if flat.dtype.kind == "b":
        return flat.tobytes()
    if flat.size <= _FEW // 4:
        return _encode_few(flat.tolist())
    if flat.dtype.kind == "i":
        flat = flat.astype(np.int64).view(np.uint64)
    if flat.max() < 0x80:
        return flat.astype(np.uint8).tobytes()
    return b"".join(_written(flat[block].astype(np.uint64)) for block in _blocks(flat.size))


def _encode_few(values: list[int]) -> bytes:
    data = bytearray()
    for number in values:
        value = number & 0xFFFF_FFFF_FFFF_FFFF
        while value >= 0x80:
            data.append(value & 0x7F | 0x80)
            value >>= 7
        data.append(value)
    return bytes(data)


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
