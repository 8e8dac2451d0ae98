"""Reads HTTP/1.1 responses from the bytes of one connection, one response at a time. Pure.

It reads what a load generator must know: when a response is complete, its status, whether the connection stays open,
and the body of a refusal. The body of an answer is counted and dropped. Bytes nobody asked for are an error.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_MAX_HEAD_BYTES = 2**16
_MAX_KEPT_BYTES = 2**16
_STATUS = re.compile(rb"HTTP/1\.([01]) (\d\d\d)[ \r]")
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+) *\r\n", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked *\r\n", re.IGNORECASE)
_CLOSES = re.compile(rb"\r\nconnection: *close *\r\n", re.IGNORECASE)


class BadResponseError(Exception):
    """The bytes are no HTTP/1.1 response."""


@dataclass(frozen=True, slots=True)
class Response:
    """A complete response; ``body`` is empty where the request succeeded."""

    status: int
    stays_open: bool
    body: bytes = b""


class ResponseReader:
    """Give it bytes as they come; it returns the response that they complete."""

    __slots__ = ("_buffer", "_chunks_from", "_kept", "_missing", "_response", "_until_end")

    def __init__(self) -> None:
        self._buffer = b""
        self._reset()

    def _reset(self) -> None:
        self._response: Response | None = None
        self._missing = 0
        self._chunks_from: int | None = None
        self._until_end = False
        self._kept = bytearray()

    def feed(self, data: bytes) -> Response | None:
        """The response that ends with these bytes, or None. Raises BadResponseError."""
        if self._response is None:
            data = self._read_head(self._buffer + data if self._buffer else data)
            if self._response is None:
                return None
        if self._until_end:
            self._keep(data)
            return None
        if self._chunks_from is not None:
            return self._read_chunks(data)
        if len(data) > self._missing:
            raise BadResponseError
        self._missing -= len(data)
        self._keep(data)
        return None if self._missing else self._complete()

    def end(self) -> Response | None:
        """The response that ends with the connection, if one does."""
        return self._complete() if self._response is not None and self._until_end else None

    def _read_head(self, data: bytes) -> bytes:
        """Read a head, if it is there, and return what follows it."""
        end = data.find(b"\r\n\r\n")
        if end < 0:
            if len(data) > _MAX_HEAD_BYTES:
                raise BadResponseError
            self._buffer = data
            return b""
        self._buffer = b""
        head = data[: end + 4]
        line = _STATUS.match(head)
        if line is None:
            raise BadResponseError
        status = int(line[2])
        if status < 200:
            return self._read_head(data[end + 4 :])
        self._response = Response(status, line[1] == b"1" and _CLOSES.search(head) is None)
        length = _LENGTH.search(head)
        if length is not None:
            self._missing = int(length[1])
        elif _CHUNKED.search(head) is not None:
            self._chunks_from = 0
        else:
            self._until_end = status not in (204, 304)
        return data[end + 4 :]

    def _read_chunks(self, data: bytes) -> Response | None:
        # Kept from the first byte of a chunk's size line until the chunk is whole.
        self._buffer += data
        while (line_end := self._buffer.find(b"\r\n")) >= 0:
            try:
                size = int(self._buffer[:line_end].partition(b";")[0], 16)
            except ValueError:
                raise BadResponseError from None
            if size == 0:
                # Trailers are not read: there are none, or they end the same way.
                if not self._buffer.endswith(b"\r\n\r\n"):
                    return None
                self._buffer = b""
                return self._complete()
            if len(self._buffer) < line_end + size + 4:
                return None
            self._keep(self._buffer[line_end + 2 : line_end + 2 + size])
            self._buffer = self._buffer[line_end + size + 4 :]
        return None

    def _keep(self, data: bytes) -> None:
        if self._response is not None and self._response.status >= 300 and len(self._kept) < _MAX_KEPT_BYTES:
            self._kept += data

    def _complete(self) -> Response:
        response = self._response
        assert response is not None
        stays_open = response.stays_open and not self._until_end
        complete = Response(response.status, stays_open, bytes(self._kept))
        self._reset()
        return complete
