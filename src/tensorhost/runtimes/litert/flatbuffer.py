"""Reading FlatBuffers from files that may be hostile: every offset is checked before it is followed.

Only what TensorFlow Lite files use, see the FlatBuffers internals document: tables with virtual tables, scalars,
strings and vectors, little-endian. What must stay true: nothing outside the bytes given is ever read, the work is
bounded by the number of bytes however often a file points at the same place, and all that can be raised is
ModelFailedError.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import TypeVar

from tensorhost.runtimes.litert.errors import damaged

_MOST_TABLES = 1_000_000
_READ_OVER = 4
"""Bytes looked at may be this many times those of the file: writers share equal strings and vectors."""

_SPARE_BYTES = 2**16
_WIDTHS = {"b": 1, "B": 1, "?": 1, "H": 2, "h": 2, "i": 4, "I": 4, "f": 4, "q": 8, "Q": 8}
_T = TypeVar("_T")


class Document:
    """The bytes of one FlatBuffer, with a limit on how much of them is looked at in all."""

    __slots__ = ("_bytes_left", "_tables_left", "data")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self._bytes_left = _READ_OVER * len(data) + _SPARE_BYTES
        self._tables_left = _MOST_TABLES

    def root(self) -> Table:
        """The table the file begins with."""
        self.check(0, 8)
        return Table(self, self.unsigned(0))

    def check(self, position: int, size: int) -> None:
        """Raise unless ``size`` bytes at ``position`` lie inside the file."""
        if position < 0 or size < 0 or position + size > len(self.data):
            raise damaged("an offset points outside the file, or the file was cut short")

    def spend(self, size: int) -> None:
        """Account for ``size`` bytes looked at."""
        self._bytes_left -= size
        if self._bytes_left < 0:
            raise damaged("its parts overlap")

    def spend_table(self) -> None:
        """Account for one table."""
        self._tables_left -= 1
        if self._tables_left < 0:
            raise damaged(f"it has more than {_MOST_TABLES} parts")

    def unsigned(self, position: int) -> int:
        """The 32-bit number at ``position``, which was checked."""
        value: int = struct.unpack_from("<I", self.data, position)[0]
        return value


class Table:
    """One table: fields by number, each absent unless the writer gave it a value."""

    __slots__ = ("_document", "_fields", "_position", "_size")

    def __init__(self, document: Document, position: int) -> None:
        document.check(position, 4)
        document.spend_table()
        virtual = position - struct.unpack_from("<i", document.data, position)[0]
        document.check(virtual, 4)
        virtual_size, self._size = struct.unpack_from("<HH", document.data, virtual)
        if virtual_size < 4 or virtual_size % 2 or self._size < 4:
            raise damaged("a table has an impossible size")
        document.check(virtual, virtual_size)
        document.check(position, self._size)
        document.spend(self._size)
        self._document = document
        self._position = position
        self._fields: tuple[int, ...] = struct.unpack_from(f"<{virtual_size // 2 - 2}H", document.data, virtual + 4)
        if any(offset >= self._size or 0 < offset < 4 for offset in self._fields):
            raise damaged("a field lies outside its table")

    def number(self, field: int, kind: str, default: int = 0) -> int:
        """A scalar, ``kind`` being its code in the ``struct`` module."""
        position = self._find(field, _WIDTHS[kind])
        if position is None:
            return default
        value: int = struct.unpack_from(f"<{kind}", self._document.data, position)[0]
        return value

    def table(self, field: int) -> Table | None:
        """The table the field points at."""
        position = self._follow(field)
        return None if position is None else Table(self._document, position)

    def tables(self, field: int) -> Iterator[Table]:
        """A vector of tables, empty where the field is absent."""
        found = self._vector(field, 4)
        if found is None:
            return
        start, count = found
        for position in range(start, start + 4 * count, 4):
            yield Table(self._document, position + self._document.unsigned(position))

    def numbers(self, field: int, kind: str) -> tuple[int, ...]:
        """A vector of scalars, empty where the field is absent."""
        return self.numbers_or_none(field, kind) or ()

    def numbers_or_none(self, field: int, kind: str) -> tuple[int, ...] | None:
        """A vector of scalars, None where the field is absent."""
        found = self._vector(field, _WIDTHS[kind])
        if found is None:
            return None
        start, count = found
        return struct.unpack_from(f"<{count}{kind}", self._document.data, start)

    def floats(self, field: int) -> tuple[float, ...]:
        """A vector of 32-bit floating-point numbers, empty where the field is absent."""
        return self.numbers(field, "f")

    def span(self, field: int, width: int = 1) -> tuple[int, int] | None:
        """Where a vector of elements of ``width`` bytes lies in the file: position and size in bytes."""
        found = self._vector(field, width)
        return None if found is None else (found[0], found[1] * width)

    def text(self, field: int) -> str:
        """A string; what is not UTF-8 is replaced. Empty where the field is absent."""
        span = self.span(field)
        if span is None:
            return ""
        end = sum(span)
        self._document.check(end, 1)
        # LiteRT reads up to the zero byte.
        if self._document.data.find(b"\0", span[0], end + 1) != end:
            raise damaged("a name does not end where it says")
        return self._document.data[span[0] : end].decode(errors="replace")

    def each(self, field: int, read: Callable[[Table], _T]) -> list[_T]:
        """A vector of tables, each read by ``read``."""
        return [read(table) for table in self.tables(field)]

    def _vector(self, field: int, width: int) -> tuple[int, int] | None:
        """Position of the first element and number of elements."""
        position = self._follow(field)
        if position is None:
            return None
        self._document.check(position, 4)
        count = self._document.unsigned(position)
        self._document.check(position + 4, count * width)
        self._document.spend(4 + count * width)
        return position + 4, count

    def _follow(self, field: int) -> int | None:
        position = self._find(field, 4)
        return None if position is None else position + self._document.unsigned(position)

    def _find(self, field: int, width: int) -> int | None:
        offset = self._fields[field] if field < len(self._fields) else 0
        if offset == 0:
            return None
        if offset + width > self._size:
            raise damaged("a field lies outside its table")
        return self._position + offset
