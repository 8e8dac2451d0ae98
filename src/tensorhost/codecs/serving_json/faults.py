"""What is wrong with a body that is not JSON, in RapidJSON's words and with its offset, as TensorFlow Serving says it.

The fast parser does not know where; this one looks at the text once more, without recursion and without building
values, and only as far as the fault.
"""

from __future__ import annotations

import math
import re

_SPACE = re.compile(rb"[ \t\n\r]*")
_STRING_PART = re.compile(rb"[^\"\\\x00-\x1f]*")
_HEX = re.compile(rb"[0-9a-fA-F]{0,4}")
_NUMBER = re.compile(
    rb"-?(?:(?P<finite>(?:0|[1-9][0-9]*)(?P<fraction>\.[0-9]*)?(?P<exponent>[eE][+-]?[0-9]*)?)|Inf(?:inity)?|NaN)"
)
_WORDS = {b"n": b"null", b"t": b"true", b"f": b"false"}
_ESCAPES = b'"\\/bfnrt'

EMPTY = "The document is empty"
_SEVERAL_ROOTS = "The document root must not be followed by other values."
_INVALID = "Invalid value."
_NO_NAME = "Missing a name for object member."
_NO_COLON = "Missing a colon after a name of object member."
_NO_COMMA_IN_OBJECT = "Missing a comma or } after an object member."
_NO_COMMA_IN_LIST = "Missing a comma or ] after an array element."
_BAD_HEX = "Incorrect hex digit after \\u escape in string."
_BAD_SURROGATE = "The surrogate pair in string is invalid."
_BAD_ESCAPE = "Invalid escape character in string."
_OPEN_STRING = "Missing a closing quotation mark in string."
_BAD_ENCODING = "Invalid encoding in string."
_TOO_BIG = "Number too big to be stored in double."
_NO_FRACTION = "Miss fraction part in number."
_NO_EXPONENT = "Miss exponent in number."


class _FaultError(Exception):
    """Where the text stops being JSON."""

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message)
        self.message = message
        self.offset = offset


def find_fault(text: bytes) -> tuple[str, int] | None:
    """The first fault's description and offset in bytes; None for a document, and for what only we refuse in one."""
    try:
        end = _skip_document(text, _skip_space(text, 0))
    except _FaultError as fault:
        return fault.message, fault.offset
    return None if end == len(text) else (_SEVERAL_ROOTS, end)


def _skip_document(text: bytes, at: int) -> int:
    """The offset behind one value and the space after it."""
    if at == len(text):
        raise _FaultError(EMPTY + ".", at)
    closers: list[bytes] = []
    while True:
        opener = text[at : at + 1]
        if opener in (b"{", b"["):
            closer = b"}" if opener == b"{" else b"]"
            at = _skip_space(text, at + 1)
            if text[at : at + 1] != closer:
                closers.append(closer)
                at = _skip_name(text, at) if closer == b"}" else at
                continue
            at += 1
        else:
            at = _skip_scalar(text, at)
        at = _skip_space(text, at)
        while closers and text[at : at + 1] == closers[-1]:
            closers.pop()
            at = _skip_space(text, at + 1)
        if not closers:
            return at
        if text[at : at + 1] != b",":
            raise _FaultError(_NO_COMMA_IN_OBJECT if closers[-1] == b"}" else _NO_COMMA_IN_LIST, at)
        at = _skip_space(text, at + 1)
        at = _skip_name(text, at) if closers[-1] == b"}" else at


def _skip_space(text: bytes, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at


def _skip_name(text: bytes, at: int) -> int:
    """Behind a member's name and its colon, where its value begins."""
    if text[at : at + 1] != b'"':
        raise _FaultError(_NO_NAME, at)
    at = _skip_space(text, _skip_string(text, at))
    if text[at : at + 1] != b":":
        raise _FaultError(_NO_COLON, at)
    return _skip_space(text, at + 1)


def _skip_scalar(text: bytes, at: int) -> int:
    first = text[at : at + 1]
    if first == b'"':
        return _skip_string(text, at)
    word = _WORDS.get(first)
    if word is None:
        return _skip_number(text, at)
    for index, letter in enumerate(word):
        if text[at + index : at + index + 1] != bytes((letter,)):
            raise _FaultError(_INVALID, at + index)
    return at + len(word)


def _skip_number(text: bytes, at: int) -> int:
    match = _NUMBER.match(text, at)
    if match is None:
        raise _FaultError(_INVALID, at + text.startswith(b"-", at))
    if match["fraction"] == b".":
        raise _FaultError(_NO_FRACTION, match.end("fraction"))
    if match["exponent"] is not None and not match["exponent"][-1:].isdigit():
        raise _FaultError(_NO_EXPONENT, match.end())
    if match["finite"] is not None and math.isinf(float(match["finite"])):
        raise _FaultError(_TOO_BIG, at)
    return match.end()


def _skip_string(text: bytes, start: int) -> int:
    at = start + 1
    while True:
        part = _STRING_PART.match(text, at)
        end = part.end() if part else at
        try:
            text[at:end].decode("utf-8")
        except UnicodeDecodeError as error:
            raise _FaultError(_BAD_ENCODING, at + error.start) from None
        at = end
        stop = text[at : at + 1]
        if stop == b'"':
            return at + 1
        if stop == b"\\":
            at = _skip_escape(text, at)
        else:
            raise _FaultError(_BAD_ENCODING if stop not in (b"", b"\0") else _OPEN_STRING, at if stop else start)


def _skip_escape(text: bytes, at: int) -> int:
    letter = text[at + 1 : at + 2]
    if letter == b"u":
        code = _hex(text, at)
        if 0xD800 <= code <= 0xDFFF:
            # The second half must follow.
            if code >= 0xDC00 or text[at + 6 : at + 8] != b"\\u" or not 0xDC00 <= _hex(text, at + 6) <= 0xDFFF:
                raise _FaultError(_BAD_SURROGATE, at)
            return at + 12
        return at + 6
    if not letter or letter not in _ESCAPES:
        raise _FaultError(_BAD_ESCAPE, at)
    return at + 2


def _hex(text: bytes, at: int) -> int:
    match = _HEX.match(text, at + 2)
    digits = match[0] if match else b""
    if len(digits) < 4:
        raise _FaultError(_BAD_HEX, at)
    return int(digits, 16)
