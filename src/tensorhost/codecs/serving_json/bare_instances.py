"""Instances without the object around them, as SageMaker's clients send them: a JSON value, or one on each line.

What must stay true: what becomes part of a document was JSON by itself, so that it stays the one value it was there.
"""

from __future__ import annotations

import io

from simdjson import Array as JsonArray
from simdjson import Object as JsonMembers
from simdjson import Parser

from tensorhost.codecs.json_faults import SECOND_LOOK_BYTES
from tensorhost.codecs.json_tokens import may_have_tokens, replace_tokens, stand_ins_for
from tensorhost.codecs.serving_json.document import BYTE_ORDER_MARK, REFUSALS, parse_value
from tensorhost.core.errors import InvalidRequestError


def instances_in_value(body: bytes) -> bytes:
    """The JSON list of the instances that ``body`` is: itself where it lists lists or objects, else it is the only one.

    Raises InvalidRequestError: it is no JSON.
    """
    text = body.removeprefix(BYTE_ORDER_MARK)
    value = parse_value(text)
    if isinstance(value, JsonArray) and len(value) and isinstance(value[0], JsonArray | JsonMembers):
        return text
    return b"[%b]" % text


def instances_in_lines(body: bytes) -> bytes:
    """The JSON list of the instances that ``body`` has, one on each line that is not blank.

    Raises InvalidRequestError: a line is no JSON; the message says which.
    """
    text = _with_line_feeds(body.removeprefix(BYTE_ORDER_MARK))
    readable = replace_tokens(text, stand_ins_for(text)) if may_have_tokens(text) else text
    parser = Parser()  # one for all lines: making it takes longer than a short line does
    instances = bytearray(b"[")
    # One by one: as a list, millions of short lines would take fifty times the memory that their text does.
    for number, (line, checked) in enumerate(zip(io.BytesIO(text), io.BytesIO(readable), strict=True), 1):
        instance = line.strip()
        if instance:
            try:
                parser.parse(checked)
            except REFUSALS:
                _look_again(checked, number, len(text))
            instances += b"%b," % instance
    instances[1 if len(instances) == 1 else -1 :] = b"]"
    return bytes(instances)


def _with_line_feeds(text: bytes) -> bytes:
    """``text`` with a line feed alone at the end of each line."""
    return text.replace(b"\r\n", b"\n").replace(b"\r", b"\n") if b"\r" in text else text


def _look_again(line: bytes, number: int, body_bytes: int) -> None:
    """Return where a line that the fast parser refuses is JSON, and its body is one of those that are mended."""
    try:
        parse_value(line)
    except InvalidRequestError as error:
        raise InvalidRequestError(f"Line {number}: {error.message}", details={"line": number}) from None
    if body_bytes > SECOND_LOOK_BYTES:
        raise InvalidRequestError(
            f"Line {number} has an integer beyond 64 bits; write it with a decimal point or an exponent.",
            details={"line": number},
        )
