"""CSV to a JSON list with a value for each row. Numbers keep every digit: they are never read as such here."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence

import orjson

from tensorhost.core.errors import InvalidRequestError

_NUMBER = r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?"
_JSON_NUMBERS = re.compile(rf"{_NUMBER}(?:,{_NUMBER})*", re.ASCII)
_LOOSE_NUMBER = re.compile(
    r"(?:\+|(?P<minus>-))?(?=\.?[0-9])(?P<whole>[0-9]*)(?:\.(?P<fraction>[0-9]*))?(?:[eE](?P<exponent>[+-]?[0-9]+))?",
    re.ASCII,
)
_NAMED_NUMBER = re.compile(r"(?:\+|(?P<minus>-))?(?:(?P<nan>nan)|inf(?:inity)?)", re.ASCII | re.IGNORECASE)
_SPACES = " \t\r\n"


def csv_rows(body: bytes) -> bytes:
    """The rows of ``body`` as a JSON list: a row of several columns is a list, one of a single column its bare value.

    Values are numbers where all of the body's are, ``nan`` and ``inf`` among them (as ``NaN`` and ``Infinity``), else
    texts. Blank lines, and spaces in front of a value or around a number, do not count. There is no header.

    Raises InvalidRequestError: it is no UTF-8 or no CSV, or rows differ in length.
    """
    try:
        rows = list(_rows(body.decode("utf-8-sig")))
    except (UnicodeDecodeError, csv.Error) as error:
        raise InvalidRequestError(f"The body is not valid CSV: {error}.") from error
    if not rows:
        return b"[]"
    is_single = len(rows[0]) == 1
    numbers = _numbers(rows)
    if numbers is not None:
        return f"[{','.join(numbers if is_single else [f'[{row}]' for row in numbers])}]".encode()
    return orjson.dumps([row[0] for row in rows] if is_single else rows)


class _Lines:
    """The lines of a text without the blank ones between rows; those within a quoted value are part of it.

    Attributes:
        number: of the line handed out last, from 1.
        between_rows: whether the next line begins a row; whoever reads rows says so.
    """

    def __init__(self, text: str) -> None:
        self._lines = io.StringIO(text, newline="")
        self.number = 0
        self.between_rows = True

    def __iter__(self) -> Iterator[str]:
        for line in self._lines:
            self.number += 1
            if not self.between_rows or line.strip(_SPACES):
                self.between_rows = False
                yield line


def _rows(text: str) -> Iterator[list[str]]:
    lines = _Lines(text)
    width: int | None = None
    for row in csv.reader(lines, strict=True, skipinitialspace=True):
        lines.between_rows = True
        width = width or len(row)
        if len(row) != width:
            raise InvalidRequestError(
                f"The rows of the CSV differ: one of {len(row)} values ends in line {lines.number}, those before it "
                f"have {width}.",
                details={"expected": width, "actual": len(row)},
            )
        yield row


def _numbers(rows: Sequence[Sequence[str]]) -> list[str] | None:
    """The values of each row as JSON numbers between commas; None where one is no number."""
    found: list[str] = []
    for row in rows:
        joined = ",".join(row)
        if joined.count(",") != len(row) - 1 or not _JSON_NUMBERS.fullmatch(joined):
            numbers = [_number(value) for value in row]
            if None in numbers:
                return None
            joined = ",".join(filter(None, numbers))
        found.append(joined)
    return found


def _number(value: str) -> str | None:
    """``value`` as JSON writes it, with NaN and infinities by name; None where it is no number."""
    text = value.strip(_SPACES)
    named = _NAMED_NUMBER.fullmatch(text)
    if named is not None:
        return "NaN" if named["nan"] else f"{named['minus'] or ''}Infinity"
    match = _LOOSE_NUMBER.fullmatch(text)
    if match is None:
        return None
    minus, whole, fraction, exponent = match.groups("")
    number = minus + (whole.lstrip("0") or "0")
    return number + (f".{fraction}" if fraction else "") + (f"e{exponent}" if exponent else "")
