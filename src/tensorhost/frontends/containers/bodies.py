"""Bodies that SageMaker's clients send, as TensorFlow Serving's REST API takes them. Pure.

What its TensorFlow container takes, this does: a request of TensorFlow Serving goes through as it is; any other JSON is
the instances, or one instance; JSON Lines have an instance a line, and so has CSV.
"""

from __future__ import annotations

import re

from tensorhost.codecs.csv_rows import csv_rows
from tensorhost.codecs.serving_json import instances_in_lines, instances_in_value
from tensorhost.core.errors import UnsupportedMediaTypeError

_JSON = frozenset({"", "application/json"})
_JSON_LINES = frozenset({"application/jsonlines", "application/jsons", "application/x-jsonlines"})
_CSV = "text/csv"
_OBJECT = re.compile(rb"(?:\xef\xbb\xbf)?\s*\{")
_LINE_END = re.compile(rb"[\r\n]")
_NAMED_INPUTS = re.compile(rb'"(?:instances|inputs|examples)"\s*:')


def serving_body(body: bytes, content_type: str, field: str) -> bytes:
    """The JSON object that asks what ``body`` asks.

    Args:
        body: as it came, decompressed.
        content_type: of the request, without parameters and in lower case; empty for none.
        field: what a list of instances is called: ``instances`` or ``examples``.

    Raises:
        UnsupportedMediaTypeError: neither JSON, JSON Lines nor CSV.
        InvalidRequestError: it is not what its type says.
    """
    if content_type in _JSON:
        return body if _is_request(body) else _named(field, instances_in_value(body))
    if content_type in _JSON_LINES:
        is_one = _LINE_END.search(body.strip()) is None
        return body if is_one and _is_request(body) else _named(field, instances_in_lines(body))
    if content_type == _CSV:
        return _named(field, csv_rows(body))
    raise UnsupportedMediaTypeError(
        f"The Content-Type must be application/json, application/jsonlines or text/csv, not {content_type[:64]}.",
        details={"actual": content_type[:64]},
    )


def _is_request(body: bytes) -> bool:
    """Whether ``body`` is an object of its own, with inputs under one of their names; it need be no JSON."""
    return _OBJECT.match(body) is not None and _NAMED_INPUTS.search(body) is not None


def _named(field: str, values: bytes) -> bytes:
    return b'{"%b":%b}' % (field.encode(), values)
