"""The few bytes that protobuf puts around a value, for messages that are put together from pieces."""

from __future__ import annotations


def field_key(number: int) -> bytes:
    """What announces a length-delimited field: text, bytes, a message or a packed list. Its length follows."""
    return varint(number << 3 | 2)


def varint(value: int) -> bytes:
    """A number from 0, in base 128."""
    if value < 0x80:
        return _ONE_BYTE[value]
    data = bytearray()
    while value >= 0x80:
        data.append(value & 0x7F | 0x80)
        value >>= 7
    data.append(value)
    return bytes(data)


_ONE_BYTE = [bytes((value,)) for value in range(0x80)]
