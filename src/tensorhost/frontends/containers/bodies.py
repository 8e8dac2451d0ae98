"""Bodies that SageMaker's clients send, as TensorFlow Serving's REST API takes them. Pure.

JSON that is an object goes through as it is. A list is the instances, or one instance where its elements are no lists
or objects; JSON Lines have an instance a line, and so has CSV.
"""

from __future__ import annotations

import csv
import io
import json
import re

from tensorhost.core.errors import InvalidRequestError, UnsupportedMediaTypeError

_JSON = frozenset({"", "application/json"})
_JSON_LINES = frozenset({"application/jsonlines", "application/jsons", "application/x-jsonlines"})
_CSV = "text/csv"
_NESTED = re.compile(rb"\s*\[\s*[\[{]")
_LIST = re.compile(rb"\s*\[")
_WHOLE = re.compile(r"\s*-?[0-9]{1,18}\s*", re.ASCII)


def serving_body(body: bytes, content_type: str, field: str) -> bytes:
    """The JSON object that asks what ``body`` asks.

    Args:
        body: as it came, decompressed.
        content_type: of the request, without parameters and in lower case; empty for none.
        field: what a list of instances is called: ``instances`` or ``examples``.

    Raises:
        UnsupportedMediaTypeError: neither JSON, JSON Lines nor CSV.
        InvalidRequestError: CSV that is none.
    """
    if content_type in _JSON:
        if _LIST.match(body) is None:
            return body
        return _named(field, body if _NESTED.match(body) else b"[%b]" % body)
    if content_type in _JSON_LINES:
        return _named(field, b"[%b]" % b",".join(line for line in body.splitlines() if line.strip()))
    if content_type == _CSV:
        return _named(field, json.dumps(_rows(body)).encode())
    raise UnsupportedMediaTypeError(
        f"The Content-Type must be application/json, application/jsonlines or text/csv, not {content_type[:64]}.",
        details={"actual": content_type[:64]},
    )


def _named(field: str, values: bytes) -> bytes:
    return b'{"%b":%b}' % (field.encode(), values)


def _rows(body: bytes) -> list[list[int | float | str]]:
    try:
        text = body.decode("utf-8-sig")
        return [_values(row) for row in csv.reader(io.StringIO(text, newline=""), strict=True) if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise InvalidRequestError(f"The body is not valid CSV: {error}.") from error


def _values(row: list[str]) -> list[int | float | str]:
    """Numbers where all of a row are, else its texts."""
    if all(map(_WHOLE.fullmatch, row)):
        return list(map(int, row))
    try:
        return list(map(float, row))
    except ValueError:
        return list(row)
