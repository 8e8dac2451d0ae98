"""What is wrong with a body the fast parser refused: the sentence for the client, with line and column.

The fast parser says little, so a body of moderate size is parsed again by one that knows the position. Larger
bodies are not, because that parser builds Python objects: the sentence is then less exact.
"""

from __future__ import annotations

import orjson

from tensorhost.codecs.json_structure import structure_of
from tensorhost.core.errors import InvalidRequestError

SECOND_LOOK_BYTES = 2**20
_NON_FINITE = (b"NaN", b"Infinity", b"-Infinity", b"nan", b"inf", b"-inf")
_WIDEST_NON_FINITE = 9


def explain_fault(body: bytes, parser_message: str) -> InvalidRequestError:
    """The error for a ``body`` that is not valid JSON.

    Args:
        body: what came.
        parser_message: the fast parser's message; its first word is a stable error name.
    """
    if not body.strip():
        return InvalidRequestError("The body is empty; a JSON object was expected.")
    try:
        body.decode("utf-8")
    except UnicodeDecodeError as error:
        return InvalidRequestError(
            f"The body is not valid UTF-8: byte {error.start} cannot be decoded.", details={"byte": error.start}
        )
    if "DEPTH_ERROR" in parser_message:
        return InvalidRequestError("The JSON body is nested too deeply.")
    if len(body) <= SECOND_LOOK_BYTES:
        try:
            orjson.loads(body)
        except orjson.JSONDecodeError as error:
            return _located_fault(body, error)
    return InvalidRequestError(f"The body is not valid JSON: {_reason(parser_message)}.")


def widen_integers(body: bytes) -> bytes | None:
    """The same document with integers beyond 64 bits written as floating-point numbers.

    JavaScript writes 1e20 as 100000000000000000000, which the fast parser refuses. Returns None where that was
    not the fault, where the body is too large for a second look, or where members with equal names would be lost.
    """
    if len(body) > SECOND_LOOK_BYTES:
        return None
    try:
        widened = orjson.dumps(orjson.loads(body))
    except (orjson.JSONEncodeError, orjson.JSONDecodeError):
        return None
    return widened if structure_of(widened) == structure_of(body) else None


def _located_fault(body: bytes, error: orjson.JSONDecodeError) -> InvalidRequestError:
    where = f"line {error.lineno}, column {error.colno}"
    details = {"line": error.lineno, "column": error.colno}
    # The position may stand behind a minus sign, and counts characters where the body holds bytes.
    position = len(error.doc[: error.pos].encode("utf-8")) if isinstance(error.doc, str) else error.pos
    for start in (position, max(position - 1, 0)):
        if body[start : start + _WIDEST_NON_FINITE].startswith(_NON_FINITE):
            message = f"The body is not valid JSON: NaN and Infinity are not JSON numbers ({where})."
            return InvalidRequestError(message, details=details)
    return InvalidRequestError(f"The body is not valid JSON: {error.msg} ({where}).", details=details)


def _reason(parser_message: str) -> str:
    reasons = {
        "NUMBER_ERROR": "a number is malformed or out of range",
        "BIGINT_ERROR": "an integer is beyond 64 bits; write it with a decimal point or an exponent",
        "STRING_ERROR": "a string holds an invalid escape",
        "UNESCAPED_CHARS": "a string holds a control character that must be escaped",
        "UNCLOSED_STRING": "a string is not closed",
        "CAPACITY": "it is too large",
    }
    name = parser_message.partition(":")[0]
    return reasons.get(name, "brackets, commas, colons or names are missing, misplaced or superfluous")
