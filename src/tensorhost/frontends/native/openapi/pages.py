"""``GET /openapi.json`` and ``GET /docs``: bytes made once, at the first request, and not sent to who has them."""

from __future__ import annotations

import asyncio
import hashlib
from functools import cache
from typing import NamedTuple

from tensorhost.codecs import dumps
from tensorhost.frontends.http.exchange import JSON, Exchange, Reply, static_reply
from tensorhost.frontends.native.openapi.document import build
from tensorhost.frontends.native.openapi.html import render

_HTML = b"text/html; charset=utf-8"


class _Static(NamedTuple):
    body: bytes
    etag: bytes
    content_type: bytes
    headers: tuple[tuple[bytes, bytes], ...]

    def reply(self, exchange: Exchange) -> Reply:
        return static_reply(exchange, self.body, self.etag, self.content_type, *self.headers)


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
    return _Static(body, hashlib.sha256(body).hexdigest()[:32].encode(), content_type, headers)
