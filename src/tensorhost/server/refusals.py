"""The answers the connection gives by itself, before or instead of the application.

Every one has the error shape of the API that its path is of: in ours ``error`` is an object of code, message, details
and request id, in the protocols beside it the message alone.
The table here is total over the codes the connection uses; the front ends own theirs. Pure: bytes out, no I/O.
"""

from __future__ import annotations

import http
from collections.abc import Iterable, Mapping

import orjson

from tensorhost.core.errors import ErrorCode
from tensorhost.frontends.oip.rest import targets as oip
from tensorhost.frontends.tfserving.rest import targets as tfserving
from tensorhost.telemetry.request_ids import accept_request_id

STATUS: Mapping[ErrorCode, int] = {
    ErrorCode.INVALID_REQUEST: 400,
    ErrorCode.METHOD_NOT_ALLOWED: 405,
    ErrorCode.REQUEST_TIMEOUT: 408,
    ErrorCode.PAYLOAD_TOO_LARGE: 413,
    ErrorCode.HEADERS_TOO_LARGE: 431,
    ErrorCode.INTERNAL: 500,
    ErrorCode.OVERLOADED: 503,
    ErrorCode.SHUTTING_DOWN: 503,
}
"""HTTP status of each code the connection answers with."""

_RETRY_AFTER_S = 1
_OTHER_PROTOCOLS = (tfserving.PREFIX, f"{oip.PREFIX}/")


class RefusedError(Exception):
    """Raised while a request is read, to refuse it with ``code`` (one of ``STATUS``) and ``message``."""

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


STATUS_LINE: Mapping[int, bytes] = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in http.HTTPStatus
}
"""First line of a response by status, for the statuses that have a registered phrase."""


def request_id_of(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """The client's ``X-Request-Id`` where it is safe to repeat, else a new id."""
    return accept_request_id(next((value for name, value in headers if name == b"x-request-id"), None))


def refusal(
    code: ErrorCode, message: str, *, path: str, request_id: str, date_line: bytes = b"", head_only: bool = False
) -> bytes:
    """A complete response that says why the request is refused and that the connection closes.

    Args:
        code: one of the codes in ``STATUS``.
        message: one sentence for the client.
        path: of the request, as it came; empty where it has not.
        request_id: repeated in ``X-Request-Id`` and, in our own shape, in the body.
        date_line: the ``date`` header line with its line end, or empty.
        head_only: leave the body out, as the answer to a HEAD request must.
    """
    is_ours = not path.startswith(_OTHER_PROTOCOLS)
    own = {"code": code, "message": message, "details": {}, "requestId": request_id}
    body = orjson.dumps({"error": own if is_ours else message})
    status = STATUS[code]
    retry = b"retry-after: %d\r\n" % _RETRY_AFTER_S if status == http.HTTPStatus.SERVICE_UNAVAILABLE else b""
    return b"".join(
        (
            STATUS_LINE[status],
            date_line,
            b"content-type: application/json\r\ncontent-length: %d\r\n" % len(body),
            b"x-request-id: %b\r\n" % request_id.encode("ascii"),
            retry,
            b"connection: close\r\n\r\n",
            b"" if head_only else body,
        )
    )
