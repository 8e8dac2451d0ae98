"""``ModelStreamInferResponse``, put together from pieces: an answer is not to be parsed to be wrapped. Pure."""

from __future__ import annotations

from tensorhost.codecs.protobuf.framing import field_key, varint

_ERROR_MESSAGE, _INFER_RESPONSE = field_key(1), field_key(2)
_ID = field_key(3)


def stream_answer(response: bytes) -> bytes:
    """A ModelInferResponse on a stream."""
    return b"".join((_INFER_RESPONSE, varint(len(response)), response))


def stream_error(message: str, identifier: str) -> bytes:
    """The failure of the request that had this id; clients tell by it which of them it was."""
    text = message.encode()
    answered = identifier.encode()
    response = _ID + varint(len(answered)) + answered if answered else b""
    return b"".join((_ERROR_MESSAGE, varint(len(text)), text, _INFER_RESPONSE, varint(len(response)), response))
