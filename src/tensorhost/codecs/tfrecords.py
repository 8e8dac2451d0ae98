"""TFRecord files: records of bytes, each with its length before it and checksums over both.

A record is its length (64 bits, little-endian), the checksum of that, the bytes, and the checksum of those. Checksums
are CRC-32C, rotated and offset so that a checksum of data that holds checksums stays meaningful.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO

import google_crc32c

_LENGTH = struct.Struct("<Q")
_CHECKSUM = struct.Struct("<I")
_HEAD = struct.Struct("<QI")
_OFFSET = 0xA282EAD8
# A length is believed no further than this before the bytes are there.
_PIECE_BYTES = 1 << 20


class BrokenRecordError(ValueError):
    """What was read is no TFRecord file, or one that was cut short or damaged; the message says where."""


def frame(record: bytes) -> bytes:
    """``record`` as it is written into a file."""
    length = _LENGTH.pack(len(record))
    head = length + _CHECKSUM.pack(_checksum(length))
    return head + record + _CHECKSUM.pack(_checksum(record))


def read_records(stream: BinaryIO, *, max_record_bytes: int) -> Iterator[bytes]:
    """The records of a file, in order.

    Args:
        stream: at its beginning.
        max_record_bytes: longest record to read.

    Raises:
        BrokenRecordError: a checksum or a length is wrong, the file ends inside a record, or a record is too long.
    """
    position = 0
    while head := stream.read(_HEAD.size):
        where = f"the record at byte {position}"
        if len(head) < _HEAD.size:
            raise BrokenRecordError(f"the file ends inside the length of {where}")
        length, checksum = _HEAD.unpack(head)
        if checksum != _checksum(head[: _LENGTH.size]):
            raise BrokenRecordError(f"the length of {where} does not have its checksum")
        if length > max_record_bytes:
            raise BrokenRecordError(f"{where} has {length} bytes; at most {max_record_bytes} are read")
        record = _read(stream, length)
        tail = stream.read(_CHECKSUM.size)
        if len(record) < length or len(tail) < _CHECKSUM.size:
            raise BrokenRecordError(f"the file ends inside {where}")
        if _CHECKSUM.unpack(tail)[0] != _checksum(record):
            raise BrokenRecordError(f"{where} does not have its checksum")
        yield record
        position += _HEAD.size + length + _CHECKSUM.size


def _read(stream: BinaryIO, length: int) -> bytes:
    pieces = []
    while length and (piece := stream.read(min(length, _PIECE_BYTES))):
        pieces.append(piece)
        length -= len(piece)
    return b"".join(pieces)


def _checksum(data: bytes) -> int:
    crc: int = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + _OFFSET) & 0xFFFF_FFFF
