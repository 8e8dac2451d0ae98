"""The structure of a JSON document: its brackets, braces, commas, colons and nothing else.

``{"inputs": [[1, 2], [3, 4]]}`` has the structure ``{:[[,],[,]]}``. A tensor's shape implies the structure its
nested lists must have, so one comparison of bytes proves that they are not ragged, whatever their size; the
flattening parser cannot tell. Only ``[1]`` and ``[]`` look the same and must be told apart by their length.
Taking the structure of a body runs at the speed of ``bytes.translate``; counting brackets, where they are few, at
that of ``bytes.find``, and proves as much when there are as many as the shape wants.

What must stay true: these functions are only given documents that a parser has accepted, and the structure is
exact for all of them, including strings that hold brackets, quotes and backslashes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

_REMOVED = bytes(byte for byte in range(256) if byte not in b'[]{},:"')
_BRACE = re.compile(rb"[{}]")


def structure_of(body: bytes) -> bytes:
    """The structure of a valid JSON document."""
    if b"\\" in body:
        # Runs of backslashes pair up from the left, so what is left of an odd run escapes the byte after it.
        body = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    kept = body.translate(None, _REMOVED).replace(b'""', b"")
    # What is between two quotes was in a string: every second piece. (Splitting is far faster than a pattern.)
    return b"".join(kept.split(b'"')[::2]) if b'"' in kept else kept


def has_at_most_lists(text: bytes, lists: int) -> bool:
    """Whether a valid JSON document, or a structure, holds at most ``lists`` opening brackets.

    Every list has one, so the document has no more lists than that; it may have fewer, since brackets in strings
    count too. The search for one byte runs many times faster than taking the structure, if there are few of them.
    """
    position = -1
    for _ in range(lists + 1):
        position = text.find(b"[", position + 1)
        if position < 0:
            return True
    return False


def structure_of_shape(shape: Sequence[int], leaf: bytes = b"") -> bytes:
    """The structure of nested lists of ``shape`` whose leaves have the structure ``leaf``."""
    structure = leaf
    for size in reversed(shape):
        structure = b"[" + (structure + b",") * (size - 1) + structure + b"]" if size else b"[]"
    return structure


def structure_of_value(value: Any) -> bytes:
    """The structure of a decoded value: dicts, lists and scalars. Recurses as deep as the value is nested."""
    if isinstance(value, dict):
        return structure_of_object([structure_of_value(member) for member in value.values()])
    if isinstance(value, list):
        return b"[" + b",".join([structure_of_value(element) for element in value]) + b"]"
    return b""


def structure_of_object(members: Sequence[bytes]) -> bytes:
    """The structure of an object whose values have the structures ``members``, in this order."""
    return b"{:" + b",:".join(members) + b"}" if members else b"{}"


def iter_objects(structure: bytes, start: int) -> Iterator[bytes]:
    """The structure of each object of a list of objects whose first element begins at ``start``."""
    depth = 0
    for brace in _BRACE.finditer(structure, start):
        if brace.group() == b"{":
            if depth == 0:
                start = brace.start()
            depth += 1
        else:
            depth -= 1
            if depth == 0:
                yield structure[start : brace.end()]
