"""``GET /openapi.json`` and ``GET /docs``: bytes made once, at the first request, and not sent to who has them."""

from __future__ import annotations

import asyncio
import hashlib
from functools import cache
from typing import NamedTuple

from tensorhost.codecs import dumps
from tensorhost.frontends.native.exchange import JSON, Exchange, Reply
from tensorhost.frontends.native.openapi.document import build
from tensorhost.frontends.native.openapi.html import render

_HTML = b"text/html; charset=utf-8"


class _Static(NamedTuple):
    body: bytes
    content_type: bytes
    headers: tuple[tuple[bytes, bytes], ...]

    @property
    def etag(self) -> bytes:
        return self.headers[0][1]

    def reply(self, exchange: Exchange) -> Reply:
        """The body, or 304 to a client that names its ETag."""
        known = {tag.strip() for tag in exchange.headers.get(b"if-none-match", b"").split(b",")}
        if self.etag in known or b"*" in known:
            return Reply(b"", 304, self.content_type, self.headers)
        return Reply(self.body, content_type=self.content_type, headers=self.headers)


class ApiPages:
    """The routes of the description. The same for every server of one version, whatever it serves.

    The first request of each builds it, which takes longer than requests for a model should wait: on a thread.
    """

    async def document(self, exchange: Exchange) -> Reply:
        """``GET /openapi.json``."""
        return (await asyncio.to_thread(_document)).reply(exchange)

    async def page(self, exchange: Exchange) -> Reply:
        """``GET /docs``."""
        return (await asyncio.to_thread(_page)).reply(exchange)


@cache
def _document() -> _Static:
    return _static(dumps(build()), JSON)


@cache
def _page() -> _Static:
    page = render(build())
    return _static(
        page.html.encode(),
        _HTML,
        (b"content-security-policy", page.policy.encode()),
        (b"x-content-type-options", b"nosniff"),
        (b"referrer-policy", b"no-referrer"),
    )


def _static(body: bytes, content_type: bytes, *headers: tuple[bytes, bytes]) -> _Static:
    # Weak, since the body may be compressed on its way.
    etag = b'W/"%s"' % hashlib.sha256(body).hexdigest()[:32].encode()
    return _Static(body, content_type, ((b"etag", etag), (b"cache-control", b"no-cache"), *headers))
