"""The one family of errors, each with a stable code.

A front end turns a code into its wire status with a table of its own; nothing here knows HTTP or gRPC.
Messages are written for the client: no file-system path, no stack trace, no Python type names. What only the
operator may see goes into ``log_detail`` and reaches the log under the request id.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import ClassVar


class CanonicalCode(StrEnum):
    """The gRPC status a code maps to, by name."""

    CANCELLED = "CANCELLED"
    INVALID_ARGUMENT = "INVALID_ARGUMENT"
    DEADLINE_EXCEEDED = "DEADLINE_EXCEEDED"
    NOT_FOUND = "NOT_FOUND"
    PERMISSION_DENIED = "PERMISSION_DENIED"
    UNAUTHENTICATED = "UNAUTHENTICATED"
    RESOURCE_EXHAUSTED = "RESOURCE_EXHAUSTED"
    FAILED_PRECONDITION = "FAILED_PRECONDITION"
    UNIMPLEMENTED = "UNIMPLEMENTED"
    INTERNAL = "INTERNAL"
    UNAVAILABLE = "UNAVAILABLE"


class ErrorCode(StrEnum):
    """What went wrong, as clients read it. Names are part of the API and never change."""

    NOT_FOUND = "NOT_FOUND"
    MODEL_NOT_FOUND = "MODEL_NOT_FOUND"
    VERSION_NOT_FOUND = "VERSION_NOT_FOUND"
    SIGNATURE_NOT_FOUND = "SIGNATURE_NOT_FOUND"
    INVALID_REQUEST = "INVALID_REQUEST"
    INVALID_INPUT_SHAPE = "INVALID_INPUT_SHAPE"
    INVALID_INPUT_TYPE = "INVALID_INPUT_TYPE"
    MISSING_INPUT = "MISSING_INPUT"
    UNKNOWN_INPUT = "UNKNOWN_INPUT"
    RAGGED_INPUT = "RAGGED_INPUT"
    INVALID_PREPROCESSING = "INVALID_PREPROCESSING"
    INVALID_POSTPROCESSING = "INVALID_POSTPROCESSING"
    PAYLOAD_TOO_LARGE = "PAYLOAD_TOO_LARGE"
    HEADERS_TOO_LARGE = "HEADERS_TOO_LARGE"
    REQUEST_TIMEOUT = "REQUEST_TIMEOUT"
    UNSUPPORTED_MEDIA_TYPE = "UNSUPPORTED_MEDIA_TYPE"
    METHOD_NOT_ALLOWED = "METHOD_NOT_ALLOWED"
    UNAUTHENTICATED = "UNAUTHENTICATED"
    PERMISSION_DENIED = "PERMISSION_DENIED"
    MODEL_NOT_READY = "MODEL_NOT_READY"
    OVERLOADED = "OVERLOADED"
    SHUTTING_DOWN = "SHUTTING_DOWN"
    DEADLINE_EXCEEDED = "DEADLINE_EXCEEDED"
    CANCELLED = "CANCELLED"
    OUT_OF_MEMORY = "OUT_OF_MEMORY"
    MODEL_FAILED = "MODEL_FAILED"
    RUNTIME_MISSING = "RUNTIME_MISSING"
    INTERNAL = "INTERNAL"


CANONICAL: Mapping[ErrorCode, CanonicalCode] = {
    ErrorCode.NOT_FOUND: CanonicalCode.NOT_FOUND,
    ErrorCode.MODEL_NOT_FOUND: CanonicalCode.NOT_FOUND,
    ErrorCode.VERSION_NOT_FOUND: CanonicalCode.NOT_FOUND,
    ErrorCode.SIGNATURE_NOT_FOUND: CanonicalCode.NOT_FOUND,
    ErrorCode.INVALID_REQUEST: CanonicalCode.INVALID_ARGUMENT,
    ErrorCode.INVALID_INPUT_SHAPE: CanonicalCode.INVALID_ARGUMENT,
    ErrorCode.INVALID_INPUT_TYPE: CanonicalCode.INVALID_ARGUMENT,
    ErrorCode.MISSING_INPUT: CanonicalCode.INVALID_ARGUMENT,
    ErrorCode.UNKNOWN_INPUT: CanonicalCode.INVALID_ARGUMENT,
    ErrorCode.RAGGED_INPUT: CanonicalCode.INVALID_ARGUMENT,
    ErrorCode.INVALID_PREPROCESSING: CanonicalCode.INVALID_ARGUMENT,
    ErrorCode.INVALID_POSTPROCESSING: CanonicalCode.INVALID_ARGUMENT,
    ErrorCode.PAYLOAD_TOO_LARGE: CanonicalCode.RESOURCE_EXHAUSTED,
    ErrorCode.HEADERS_TOO_LARGE: CanonicalCode.RESOURCE_EXHAUSTED,
    ErrorCode.REQUEST_TIMEOUT: CanonicalCode.DEADLINE_EXCEEDED,
    ErrorCode.UNSUPPORTED_MEDIA_TYPE: CanonicalCode.INVALID_ARGUMENT,
    ErrorCode.METHOD_NOT_ALLOWED: CanonicalCode.UNIMPLEMENTED,
    ErrorCode.UNAUTHENTICATED: CanonicalCode.UNAUTHENTICATED,
    ErrorCode.PERMISSION_DENIED: CanonicalCode.PERMISSION_DENIED,
    ErrorCode.MODEL_NOT_READY: CanonicalCode.UNAVAILABLE,
    ErrorCode.OVERLOADED: CanonicalCode.UNAVAILABLE,
    ErrorCode.SHUTTING_DOWN: CanonicalCode.UNAVAILABLE,
    ErrorCode.DEADLINE_EXCEEDED: CanonicalCode.DEADLINE_EXCEEDED,
    ErrorCode.CANCELLED: CanonicalCode.CANCELLED,
    ErrorCode.OUT_OF_MEMORY: CanonicalCode.RESOURCE_EXHAUSTED,
    ErrorCode.MODEL_FAILED: CanonicalCode.INTERNAL,
    ErrorCode.RUNTIME_MISSING: CanonicalCode.FAILED_PRECONDITION,
    ErrorCode.INTERNAL: CanonicalCode.INTERNAL,
}


class TensorhostError(Exception):
    """Base of every error tensorhost raises on purpose.

    Args:
        message: one sentence for the client.
        details: JSON-ready facts for programs (what was expected, what came, what is there).
        retry_after_s: seconds after which trying again is sensible; only for transient errors.
        log_detail: for the operator's log only, never sent to a client.
    """

    code: ClassVar[ErrorCode] = ErrorCode.INTERNAL

    def __init__(
        self,
        message: str,
        *,
        details: Mapping[str, object] | None = None,
        retry_after_s: float | None = None,
        log_detail: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.details: Mapping[str, object] = details or {}
        self.retry_after_s = retry_after_s
        self.log_detail = log_detail

    @property
    def canonical(self) -> CanonicalCode:
        """The gRPC status of this error's code."""
        return CANONICAL[self.code]


class InternalError(TensorhostError):
    """A fault of ours."""


class NotFoundError(TensorhostError):
    """No such route or thing."""

    code = ErrorCode.NOT_FOUND


class ModelNotFoundError(TensorhostError):
    """No model of that name; the message lists what is there."""

    code = ErrorCode.MODEL_NOT_FOUND


class VersionNotFoundError(TensorhostError):
    """The model has no such version or label."""

    code = ErrorCode.VERSION_NOT_FOUND


class SignatureNotFoundError(TensorhostError):
    """The version has no such signature."""

    code = ErrorCode.SIGNATURE_NOT_FOUND


class InvalidRequestError(TensorhostError):
    """The request is malformed; the message names the field."""

    code = ErrorCode.INVALID_REQUEST


class AlreadyLoadedError(InvalidRequestError):
    """A model that was to be loaded for the first time serves already."""


class AlreadyExistsError(InvalidRequestError):
    """Something of that name is there already."""


class InvalidInputShapeError(TensorhostError):
    """An input's rank or a dimension differs from the signature."""

    code = ErrorCode.INVALID_INPUT_SHAPE


class InvalidInputTypeError(TensorhostError):
    """An input's values cannot become the signature's dtype without loss."""

    code = ErrorCode.INVALID_INPUT_TYPE


class UnsupportedTypeError(InvalidInputTypeError):
    """A dtype that the wire cannot carry at all."""


class MissingInputError(TensorhostError):
    """An input of the signature was not given."""

    code = ErrorCode.MISSING_INPUT


class UnknownInputError(TensorhostError):
    """An input was given that the signature does not have."""

    code = ErrorCode.UNKNOWN_INPUT


class RaggedInputError(TensorhostError):
    """Nested lists of unequal length where a tensor was expected."""

    code = ErrorCode.RAGGED_INPUT


class InvalidPreprocessingError(TensorhostError):
    """Preprocessing options that are unknown, contradictory or do not fit the input."""

    code = ErrorCode.INVALID_PREPROCESSING


class InvalidPostprocessingError(TensorhostError):
    """Postprocessing options that are unknown, contradictory or do not fit the output."""

    code = ErrorCode.INVALID_POSTPROCESSING


class PayloadTooLargeError(TensorhostError):
    """The body, or what it decompresses to, is over the limit."""

    code = ErrorCode.PAYLOAD_TOO_LARGE


class UnsupportedMediaTypeError(TensorhostError):
    """A Content-Type or Content-Encoding this route does not read."""

    code = ErrorCode.UNSUPPORTED_MEDIA_TYPE


class MethodNotAllowedError(TensorhostError):
    """The route exists, the method does not."""

    code = ErrorCode.METHOD_NOT_ALLOWED


class UnauthenticatedError(TensorhostError):
    """A token is needed and none, or a wrong one, was given."""

    code = ErrorCode.UNAUTHENTICATED


class PermissionDeniedError(TensorhostError):
    """Not allowed for this caller or this configuration."""

    code = ErrorCode.PERMISSION_DENIED


class ModelNotReadyError(TensorhostError):
    """The version exists but is not available now."""

    code = ErrorCode.MODEL_NOT_READY


class LabelNotReadyError(ModelNotReadyError):
    """A label was to be given to a version that is not available."""


class OverloadedError(TensorhostError):
    """A bounded queue or a limit on requests in flight is full."""

    code = ErrorCode.OVERLOADED


class ShuttingDownError(TensorhostError):
    """The server no longer takes new work."""

    code = ErrorCode.SHUTTING_DOWN


class DeadlineExceededError(TensorhostError):
    """The request's time was up, waiting or running."""

    code = ErrorCode.DEADLINE_EXCEEDED


class RequestCancelledError(TensorhostError):
    """The client went away before its answer."""

    code = ErrorCode.CANCELLED


class OutOfMemoryError(TensorhostError):
    """A load or a call that does not fit in memory or in the budget."""

    code = ErrorCode.OUT_OF_MEMORY


class ModelFailedError(TensorhostError):
    """The model itself failed, loading or running."""

    code = ErrorCode.MODEL_FAILED


class UnsupportedModelError(ModelFailedError):
    """A model in a format or of a kind that is not executed: no further attempt can succeed."""


class MisconfiguredModelError(ModelFailedError):
    """A model whose own settings do not fit it: no further attempt can succeed until they or its files change."""


class UntrustedModelError(ModelFailedError):
    """A model that could do more than compute, where the operator wants none: no further attempt can succeed."""


class LoadTimeoutError(ModelFailedError):
    """A model that took longer than it may before it served."""


class RuntimeMissingError(TensorhostError):
    """The package that executes this format is not installed; the message names the extra."""

    code = ErrorCode.RUNTIME_MISSING
