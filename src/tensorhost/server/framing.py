"""Where a request ends: refuses every head that two servers on its way could read differently.

The parser is strict already; these checks do not rely on it. Pure: a few counters for one head, no I/O.
"""

from __future__ import annotations

import urllib.parse
from collections.abc import Iterable
from functools import lru_cache

import httptools

FRAMING_HEADERS = frozenset({b"host", b"content-length", b"transfer-encoding"})
"""Names, in lower case, that ``Framing.note`` wants to see."""

_VERSIONS = ("1.1", "1.0")
_MOST_DIGITS = 18
_KNOWN_TARGETS = 256
_LONGEST_KNOWN_TARGET = 128


class FramingError(Exception):
    """The head is ambiguous or breaks HTTP; the text is for the client."""


class Framing:
    """What the head of one request says about its extent.

    ``content_length`` is in bytes, None when the head has none; ``chunked`` tells whether the body comes in chunks.
    """

    __slots__ = ("_hosts", "chunked", "content_length")

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin with the next head."""
        self.content_length: int | None = None
        self.chunked = False
        self._hosts = 0

    def note(self, name: bytes, value: bytes) -> None:
        """Take one of the ``FRAMING_HEADERS``.

        Raises:
            FramingError: a second Content-Length, one that is not digits, or a Transfer-Encoding but ``chunked``.
        """
        if name == b"host":
            self._hosts += 1
        elif name == b"content-length":
            value = value.strip(b" \t")
            if self.content_length is not None or not value.isdigit() or len(value) > _MOST_DIGITS:
                raise FramingError("Content-Length must be given once, as digits.")
            self.content_length = int(value)
        elif self.chunked or value.strip(b" \t").lower() != b"chunked":
            raise FramingError("The only Transfer-Encoding supported is 'chunked', given once.")
        else:
            self.chunked = True

    def check(self, version: str) -> None:
        """Check the complete head of a request in HTTP ``version``.

        Raises:
            FramingError: another version than 1.1 and 1.0, not exactly one Host (1.0 may leave it out), or
                Transfer-Encoding together with Content-Length or HTTP/1.0.
        """
        if version not in _VERSIONS:
            raise FramingError("The HTTP version must be 1.1 or 1.0.")
        if self._hosts != 1 and (version == "1.1" or self._hosts):
            raise FramingError("A request has exactly one Host header.")
        if self.chunked and (self.content_length is not None or version == "1.0"):
            raise FramingError("Transfer-Encoding excludes Content-Length and HTTP/1.0.")


def split_target(target: bytes) -> tuple[str, bytes, bytes]:
    """Decoded path, raw path and query string of a request target.

    Raises:
        FramingError: it is not a URL or has characters outside ASCII.
    """
    # Clients ask for the same few targets again and again; long ones are not worth the memory.
    return _split_known_target(target) if len(target) <= _LONGEST_KNOWN_TARGET else _split_target(target)


def _split_target(target: bytes) -> tuple[str, bytes, bytes]:
    try:
        url = httptools.parse_url(target)
        raw_path = url.path or b"/"
        path = raw_path.decode("ascii")
    except (httptools.HttpParserInvalidURLError, UnicodeDecodeError):
        raise FramingError("The request target is not a valid URL.") from None
    return urllib.parse.unquote(path) if "%" in path else path, raw_path, url.query or b""


_split_known_target = lru_cache(maxsize=_KNOWN_TARGETS)(_split_target)


def head_without_upgrade(method: bytes, target: bytes, version: str, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The head of a request as bytes, without its ``upgrade`` header; names are in lower case."""
    lines = [b"%b %b HTTP/%b\r\n" % (method, target, version.encode("ascii"))]
    lines += [b"%b: %b\r\n" % (name, value) for name, value in headers if name != b"upgrade"]
    return b"".join((*lines, b"\r\n"))
