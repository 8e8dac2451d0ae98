"""Statuses and bodies of answers, as TensorFlow Serving's REST clients read them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import orjson

from tensorhost.core.errors import PayloadTooLargeError, TensorhostError
from tensorhost.frontends.http.exchange import Reply
from tensorhost.frontends.rpc import RpcStatus

HTTP_STATUS: Mapping[RpcStatus, int] = {
    RpcStatus.OK: 200,
    RpcStatus.CANCELLED: 499,
    RpcStatus.UNKNOWN: 500,
    RpcStatus.INVALID_ARGUMENT: 400,
    RpcStatus.DEADLINE_EXCEEDED: 504,
    RpcStatus.NOT_FOUND: 404,
    RpcStatus.ALREADY_EXISTS: 409,
    RpcStatus.PERMISSION_DENIED: 403,
    RpcStatus.RESOURCE_EXHAUSTED: 429,
    RpcStatus.FAILED_PRECONDITION: 400,
    RpcStatus.ABORTED: 409,
    RpcStatus.OUT_OF_RANGE: 400,
    RpcStatus.UNIMPLEMENTED: 501,
    RpcStatus.INTERNAL: 500,
    RpcStatus.UNAVAILABLE: 503,
    RpcStatus.DATA_LOSS: 500,
    RpcStatus.UNAUTHENTICATED: 401,
}

_LONGEST_MESSAGE = 1024
_CUT = "...TRUNCATED"
"""As at the end of messages over gRPC that are cut."""
_TOO_LARGE = 413
_UNAVAILABLE = 503
_LEAST_RETRY_AFTER_S = 1


def http_status(status: RpcStatus, error: TensorhostError) -> int:
    """The HTTP status of a failure. A body over the limit is 413, which proxies know, not 429."""
    return _TOO_LARGE if isinstance(error, PayloadTooLargeError) else HTTP_STATUS[status]


def error_reply(message: str, status: int, retry_after_s: float | None) -> Reply:
    """``{"error": "<message>"}``; where trying again may help, with the header that says when."""
    if len(message) > _LONGEST_MESSAGE:
        message = message[:_LONGEST_MESSAGE] + _CUT
    headers: tuple[tuple[bytes, bytes], ...] = ()
    if status == _UNAVAILABLE:
        headers = ((b"retry-after", b"%d" % max(round(retry_after_s or 0), _LEAST_RETRY_AFTER_S)),)
    # A model's words may hold halves of characters, which JSON cannot carry.
    text = message.encode(errors="replace").decode()
    return Reply(b'{"error": %b}' % orjson.dumps(text), status, headers=headers)


def description_reply(value: Any) -> Reply:
    """A status or metadata, laid out as protobuf writes JSON: scripts search it for lines."""
    return Reply((json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode())
