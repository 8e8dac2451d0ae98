"""What a call can fail with: the server said no, there was no server, or the request could not be written.

One class per error code of the API, in families, all of them ``ClientError``. A code that this client does not know
yet, a newer server's, is a plain ``ClientError`` with that code. Importing this module costs nothing, so that code
which only catches these errors stays light.
"""

from __future__ import annotations

from collections.abc import Mapping

from tensorhost.core.errors import ErrorCode

UNREACHABLE = "UNREACHABLE"
"""Code of an error without an answer; no server sends it."""
INVALID_ANSWER = "INVALID_ANSWER"
"""Code of an answer that was not a tensorhost server's; no server sends it."""


class ClientError(Exception):
    """A call failed.

    Attributes:
        code: the server's error code, such as ``MODEL_NOT_FOUND``; ``UNREACHABLE`` and ``INVALID_ANSWER`` are this
            client's own.
        message: one sentence for people.
        details: facts for programs; may be empty.
        request_id: names this request in the server's log; None when the answer carried none.
        http_status: the HTTP status of the answer; None when there was none, or when nothing was sent.
        retry_after_s: seconds after which the server wants to be asked again; None when it did not say.
    """

    code: str = "UNKNOWN"

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        http_status: int | None = None,
        details: Mapping[str, object] | None = None,
        request_id: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code if code is not None else type(self).code
        self.http_status = http_status
        self.details: Mapping[str, object] = details or {}
        self.request_id = request_id
        self.retry_after_s = retry_after_s

    # Errors travel between processes, and pickle would call the class with the message alone.
    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.message,), self.__dict__


class ServerUnreachableError(ClientError, ConnectionError):
    """No answer: nothing listens at the address, and the request provably never left; or see the subclasses."""

    code = UNREACHABLE


class TlsError(ServerUnreachableError):
    """The server's certificate, or ours, was refused: trying again does not help."""


class ConnectionBrokenError(ServerUnreachableError):
    """The connection broke before the answer was there: the request may have been carried out, or not."""


class InvalidAnswerError(ClientError):
    """Something answered, but not as a tensorhost server does; a proxy's own page, say."""

    code = INVALID_ANSWER


class DeadlineExceededError(ClientError, TimeoutError):
    """The time was up: the server says so, or ``http_status`` is None and no answer had come."""

    code = ErrorCode.DEADLINE_EXCEEDED


class InvalidRequestError(ClientError):
    """The request is wrong; sent again it would be as wrong. ``http_status`` is None if it was not even sent."""

    code = ErrorCode.INVALID_REQUEST


class InvalidInputError(InvalidRequestError):
    """Family: an input does not fit the signature."""


class InvalidInputShapeError(InvalidInputError):
    """An input's rank or a dimension differs from the signature."""

    code = ErrorCode.INVALID_INPUT_SHAPE


class InvalidInputTypeError(InvalidInputError):
    """An input has values that the signature's dtype, or JSON, cannot hold."""

    code = ErrorCode.INVALID_INPUT_TYPE


class MissingInputError(InvalidInputError):
    """An input of the signature was not given."""

    code = ErrorCode.MISSING_INPUT


class UnknownInputError(InvalidInputError):
    """An input was given that the signature does not have."""

    code = ErrorCode.UNKNOWN_INPUT


class RaggedInputError(InvalidInputError):
    """Nested lists of unequal length where a tensor was expected."""

    code = ErrorCode.RAGGED_INPUT


class InvalidPreprocessingError(InvalidRequestError):
    """Preprocessing options that are unknown, contradictory or do not fit the input."""

    code = ErrorCode.INVALID_PREPROCESSING


class InvalidPostprocessingError(InvalidRequestError):
    """Postprocessing options that are unknown, contradictory or do not fit the output."""

    code = ErrorCode.INVALID_POSTPROCESSING


class PayloadTooLargeError(InvalidRequestError):
    """The body, a tensor or an image is over the server's limit."""

    code = ErrorCode.PAYLOAD_TOO_LARGE


class HeadersTooLargeError(InvalidRequestError):
    """The request's head is over the server's limit."""

    code = ErrorCode.HEADERS_TOO_LARGE


class UnsupportedMediaTypeError(InvalidRequestError):
    """A Content-Type or Content-Encoding that the server does not read."""

    code = ErrorCode.UNSUPPORTED_MEDIA_TYPE


class MethodNotAllowedError(InvalidRequestError):
    """The route exists, the method does not."""

    code = ErrorCode.METHOD_NOT_ALLOWED


class NotFoundError(ClientError):
    """Family: the thing that was named does not exist. With its own code: there is no such route."""

    code = ErrorCode.NOT_FOUND


class ModelNotFoundError(NotFoundError):
    """No model of that name; the message lists what is there."""

    code = ErrorCode.MODEL_NOT_FOUND


class VersionNotFoundError(NotFoundError):
    """The model has no such version or label."""

    code = ErrorCode.VERSION_NOT_FOUND


class SignatureNotFoundError(NotFoundError):
    """The version has no such signature."""

    code = ErrorCode.SIGNATURE_NOT_FOUND


class AccessError(ClientError):
    """Family: this caller may not do this."""


class UnauthenticatedError(AccessError):
    """A token is needed and none, or a wrong one, was given."""

    code = ErrorCode.UNAUTHENTICATED


class PermissionDeniedError(AccessError):
    """Not allowed for this caller, or by the server's configuration."""

    code = ErrorCode.PERMISSION_DENIED


class UnavailableError(ClientError):
    """Family: not now, perhaps soon. What is retried."""


class ModelNotReadyError(UnavailableError):
    """The version is loading, failed to load, or was unloaded."""

    code = ErrorCode.MODEL_NOT_READY


class OverloadedError(UnavailableError):
    """A bounded queue, or a limit on requests in flight or connections, is full."""

    code = ErrorCode.OVERLOADED


class ShuttingDownError(UnavailableError):
    """The server is stopping."""

    code = ErrorCode.SHUTTING_DOWN


class RequestTimeoutError(ClientError):
    """The request arrived too slowly for the server's limits."""

    code = ErrorCode.REQUEST_TIMEOUT


class RequestCancelledError(ClientError):
    """The request was given up before its answer."""

    code = ErrorCode.CANCELLED


class ServerError(ClientError):
    """Family: the server, or the model, failed."""


class InternalError(ServerError):
    """A fault of the server; its log has more under the request id."""

    code = ErrorCode.INTERNAL


class ModelFailedError(ServerError):
    """The model itself failed, loading or running."""

    code = ErrorCode.MODEL_FAILED


class RuntimeMissingError(ServerError):
    """The server lacks the package that executes this model; the message names the extra."""

    code = ErrorCode.RUNTIME_MISSING


class OutOfMemoryError(ServerError):
    """A load or a call that does not fit in the server's memory."""

    code = ErrorCode.OUT_OF_MEMORY


ERROR_CLASSES: Mapping[str, type[ClientError]] = {
    kind.code: kind
    for kind in (
        DeadlineExceededError,
        HeadersTooLargeError,
        InternalError,
        InvalidInputShapeError,
        InvalidInputTypeError,
        InvalidPostprocessingError,
        InvalidPreprocessingError,
        InvalidRequestError,
        MethodNotAllowedError,
        MissingInputError,
        ModelFailedError,
        ModelNotFoundError,
        ModelNotReadyError,
        NotFoundError,
        OutOfMemoryError,
        OverloadedError,
        PayloadTooLargeError,
        PermissionDeniedError,
        RaggedInputError,
        RequestCancelledError,
        RequestTimeoutError,
        RuntimeMissingError,
        ShuttingDownError,
        SignatureNotFoundError,
        UnauthenticatedError,
        UnknownInputError,
        UnsupportedMediaTypeError,
        VersionNotFoundError,
    )
}
"""The class of each code a server sends; total over ``ErrorCode``."""
