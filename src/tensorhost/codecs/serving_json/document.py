"""The body of a request as TensorFlow Serving reads it: JSON, and besides ``NaN``, ``Infinity`` and ``-Infinity``.

The fast parser knows no such tokens. Where there are any, numbers that occur nowhere else stand for them, and are
exchanged for what they stand for in the arrays. They are made from a digest of the body, so nobody can aim at them.

What must stay true: bodies without such tokens pay nothing for them.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from math import inf, nan
from typing import Any

import numpy as np
import orjson
from simdjson import Array as JsonArray
from simdjson import Object as JsonMembers
from simdjson import Parser

from tensorhost.codecs.json_document import JsonObject, minified
from tensorhost.codecs.json_faults import SECOND_LOOK_BYTES, widen_integers
from tensorhost.codecs.serving_json.faults import EMPTY, find_fault
from tensorhost.core.errors import InvalidRequestError
from tensorhost.core.tensors import Array

MAX_EXCERPT = 256
"""Most bytes of a value that a message repeats."""

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
# Nothing is ever given back, so an unclosed string full of quotes is looked at once, not from each of its quotes.
_NONE_IN_STRINGS = re.compile(rb'(?:[^"]++|"(?:[^"\\NI]++|\\.|N(?!aN)|I(?!nf))*+")*+', re.DOTALL)
_STRINGS_AND_TOKENS = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|(-?(?:NaN|Inf(?:inity)?))', re.DOTALL)
_TOKENS = {
    b"-Infinity": "-Infinity",
    b"Infinity": "Infinity",
    b"-Inf": "-Infinity",
    b"Inf": "Infinity",
    b"-NaN": "NaN",
    b"NaN": "NaN",
}
"""What each token means; one that begins as another does comes before it."""
_NUMBERS = re.compile(r"-?[0-9][0-9.eE+-]*")
_NAMES: Mapping[str, float] = {"NaN": nan, "Infinity": inf, "-Infinity": -inf}
_PROXIES = (JsonMembers, JsonArray)
_REFUSALS = (ValueError, RuntimeError)
"""What the fast parser raises."""


@dataclass(frozen=True, slots=True)
class StandIns:
    """Numbers that stand for what JSON has no number for, by its name; and what they are written as."""

    numbers: Mapping[str, float]
    texts: Mapping[str, str]

    def replaced(self, array: Array) -> Array:
        """Doubles in which each stand-in is what it stands for; the array itself where there is none."""
        for name, number in self.numbers.items():
            places = array == number
            if places.any():
                array = np.where(places, _NAMES[name], array)
        return array

    def value_of(self, number: float) -> float:
        """What ``number`` stands for; itself if it stands for nothing."""
        return next((_NAMES[name] for name, stand_in in self.numbers.items() if stand_in == number), number)

    def restored(self, text: str) -> str:
        """JSON text in which each stand-in is its name again."""
        names = {number: name for name, number in self.numbers.items()}

        def name_of(match: re.Match[str]) -> str:
            try:
                return names.get(float(match[0]), match[0])
            except ValueError:
                return match[0]

        return _NUMBERS.sub(name_of, text)


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
    body = body.removeprefix(_BYTE_ORDER_MARK)
    stand_ins: StandIns | None = None
    try:
        members = Parser().parse(body)
    except _REFUSALS as error:
        body, members, stand_ins = _read_again(body, str(error))
    return _document(body, members, stand_ins, max_depth)


def parse_at_once(body: bytes, *, max_depth: int) -> ServingDocument | None:
    """``parse_document``, but None for a body that takes a second look: half a millisecond for each kilobyte."""
    body = body.removeprefix(_BYTE_ORDER_MARK)
    try:
        members = Parser().parse(body)
    except _REFUSALS:
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
    if b"NaN" in body or b"Inf" in body:
        stand_ins = _stand_ins(body)
        readable = _replace_tokens(body, stand_ins)
        with contextlib.suppress(*_REFUSALS):
            return readable, Parser().parse(readable), stand_ins
    widened = widen_integers(readable)
    if widened is None:
        raise _fault(body, parser_message)
    return widened, Parser().parse(widened), stand_ins


def _stand_ins(body: bytes) -> StandIns:
    digest = blake2b(body, digest_size=24).digest()
    # Fractions far below anything a client computes with, of which the digest chooses among 2^29 each, written briefly:
    # there may be millions of them.
    numbers = (int.from_bytes(digest[at : at + 8], "little") % 2**29 + 10**8 for at in (0, 8, 16))
    texts = [f"{number}e-{exponent}" for number, exponent in zip(numbers, (295, 296, 297), strict=True)]
    return StandIns(
        {name: float(text) for name, text in zip(_NAMES, texts, strict=True)}, dict(zip(_NAMES, texts, strict=True))
    )


def _replace_tokens(body: bytes, stand_ins: StandIns) -> bytes:
    # The spaces keep what is no number from becoming one, such as 1NaN.
    texts = {token: f" {stand_ins.texts[name]} ".encode() for token, name in _TOKENS.items()}
    if _NONE_IN_STRINGS.fullmatch(body):
        for token, text in texts.items():
            body = body.replace(token, text)
        return body
    replaced = bytearray()
    kept_to = 0
    for match in _STRINGS_AND_TOKENS.finditer(body):
        token = match[1]
        if token is not None:
            replaced += body[kept_to : match.start()]
            replaced += texts[token]
            kept_to = match.end()
    return bytes(replaced + body[kept_to:])


def _fault(body: bytes, parser_message: str) -> InvalidRequestError:
    if not body.strip():
        return InvalidRequestError(f"JSON Parse error: {EMPTY}")
    if "DEPTH_ERROR" in parser_message:
        return InvalidRequestError("JSON Parse error: The document is nested too deeply.")
    found = find_fault(body) if len(body) <= SECOND_LOOK_BYTES else None
    if found is None:
        return InvalidRequestError("JSON Parse error: Unspecific syntax error.")
    return InvalidRequestError(f"JSON Parse error: {found[0]} at offset: {found[1]}")
