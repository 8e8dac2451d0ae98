"""The body of a request as TensorFlow Serving reads it: JSON, and besides ``NaN``, ``Infinity`` and ``-Infinity``.

What must stay true: bodies without such tokens pay nothing for them.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any

import orjson
from simdjson import Array as JsonArray
from simdjson import Object as JsonMembers
from simdjson import Parser

from tensorhost.codecs.json_document import JsonObject, minified
from tensorhost.codecs.json_faults import SECOND_LOOK_BYTES, widen_integers
from tensorhost.codecs.json_tokens import StandIns, may_have_tokens, replace_tokens, stand_ins_for
from tensorhost.codecs.serving_json.faults import EMPTY, find_fault
from tensorhost.core.errors import InvalidRequestError

MAX_EXCERPT = 256
"""Most bytes of a value that a message repeats."""

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_PROXIES = (JsonMembers, JsonArray)
REFUSALS = (ValueError, RuntimeError)
"""What the fast parser raises."""


@dataclass(slots=True)
class ServingDocument:
    """A parsed body. ``members`` hold its fields; ``stand_ins`` is None where it has no token to stand for."""

    members: JsonObject
    stand_ins: StandIns | None

    def excerpt(self, value: Any = None) -> str:
        """The beginning of ``value``, a part of the document, as JSON; of all of it for None."""
        if value is None:
            value = self.members.proxy
        text = minified(value) if isinstance(value, _PROXIES) else orjson.dumps(value)
        shown = text[:MAX_EXCERPT].decode("utf-8", "ignore")
        return shown if self.stand_ins is None else self.stand_ins.restored(shown)


def parse_document(body: bytes, *, max_depth: int) -> ServingDocument:
    """Parse a request body.

    Args:
        body: UTF-8 JSON text whose top level is an object; anything behind it is refused.
        max_depth: deepest nesting that decoding follows.

    Raises:
        InvalidRequestError: ``JSON Parse error: …`` with RapidJSON's words and offset, or another fault.
    """
    body = body.removeprefix(BYTE_ORDER_MARK)
    stand_ins: StandIns | None = None
    try:
        members = Parser().parse(body)
    except REFUSALS as error:
        body, members, stand_ins = _read_again(body, str(error))
    return _document(body, members, stand_ins, max_depth)


def parse_value(body: bytes) -> Any:
    """The one JSON value that ``body`` is, as the parser holds it. Raises as ``parse_document``, for any value."""
    try:
        return Parser().parse(body)
    except REFUSALS as error:
        return _read_again(body, str(error))[1]


def parse_at_once(body: bytes, *, max_depth: int) -> ServingDocument | None:
    """``parse_document``, but None for a body that takes a second look: half a millisecond for each kilobyte."""
    body = body.removeprefix(BYTE_ORDER_MARK)
    try:
        members = Parser().parse(body)
    except REFUSALS:
        return None
    return _document(body, members, None, max_depth)


def _document(body: bytes, members: Any, stand_ins: StandIns | None, max_depth: int) -> ServingDocument:
    if not isinstance(members, JsonMembers):
        shown = body[:MAX_EXCERPT].decode("utf-8", "ignore")
        if stand_ins is not None:
            shown = stand_ins.restored(shown).strip()
        raise InvalidRequestError(f"JSON Value: {shown} Is not object")
    return ServingDocument(JsonObject(members, body, max_depth=max_depth), stand_ins)


def _read_again(body: bytes, parser_message: str) -> tuple[bytes, Any, StandIns | None]:
    """A refused body in a form that the fast parser takes, and what it makes of it; raises where it is none."""
    stand_ins: StandIns | None = None
    readable = body
    if may_have_tokens(body):
        stand_ins = stand_ins_for(body)
        readable = replace_tokens(body, stand_ins)
        with contextlib.suppress(*REFUSALS):
            return readable, Parser().parse(readable), stand_ins
    widened = widen_integers(readable)
    if widened is None:
        raise _fault(body, parser_message)
    return widened, Parser().parse(widened), stand_ins


def _fault(body: bytes, parser_message: str) -> InvalidRequestError:
    if not body.strip():
        return InvalidRequestError(f"JSON Parse error: {EMPTY}")
    if "DEPTH_ERROR" in parser_message:
        return InvalidRequestError("JSON Parse error: The document is nested too deeply.")
    found = find_fault(body) if len(body) <= SECOND_LOOK_BYTES else None
    if found is None:
        return InvalidRequestError("JSON Parse error: Unspecific syntax error.")
    return InvalidRequestError(f"JSON Parse error: {found[0]} at offset: {found[1]}")
