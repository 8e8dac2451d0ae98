"""One HTTP request and its reply, over plain ASGI: headers, the bounded and decompressed body, the reply's bytes."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Literal, overload

from starlette.types import Receive, Scope, Send

from tensorhost.codecs import dumps
from tensorhost.codecs.tensor_forms import Octets
from tensorhost.core.errors import (
    InvalidRequestError,
    PayloadTooLargeError,
    RequestCancelledError,
    UnsupportedMediaTypeError,
)
from tensorhost.frontends.http.accept import accepts_gzip
from tensorhost.settings import Settings
from tensorhost.telemetry import accept_request_id

JSON = b"application/json"
_WHOLE_RESPONSE = "tensorhost.whole_response"
"""What our own server offers beyond ASGI: the body, or its pieces, may come with the start of the response."""
_NOT_MODIFIED = 304
_GZIP_LEVEL = 5
_GZIP_OFF_LOOP_BYTES = 256 * 2**10
_WBITS = {b"gzip": 31, b"x-gzip": 31, b"deflate": 15}
OFF_LOOP_BYTES = 256 * 2**10
"""Larger bodies are read on a thread. Numbers take 2 ms a megabyte or so, during which the parser lets nobody else run;
strings take fifty times as long, and others may run meanwhile."""
OFF_LOOP_ELEMENTS = 2**15
"""Answers of more elements are written on a thread."""
_MOST_INFLATED_BYTES = 100 * 2**20
"""Compressed bodies that become larger, though within the limit, may have grown ``_MOST_GROWTH`` times at most: where
the limit is gigabytes, a megabyte of zeros must not become as much."""
_MOST_GROWTH = 10
_MAX_GZIP_MEMBERS = 16
"""A body of very many tiny members would cost the square of its size to take apart."""


@dataclass(slots=True)
class Reply:
    """Status, body and headers of a response.

    ``tail`` is what of the body comes behind ``body``, as it lies in memory, to be sent from there; it must not change
    any more. With ``chunks`` the body is those, as they come.
    """

    body: bytes
    status: int = 200
    content_type: bytes = JSON
    headers: Sequence[tuple[bytes, bytes]] = ()
    tail: Sequence[Octets] = ()
    chunks: AsyncGenerator[bytes] | None = None

    @property
    def size(self) -> int:
        """Bytes of the body before compression, without chunks."""
        return len(self.body) + sum(map(len, self.tail))


def json_reply(value: Any, status: int = 200) -> Reply:
    """A JSON reply of dicts, lists, scalars and arrays."""
    return Reply(dumps(value), status)


def static_reply(
    exchange: Exchange, body: bytes, etag: bytes, content_type: bytes, *headers: tuple[bytes, bytes]
) -> Reply:
    """What stays the same for a version of the server: the body, or 304 to a client that names its ETag.

    Args:
        exchange: the request.
        body: what there is.
        etag: without quotes; it is sent as a weak one, since the body may be compressed on its way.
        content_type: of the body.
        headers: more of them.
    """
    tag = b'W/"%b"' % etag
    kept = ((b"etag", tag), (b"cache-control", b"no-cache"), *headers)
    known = {name.strip() for name in exchange.headers.get(b"if-none-match", b"").split(b",")}
    if tag in known or b"*" in known:
        return Reply(b"", 304, content_type, kept)
    return Reply(body, 200, content_type, kept)


class Exchange:
    """A request being answered. ``subject`` is the model and version it names, as far as they have been read."""

    __slots__ = (
        "_receive",
        "_scope",
        "_send",
        "_sends_whole",
        "_settings",
        "headers",
        "method",
        "path",
        "path_values",
        "request_id",
        "subject",
    )

    def __init__(self, scope: Scope, receive: Receive, send: Send, settings: Settings) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._sends_whole = _WHOLE_RESPONSE in scope.get("extensions", ())
        self._settings = settings
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.path_values: Mapping[str, str] = {}
        self.subject: tuple[str | None, str | None] = (None, None)
        # The first of repeated headers counts; names arrive in lower case.
        self.headers: dict[bytes, bytes] = dict(reversed(scope["headers"]))
        self.request_id = accept_request_id(self.headers.get(b"x-request-id"))

    @property
    def query(self) -> bytes:
        """What follows the path, without its question mark."""
        query: bytes = self._scope.get("query_string", b"")
        return query

    def header(self, name: bytes) -> bytes | None:
        """A header that decides what a request means, by its lower-case name; None where it is missing.

        Raises InvalidRequestError where it comes twice and not alike: which of them is meant is not ours to guess.
        """
        value = self.headers.get(name)
        if value is None or len(self.headers) == len(self._scope["headers"]):
            return value
        if any(other != value for key, other in self._scope["headers"] if key == name):
            shown = name.decode("latin-1")
            raise InvalidRequestError(f"The header {shown} comes twice, and not alike.", details={"field": shown})
        return value

    @overload
    async def body(self) -> bytes: ...
    @overload
    async def body(self, *, in_place: Literal[True]) -> Octets: ...
    # Not keyword-only for Python, which would take every call the slow way.
    async def body(self, in_place: bool = False) -> Octets:  # noqa: FBT001, FBT002 - for the type checker it is
        """The whole request body, decompressed.

        Args:
            in_place: leave a body with binary tensor data where our own server has put it, so that it can be read as
                tensors: writable memory of this request's own.

        Raises:
            PayloadTooLargeError: it is over the limit, as sent or decompressed; or it is a decompression bomb.
            UnsupportedMediaTypeError: a Content-Encoding this server does not read.
            InvalidRequestError: the compressed data is broken, or Content-Encoding comes twice.
        """
        limit = self._settings.max_body_bytes
        message = await self._receive()
        if message["type"] != "http.request":
            raise RequestCancelledError("The client went away.")
        body = message.get("body", b"")
        if message.get("more_body", False):
            body = await self._rest_of_body(bytearray(body), limit)
        if len(body) > limit:
            raise _too_large(limit)
        encoding = (self.header(b"content-encoding") or b"").strip().lower()
        if not encoding or encoding == b"identity":
            return body if isinstance(body, bytes) or (in_place and isinstance(body, memoryview)) else bytes(body)
        if encoding not in _WBITS:
            raise UnsupportedMediaTypeError(
                "The Content-Encoding must be gzip, deflate or identity.",
                details={"contentEncoding": encoding.decode("latin-1")[:64]},
            )
        return await asyncio.to_thread(_decompress, bytes(body), encoding, limit)

    def check_is_json(self) -> None:
        """Raise UnsupportedMediaTypeError where the request says that its body is anything but JSON."""
        content_type = self.header(b"content-type")
        if content_type is not None and content_type != JSON:
            essence = content_type.partition(b";")[0].strip().lower()
            if essence != JSON and not essence.endswith(b"+json"):
                raise UnsupportedMediaTypeError(
                    f"The Content-Type must be application/json, not {essence.decode('latin-1')[:64]}"
                    " (with curl: -H 'Content-Type: application/json').",
                    details={"expected": "application/json", "actual": essence.decode("latin-1")[:64]},
                )

    async def send(self, reply: Reply) -> None:
        """Send the reply, compressed where the client accepts it and it is large enough to pay."""
        body, tail = reply.body, reply.tail
        size = reply.size if tail else len(body)
        headers = [(b"content-type", reply.content_type), (b"x-request-id", self.request_id.encode())]
        if reply.headers:
            headers += reply.headers
        if reply.chunks is not None:
            await self._send_chunks(reply, reply.chunks, headers)
            return
        if size >= self._settings.compress_min_bytes:
            headers.append((b"vary", b"accept-encoding"))
            if accepts_gzip(self.headers.get(b"accept-encoding", b"")):
                headers.append((b"content-encoding", b"gzip"))
                if size >= _GZIP_OFF_LOOP_BYTES:
                    body = await asyncio.to_thread(_compress, body, tail)
                else:
                    body = _compress(body, tail)
                tail, size = (), len(body)
        if reply.status != _NOT_MODIFIED:  # whose length would be that of the body it leaves out
            headers.append((b"content-length", b"%d" % size))
        start = {"type": "http.response.start", "status": reply.status, "headers": headers}
        if self._sends_whole:
            if tail:
                start["pieces"] = (body, *tail)
            else:
                start["body"] = body
            await self._send(start)
        else:
            await self._send(start)
            await self._send({"type": "http.response.body", "body": b"".join((body, *tail))})

    async def _send_chunks(
        self, reply: Reply, chunks: AsyncGenerator[bytes], headers: list[tuple[bytes, bytes]]
    ) -> None:
        async with aclosing(chunks):
            await self._send({"type": "http.response.start", "status": reply.status, "headers": headers})
            async for chunk in chunks:
                await self._send({"type": "http.response.body", "body": chunk, "more_body": True})
        await self._send({"type": "http.response.body", "body": b""})

    async def _rest_of_body(self, body: bytearray, limit: int) -> bytearray:
        while len(body) <= limit:
            message = await self._receive()
            if message["type"] != "http.request":
                raise RequestCancelledError("The client went away.")
            body += message.get("body", b"")
            if not message.get("more_body", False):
                break
        return body


def _compress(body: bytes, tail: Sequence[Octets]) -> bytes:
    return gzip.compress(b"".join((body, *tail)), _GZIP_LEVEL, mtime=0)


def _decompress(body: bytes, encoding: bytes, limit: int) -> bytes:
    limit = min(limit, max(_MOST_INFLATED_BYTES, len(body) * _MOST_GROWTH))
    try:
        return _inflate(body, _WBITS[encoding], limit)
    except zlib.error as error:
        # "deflate" means zlib data, but some clients send it without the zlib header.
        if encoding == b"deflate":
            try:
                return _inflate(body, -15, limit)
            except zlib.error:
                pass
        raise InvalidRequestError(f"The body is not valid {encoding.decode()} data.") from error


def _inflate(body: bytes, wbits: int, limit: int) -> bytes:
    pieces: list[bytes] = []
    size = 0
    while body:
        if len(pieces) == _MAX_GZIP_MEMBERS:
            raise InvalidRequestError(f"The body has more than {_MAX_GZIP_MEMBERS} gzip members.")
        inflater = zlib.decompressobj(wbits)
        piece = inflater.decompress(body, limit + 1 - size)
        size += len(piece)
        if size > limit:
            raise _too_large(limit)
        pieces.append(piece)
        if not inflater.eof:
            raise zlib.error("the stream ends early")
        # A gzip file may have several members.
        body = inflater.unused_data if wbits == _WBITS[b"gzip"] else b""
    return b"".join(pieces)


def _too_large(limit: int) -> PayloadTooLargeError:
    return PayloadTooLargeError(f"The body is larger than {limit} bytes.", details={"limitBytes": int(limit)})
