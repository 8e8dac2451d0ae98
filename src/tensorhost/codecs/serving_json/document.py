"""The body of a request as TensorFlow Serving reads it: JSON, and besides ``NaN``, ``Infinity`` and ``-Infinity``.

The fast parser knows no such tokens. Where there are any, numbers that occur nowhere else stand for them, and are
exchanged for what they stand for in the arrays. They are made from a digest of the body, so nobody can aim at them.

What must stay true: bodies without such tokens pay nothing for them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from math import inf, ldexp, nan
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
# A string that is not closed ends the search: looking for its end from each of its quotes would cost the square.
_TOKENS = re.compile(rb'"(?:[^"\\]|\\.)*+"?|(-?)(NaN|Inf(?:inity)?)\b', re.DOTALL)
_NUMBERS = re.compile(r"-?[0-9][0-9.eE+-]*")
_NAMES: Mapping[str, float] = {"NaN": nan, "Infinity": inf, "-Infinity": -inf}
_PROXIES = (JsonMembers, JsonArray)


@dataclass(frozen=True, slots=True)
class StandIns:
    """Numbers that stand for what JSON has no number for, by its name."""

    numbers: Mapping[str, float]

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
    except (ValueError, RuntimeError) as error:
        body, stand_ins = _readable(body, str(error))
        members = Parser().parse(body)
    if not isinstance(members, JsonMembers):
        shown = body[:MAX_EXCERPT].decode("utf-8", "ignore")
        raise InvalidRequestError(f"JSON Value: {shown} Is not object")
    return ServingDocument(JsonObject(members, body, max_depth=max_depth), stand_ins)


def _readable(body: bytes, parser_message: str) -> tuple[bytes, StandIns | None]:
    """The same document as the fast parser takes it; raises where it is none."""
    if b"NaN" in body or b"Inf" in body:
        stand_ins = _stand_ins(body)
        replaced = _replace_tokens(body, stand_ins)
        if replaced != body:
            for candidate in (replaced, widen_integers(replaced)):
                if candidate is not None and _is_document(candidate):
                    return candidate, stand_ins
    widened = widen_integers(body)
    if widened is None:
        raise _fault(body, parser_message)
    return widened, None


def _is_document(body: bytes) -> bool:
    try:
        Parser().parse(body)
    except (ValueError, RuntimeError):
        return False
    return True


def _stand_ins(body: bytes) -> StandIns:
    digest = blake2b(body, digest_size=24).digest()
    # Fractions far below anything a client computes with, of which the digest chooses among 2^48 each.
    numbers = [ldexp(1 + int.from_bytes(digest[at : at + 6], "little") / 2**48, -900 - at) for at in (0, 6, 12)]
    return StandIns(dict(zip(_NAMES, numbers, strict=True)))


def _replace_tokens(body: bytes, stand_ins: StandIns) -> bytes:
    numbers = {name: repr(number).encode() for name, number in stand_ins.numbers.items()}

    def replacement(match: re.Match[bytes]) -> bytes:
        token = match[2]
        if token is None:
            return match[0]  # a string
        if token == b"NaN":
            return numbers["NaN"]
        return numbers["-Infinity" if match[1] else "Infinity"]

    return _TOKENS.sub(replacement, body)


def _fault(body: bytes, parser_message: str) -> InvalidRequestError:
    if not body.strip():
        return InvalidRequestError(f"JSON Parse error: {EMPTY}")
    if "DEPTH_ERROR" in parser_message:
        return InvalidRequestError("JSON Parse error: The document is nested too deeply.")
    found = find_fault(body) if len(body) <= SECOND_LOOK_BYTES else None
    if found is None:
        return InvalidRequestError("JSON Parse error: Unspecific syntax error.")
    return InvalidRequestError(f"JSON Parse error: {found[0]} at offset: {found[1]}")
