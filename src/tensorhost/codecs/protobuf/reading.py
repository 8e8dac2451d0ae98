"""Messages from bytes and from text. What comes in is hostile until it has been read: every failure is the client's."""

from __future__ import annotations

import re
from typing import Any

from google.protobuf import text_format
from google.protobuf.message import DecodeError, Message

from tensorhost.codecs.protobuf.pool import POOL, message_class
from tensorhost.core.errors import InvalidRequestError

_PLACE = re.compile(r"\A\d+:\d+ : ")
_UNKNOWN_TYPE = re.compile(r"\AType (\S+) not found")


def decode(kind: str | type[Message], data: bytes, called: str = "") -> Any:
    """A message from its bytes.

    Args:
        kind: the class, or the full name of the message.
        data: the wire form. Unknown fields are kept.
        called: what the client calls the message, where ``kind`` has a name of ours.

    Raises:
        InvalidRequestError: the bytes are truncated, or no such message.
    """
    wanted = message_class(kind) if isinstance(kind, str) else kind
    try:
        return wanted.FromString(data)
    except DecodeError:
        name = called or wanted.DESCRIPTOR.full_name.removeprefix("tensorhost.wire.")
        raise InvalidRequestError(f"These bytes are not a message {name}.") from None


def parse_text(full_name: str, text: str, source: str) -> Any:
    """A message from protobuf's text format.

    Args:
        full_name: the message's.
        text: with comments, ``,`` or ``;`` after fields, ``:`` before ``{``, ``< >`` for ``{ }`` and
            ``[type.googleapis.com/NAME] { }`` in an Any, as the format allows.
        source: where the text comes from, as the error names it for programs.

    Raises:
        InvalidRequestError: its message begins ``Error parsing text-format NAME: LINE:COLUMN:``, counted from 1.
    """
    message = message_class(full_name)()
    try:
        text_format.Parse(text, message, descriptor_pool=POOL)
    except text_format.ParseError as error:
        reason = _PLACE.sub("", str(error))
        line, column = error.GetLine(), error.GetColumn()
        if line is None or column is None:
            line, column = _place_of_type(text, reason)
    except RecursionError:
        line = column = 1
        reason = "Nested too deeply."
    else:
        return message
    raise InvalidRequestError(
        f"Error parsing text-format {full_name}: {line}:{column}: {reason}",
        details={"source": source, "line": line, "column": column},
    ) from None


def _place_of_type(text: str, reason: str) -> tuple[int, int]:
    """Where the unknown type of an Any is named: the one fault that comes without its place."""
    unknown = _UNKNOWN_TYPE.match(reason)
    before = text[: max(text.find(unknown[1]), 0)] if unknown else ""
    return before.count("\n") + 1, len(before) - before.rfind("\n")
