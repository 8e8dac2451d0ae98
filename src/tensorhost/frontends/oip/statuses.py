"""Error code to status, a table for each wire: as Triton has it, where it has it."""

from __future__ import annotations

from collections.abc import Mapping

from tensorhost.core.errors import AlreadyExistsError, ErrorCode, TensorhostError, UnsupportedTypeError
from tensorhost.frontends.oip.faults import UnsupportedError
from tensorhost.frontends.rpc import RpcError, RpcStatus
from tensorhost.inference import as_tensorhost_error

RPC_STATUS: Mapping[ErrorCode, RpcStatus] = {
    ErrorCode.NOT_FOUND: RpcStatus.NOT_FOUND,
    ErrorCode.MODEL_NOT_FOUND: RpcStatus.NOT_FOUND,
    ErrorCode.VERSION_NOT_FOUND: RpcStatus.NOT_FOUND,
    ErrorCode.SIGNATURE_NOT_FOUND: RpcStatus.NOT_FOUND,
    ErrorCode.INVALID_REQUEST: RpcStatus.INVALID_ARGUMENT,
    ErrorCode.INVALID_INPUT_SHAPE: RpcStatus.INVALID_ARGUMENT,
    ErrorCode.INVALID_INPUT_TYPE: RpcStatus.INVALID_ARGUMENT,
    ErrorCode.MISSING_INPUT: RpcStatus.INVALID_ARGUMENT,
    ErrorCode.UNKNOWN_INPUT: RpcStatus.INVALID_ARGUMENT,
    ErrorCode.RAGGED_INPUT: RpcStatus.INVALID_ARGUMENT,
    ErrorCode.INVALID_PREPROCESSING: RpcStatus.INVALID_ARGUMENT,
    ErrorCode.INVALID_POSTPROCESSING: RpcStatus.INVALID_ARGUMENT,
    ErrorCode.PAYLOAD_TOO_LARGE: RpcStatus.RESOURCE_EXHAUSTED,
    ErrorCode.HEADERS_TOO_LARGE: RpcStatus.RESOURCE_EXHAUSTED,
    ErrorCode.REQUEST_TIMEOUT: RpcStatus.DEADLINE_EXCEEDED,
    ErrorCode.UNSUPPORTED_MEDIA_TYPE: RpcStatus.INVALID_ARGUMENT,
    ErrorCode.METHOD_NOT_ALLOWED: RpcStatus.UNIMPLEMENTED,
    ErrorCode.UNAUTHENTICATED: RpcStatus.UNAUTHENTICATED,
    ErrorCode.PERMISSION_DENIED: RpcStatus.PERMISSION_DENIED,
    ErrorCode.MODEL_NOT_READY: RpcStatus.UNAVAILABLE,
    ErrorCode.OVERLOADED: RpcStatus.UNAVAILABLE,
    ErrorCode.SHUTTING_DOWN: RpcStatus.UNAVAILABLE,
    ErrorCode.DEADLINE_EXCEEDED: RpcStatus.UNAVAILABLE,
    ErrorCode.CANCELLED: RpcStatus.CANCELLED,
    ErrorCode.OUT_OF_MEMORY: RpcStatus.UNAVAILABLE,
    ErrorCode.MODEL_FAILED: RpcStatus.INTERNAL,
    ErrorCode.RUNTIME_MISSING: RpcStatus.INTERNAL,
    ErrorCode.INTERNAL: RpcStatus.INTERNAL,
}
"""Every code's status over gRPC."""

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
    ErrorCode.DEADLINE_EXCEEDED: 503,
    ErrorCode.CANCELLED: 499,
    ErrorCode.OUT_OF_MEMORY: 503,
    ErrorCode.MODEL_FAILED: 500,
    ErrorCode.RUNTIME_MISSING: 500,
    ErrorCode.INTERNAL: 500,
}
"""Every code's status over HTTP."""

_NOT_IMPLEMENTED = 501
_UNSUPPORTED = (UnsupportedError, UnsupportedTypeError)


def http_status(error: TensorhostError) -> int:
    """The HTTP status of an error."""
    return _NOT_IMPLEMENTED if isinstance(error, _UNSUPPORTED) else HTTP_STATUS[error.code]


def as_rpc_error(error: Exception) -> RpcError:
    """The failure a client is told of, for whatever reached the border of a request handler."""
    if isinstance(error, RpcError):
        return error
    known = as_tensorhost_error(error)
    return RpcError(_rpc_status(known), known.message)


def _rpc_status(error: TensorhostError) -> RpcStatus:
    if isinstance(error, _UNSUPPORTED):
        return RpcStatus.UNIMPLEMENTED
    return RpcStatus.ALREADY_EXISTS if isinstance(error, AlreadyExistsError) else RPC_STATUS[error.code]
