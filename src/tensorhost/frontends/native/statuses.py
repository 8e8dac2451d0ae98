"""Error code to HTTP status, and an error to the one shape every route answers with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tensorhost.codecs import dumps
from tensorhost.core.errors import ErrorCode, TensorhostError
from tensorhost.frontends.http.exchange import Reply

HTTP_STATUS: Mapping[ErrorCode, int] = {
    ErrorCode.NOT_FOUND: 404,
    ErrorCode.MODEL_NOT_FOUND: 404,
    ErrorCode.VERSION_NOT_FOUND: 404,
    ErrorCode.SIGNATURE_NOT_FOUND: 404,
    ErrorCode.INVALID_REQUEST: 400,
    ErrorCode.INVALID_INPUT_SHAPE: 400,
    ErrorCode.INVALID_INPUT_TYPE: 400,
    ErrorCode.MISSING_INPUT: 400,
    ErrorCode.UNKNOWN_INPUT: 400,
    ErrorCode.RAGGED_INPUT: 400,
    ErrorCode.INVALID_PREPROCESSING: 400,
    ErrorCode.INVALID_POSTPROCESSING: 400,
    ErrorCode.PAYLOAD_TOO_LARGE: 413,
    ErrorCode.HEADERS_TOO_LARGE: 431,
    ErrorCode.REQUEST_TIMEOUT: 408,
    ErrorCode.UNSUPPORTED_MEDIA_TYPE: 415,
    ErrorCode.METHOD_NOT_ALLOWED: 405,
    ErrorCode.UNAUTHENTICATED: 401,
    ErrorCode.PERMISSION_DENIED: 403,
    ErrorCode.MODEL_NOT_READY: 503,
    ErrorCode.OVERLOADED: 503,
    ErrorCode.SHUTTING_DOWN: 503,
    ErrorCode.DEADLINE_EXCEEDED: 504,
    ErrorCode.CANCELLED: 499,
    ErrorCode.OUT_OF_MEMORY: 507,
    ErrorCode.MODEL_FAILED: 500,
    ErrorCode.RUNTIME_MISSING: 500,
    ErrorCode.INTERNAL: 500,
}

DEFAULT_RETRY_AFTER_S = 1


def error_object(error: TensorhostError, request_id: str) -> dict[str, Any]:
    """What stands under ``error`` in a response."""
    return {
        "code": error.code.value,
        "message": error.message,
        "details": dict(error.details),
        "requestId": request_id,
    }


def retry_after_s(error: TensorhostError) -> int | None:
    """Whole seconds for the Retry-After header; None for errors that trying again does not mend."""
    if HTTP_STATUS[error.code] != 503:
        return None
    return max(round(error.retry_after_s or 0), DEFAULT_RETRY_AFTER_S)


def error_reply(error: TensorhostError, request_id: str) -> Reply:
    """The one error shape."""
    status = HTTP_STATUS[error.code]
    headers: list[tuple[bytes, bytes]] = []
    wait_s = retry_after_s(error)
    if wait_s is not None:
        headers.append((b"retry-after", b"%d" % wait_s))
    allowed = error.details.get("allowed")
    if isinstance(allowed, list):
        headers.append((b"allow", ", ".join(allowed).encode()))
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    return Reply(dumps({"error": error_object(error, request_id)}), status, headers=headers)
