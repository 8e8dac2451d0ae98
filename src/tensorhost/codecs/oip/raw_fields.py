"""The raw contents of a ModelInferRequest as views of its bytes; protobuf would copy each twice."""

from __future__ import annotations

from tensorhost.codecs.tensor_forms import Octets

_RAW_INPUT_CONTENTS = 7
_VARINT, _FIXED64, _DELIMITED, _FIXED32 = 0, 1, 2, 5
_MOST_FIELDS = 4096
"""So many are looked at one by one; a message of more is left to protobuf."""


def split_raw_inputs(data: bytes) -> tuple[bytes, list[Octets]]:
    """A ModelInferRequest without its ``raw_input_contents``, and those, in order, as views of ``data``.

    A message that is none, or has very many fields, comes back as it is: protobuf will say what is wrong with it.
    """
    view = memoryview(data)
    rest: list[Octets] = []
    raw: list[Octets] = []
    position = kept_from = 0
    try:
        for _ in range(_MOST_FIELDS):
            if position == len(data):
                rest.append(view[kept_from:])
                return (b"".join(rest), raw) if raw else (data, [])
            key, body = _varint(data, position)
            end = _end_of(data, key & 7, body)
            if key == (_RAW_INPUT_CONTENTS << 3 | _DELIMITED):
                start = _varint(data, body)[1]
                raw.append(view[start:end])
                rest.append(view[kept_from:position])
                kept_from = end
            position = end
    except (IndexError, ValueError):
        pass
    return data, []


def _end_of(data: bytes, wire_type: int, position: int) -> int:
    """Where the value that begins at ``position`` ends; raises IndexError, ValueError where it does not."""
    if wire_type == _VARINT:
        return _varint(data, position)[1]
    if wire_type == _DELIMITED:
        length, start = _varint(data, position)
        end = start + length
    elif wire_type in (_FIXED32, _FIXED64):
        end = position + (4 if wire_type == _FIXED32 else 8)
    else:
        raise ValueError("a group")
    if end > len(data):
        raise ValueError("beyond the end")
    return end


def _varint(data: bytes, position: int) -> tuple[int, int]:
    """The number at ``position`` and where it ends; raises IndexError, ValueError where there is none."""
    value = 0
    for shift in range(0, 64, 7):
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise ValueError("too long")
