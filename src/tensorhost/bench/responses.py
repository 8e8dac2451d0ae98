"""Reads HTTP/1.1 responses from the bytes of one connection, one response at a time. Pure.

It reads what a load generator must know: when a response is complete, its status, whether the connection stays open,
and the body of a refusal. The body of an answer is counted and dropped as it comes, in chunks or not: memory and time
do not depend on how it is cut. Bytes nobody asked for are an error.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_MAX_HEAD_BYTES = 2**16
_MAX_KEPT_BYTES = 2**16
_STATUS = re.compile(rb"HTTP/1\.([01]) (\d\d\d)[ \r]")
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+) *\r\n", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked *\r\n", re.IGNORECASE)
_FIRST_CHUNK = re.compile(rb"([0-9a-fA-F]+)[^\r\n]*\r\n")
_NEXT_CHUNK = re.compile(rb"\r\n" + _FIRST_CHUNK.pattern)
"""The line with a chunk's size; the end of the chunk before it is taken for its beginning."""

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

    __slots__ = ("_buffer", "_chunk_line", "_kept", "_missing", "_response", "_until_end")

    def __init__(self) -> None:
        self._buffer = b""
        self._reset()

    def _reset(self) -> None:
        self._response: Response | None = None
        self._missing = 0
        self._chunk_line: re.Pattern[bytes] | None = None
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
        if self._chunk_line is not None:
            return self._read_chunks(self._buffer + data, self._chunk_line)
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
            self._chunk_line = _FIRST_CHUNK
        else:
            self._until_end = status not in (204, 304)
        return data[end + 4 :]

    def _read_chunks(self, data: bytes, line_form: re.Pattern[bytes]) -> Response | None:
        at = 0
        while True:
            part = data[at : at + self._missing]
            self._keep(part)
            self._missing -= len(part)
            at += len(part)
            line = line_form.match(data, at) if not self._missing else None
            if line is None or (size := int(line[1], 16)) == 0:
                break
            at, self._missing = line.end(), size
            line_form = self._chunk_line = _NEXT_CHUNK
        self._buffer = data[at:]
        # Trailers are not read: there are none, or they end the same way.
        if line is not None and self._buffer.endswith(b"\r\n\r\n"):
            self._buffer = b""
            return self._complete()
        no_size = line is None and b"\r\n" in self._buffer.removeprefix(b"\r\n")
        if no_size or len(self._buffer) > _MAX_HEAD_BYTES:
            raise BadResponseError
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
