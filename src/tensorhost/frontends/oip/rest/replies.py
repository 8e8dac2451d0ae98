"""Bodies of answers, as REST clients of the protocol read them."""

from __future__ import annotations

import orjson

from tensorhost.core.errors import TensorhostError
from tensorhost.frontends.http.exchange import Reply
from tensorhost.frontends.oip.statuses import http_status

EMPTY = b""
_UNAVAILABLE = 503
_UNAUTHENTICATED = 401
_LEAST_RETRY_AFTER_S = 1


def empty_reply() -> Reply:
    """Done, and nothing to tell."""
    return Reply(EMPTY)


def error_reply(error: TensorhostError) -> Reply:
    """``{"error": "<message>"}``; where trying again may help, with the header that says when."""
    status = http_status(error)
    headers: list[tuple[bytes, bytes]] = []
    if status == _UNAVAILABLE:
        wait_s = max(round(error.retry_after_s or 0), _LEAST_RETRY_AFTER_S)
        headers.append((b"retry-after", b"%d" % wait_s))
    elif status == _UNAUTHENTICATED:
        headers.append((b"www-authenticate", b"Bearer"))
    allowed = error.details.get("allowed")
    if isinstance(allowed, list):
        headers.append((b"allow", ", ".join(allowed).encode()))
    return Reply(error_body(error.message), status, headers=headers)


def error_body(message: str) -> bytes:
    """The one shape of an error."""
    # A model's words may hold halves of characters, which JSON cannot carry.
    return b'{"error":%b}' % orjson.dumps(message.encode(errors="replace").decode())
