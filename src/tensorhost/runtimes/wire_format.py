"""The outermost fields of a protocol buffer, without parsing what is in them.

For files too large to be parsed in one go, and to tell a whole file from one cut short.
"""

from __future__ import annotations

from collections.abc import Iterator
from mmap import mmap
from typing import NamedTuple

VARINT, FIXED_64, LENGTH_DELIMITED, FIXED_32 = 0, 1, 2, 5
_LONGEST_VARINT_BYTES = 10


class Field(NamedTuple):
    """One field: its number, how it is written, and where its key, its value and what follows begin."""

    number: int
    kind: int
    key: int
    start: int
    end: int


def fields(data: bytes | memoryview | mmap) -> Iterator[Field]:
    """The fields of the message that ``data`` is, in their order. Raises ValueError where it is not whole."""
    position = 0
    while position < len(data):
        key, start = _varint(data, position)
        kind = key & 7
        if kind == LENGTH_DELIMITED:
            size, start = _varint(data, start)
            end = start + size
        elif kind == VARINT:
            end = _varint(data, start)[1]
        elif kind in (FIXED_64, FIXED_32):
            end = start + (8 if kind == FIXED_64 else 4)
        else:
            raise ValueError(f"byte {position} begins no field")
        if end > len(data):
            raise ValueError(f"the field at byte {position} ends at {end}, after the end of the data")
        yield Field(key >> 3, kind, position, start, end)
        position = end


def _varint(data: bytes | memoryview | mmap, start: int) -> tuple[int, int]:
    """The base-128 number at ``start``, and where it ends."""
    value = 0
    for index, byte in enumerate(data[start : start + _LONGEST_VARINT_BYTES]):
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value, start + index + 1
    raise ValueError(f"no whole number at byte {start}")
