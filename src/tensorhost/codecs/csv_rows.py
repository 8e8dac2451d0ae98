"""CSV to a JSON list with a value for each row. Numbers keep every digit: they are never read as such here."""

from __future__ import annotations

import contextlib
import csv
import io
import re
from collections.abc import Callable, Iterator

import orjson

from tensorhost.core.errors import InvalidRequestError

# Nothing is ever given back: what would be needed for that takes hundreds of bytes for each number.
_NUMBER = r"-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?+(?:[eE][+-]?[0-9]++)?+"
_JSON_NUMBERS = re.compile(rf"{_NUMBER}(?:,{_NUMBER})*+", re.ASCII)
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
        text = body.decode("utf-8-sig")
        with contextlib.suppress(ValueError):
            return _listed(text, _numbers)
        return _listed(text, _texts)
    except (UnicodeDecodeError, csv.Error) as error:
        raise InvalidRequestError(f"The body is not valid CSV: {error}.") from error


def _listed(text: str, write: Callable[[list[str]], bytes]) -> bytes:
    """The rows of ``text``, each as ``write`` has it, as a JSON list.

    One row is held at a time: millions of short ones would take fifty times the memory that their text does.
    """
    listed = bytearray(b"[")
    for row in _rows(text):
        written = write(row)
        listed += b"%b," % written if len(row) == 1 else b"[%b]," % written
    listed[1 if len(listed) == 1 else -1 :] = b"]"
    return bytes(listed)


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


def _texts(row: list[str]) -> bytes:
    """The values of a row as JSON strings between commas."""
    return orjson.dumps(row)[1:-1]


def _numbers(row: list[str]) -> bytes:
    """The values of a row as JSON numbers between commas. Raises ValueError where one is no number."""
    joined = ",".join(row)
    if joined.count(",") == len(row) - 1 and _JSON_NUMBERS.fullmatch(joined):
        return joined.encode()
    return ",".join(map(_number, row)).encode()


def _number(value: str) -> str:
    """``value`` as JSON writes it, with NaN and infinities by name. Raises ValueError where it is no number."""
    text = value.strip(_SPACES)
    named = _NAMED_NUMBER.fullmatch(text)
    if named is not None:
        return "NaN" if named["nan"] else f"{named['minus'] or ''}Infinity"
    match = _LOOSE_NUMBER.fullmatch(text)
    if match is None:
        raise ValueError("no number")
    minus, whole, fraction, exponent = match.groups("")
    number = minus + (whole.lstrip("0") or "0")
    return number + (f".{fraction}" if fraction else "") + (f"e{exponent}" if exponent else "")
