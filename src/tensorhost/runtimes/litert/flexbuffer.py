"""Reading one map of texts or bytes from a FlexBuffer, the schemaless sister of the FlatBuffer.

A FlexBuffer ends with its root: the root's value, its type, and how wide the value is. Offsets point back from where
they stand. What must stay true: nothing outside the bytes given is read, the work is bounded by how many there are, and
all that can be raised is ValueError.
"""

from __future__ import annotations

_STRING, _MAP, _BLOB = 5, 9, 25
_WIDTHS = (1, 2, 4, 8)
_READ_OVER = 4
"""Bytes looked at may be this many times those there are: writers share equal texts."""


def read_map(data: bytes) -> dict[str, bytes]:
    """The entries of the map that ``data`` is, in the order of the file; those that are neither text nor bytes not.

    Raises ValueError where it is no whole FlexBuffer, or no map.
    """
    if len(data) < 3 or data[-1] not in _WIDTHS:
        raise ValueError("no FlexBuffer")
    width = data[-1]
    kind, map_width = data[-2] >> 2, 1 << (data[-2] & 3)
    if kind != _MAP:
        raise ValueError("no map")
    values = _target(data, len(data) - 2 - width, width)
    count = _number(data, values - map_width, map_width)
    keys_width = _number(data, values - 2 * map_width, map_width)
    keys = _target(data, values - 3 * map_width, map_width)
    if (
        keys_width not in _WIDTHS
        or values + count * (map_width + 1) > len(data)
        or keys + count * keys_width > len(data)
    ):
        raise ValueError("more entries than there is room for")
    found: dict[str, bytes] = {}
    bytes_left = _READ_OVER * len(data)
    for index in range(count):
        packed = data[values + count * map_width + index]
        if packed >> 2 not in (_STRING, _BLOB):
            continue
        key = _text(data, _target(data, keys + index * keys_width, keys_width))
        start = _target(data, values + index * map_width, map_width)
        size_width = 1 << (packed & 3)
        size = _number(data, start - size_width, size_width)
        if start + size > len(data):
            raise ValueError("a value ends outside the data")
        bytes_left -= len(key) + size
        if bytes_left < 0:
            raise ValueError("its parts overlap")
        found[key] = data[start : start + size]
    return found


def _number(data: bytes, position: int, width: int) -> int:
    if position < 0 or position + width > len(data):
        raise ValueError("an offset points outside the data")
    return int.from_bytes(data[position : position + width], "little")


def _target(data: bytes, position: int, width: int) -> int:
    """Where the offset at ``position`` points."""
    target = position - _number(data, position, width)
    if target < 0:
        raise ValueError("an offset points outside the data")
    return target


def _text(data: bytes, start: int) -> str:
    end = data.find(b"\0", start)
    if end < 0:
        raise ValueError("a key does not end")
    return data[start:end].decode("utf-8", "replace")
