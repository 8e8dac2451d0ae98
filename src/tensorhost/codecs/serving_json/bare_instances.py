"""Instances without the object around them, as SageMaker's clients send them: a JSON value, or one on each line.

What must stay true: what becomes part of a document was JSON by itself, so that it stays the one value it was there.
"""

from __future__ import annotations

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
    text = body.removeprefix(BYTE_ORDER_MARK)
    readable = replace_tokens(text, stand_ins_for(text)) if may_have_tokens(text) else text
    parser = Parser()  # one for all lines: making it takes longer than a short line does
    instances: list[bytes] = []
    for number, (line, checked) in enumerate(zip(text.splitlines(), readable.splitlines(), strict=True), 1):
        if line.strip():
            try:
                parser.parse(checked)
            except REFUSALS:
                _look_again(checked, number, len(text))
            instances.append(line)
    return b"[%b]" % b",".join(instances)


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
