"""Passing a request on to another application under another path, and its binary answer back in the cloud's words.

What must stay true: whatever guards the other path guards it for these requests too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tensorhost.codecs.oip import HEADER_LENGTH
from tensorhost.core.errors import InvalidRequestError

_BINARY = re.compile(r"application/vnd\.(?P<cloud>sagemaker-triton|vertex-ai-triton)\.binary\+json *; *"
                     r"json-header-size=(?P<size>[0-9]{1,18})", re.IGNORECASE)  # fmt: skip
_ANY_BINARY = re.compile(r"application/vnd\.(?:sagemaker-triton|vertex-ai-triton)\.binary\+json", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Delegated:
    """A request for another path.

    Attributes:
        path: without anything that would need escaping.
        method: another one than the request's; empty for that.
        headers: by lower-case name, to be set; or None, to be left out.
        body: another one than came, decompressed; None for what came.
        binary_type: the media type that a binary answer is to have, up to the size of its header; empty for its own.
    """

    path: str
    method: str = ""
    headers: Mapping[bytes, bytes | None] = field(default_factory=dict)
    body: bytes | None = None
    binary_type: str = ""


def binary_type(content_type: str) -> tuple[str, int] | None:
    """The media type of a body whose JSON has tensors behind it, without its parameter, and the bytes of that JSON.

    None for other types. Raises InvalidRequestError where it does not say how long the JSON is.
    """
    if _ANY_BINARY.match(content_type) is None:
        return None
    match = _BINARY.fullmatch(content_type)
    if match is None:
        raise InvalidRequestError("The Content-Type needs json-header-size, a number of bytes.")
    return f"application/vnd.{match['cloud'].lower()}.binary+json;json-header-size=", int(match["size"])


async def delegate(app: ASGIApp, to: Delegated, scope: Scope, receive: Receive, send: Send) -> None:
    """Have ``app`` answer the request of ``scope`` as ``to`` says."""
    if to.body is not None:
        receive = _Replayed(to.body, receive)
    if to.binary_type:
        send = _Retyped(to.binary_type, send)
    kept = [(name, value) for name, value in scope["headers"] if name not in to.headers]
    added = [(name, value) for name, value in to.headers.items() if value is not None]
    route = {"method": to.method or scope["method"], "path": to.path, "raw_path": to.path.encode()}
    await app({**scope, **route, "headers": kept + added}, receive, send)


class _Replayed:
    """Hands out a body that has been read, and then what else comes, such as the client's leaving."""

    def __init__(self, body: bytes, receive: Receive) -> None:
        self._body: bytes | None = body
        self._receive = receive

    async def __call__(self) -> Message:
        body, self._body = self._body, None
        if body is None:
            return await self._receive()
        return {"type": "http.request", "body": body, "more_body": False}


class _Retyped:
    """Says in the media type how long the JSON of a binary answer is: the clouds pass on no header of ours."""

    def __init__(self, media_type: str, send: Send) -> None:
        self._media_type = media_type.encode()
        self._send = send

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = message["headers"]
            size = next((value for name, value in headers if name == HEADER_LENGTH), None)
            if size is not None:
                others = [(name, value) for name, value in headers if name != b"content-type"]
                message = {**message, "headers": [*others, (b"content-type", self._media_type + size)]}
        await self._send(message)
