"""What a call can fail with: the server said no, or there was no server.

Importing this module costs nothing, so that code which only catches these errors stays light.
"""

from __future__ import annotations

from collections.abc import Mapping

INVALID_ANSWER = "INVALID_ANSWER"
"""Code of a ClientError whose answer was not a tensorhost server's; no server sends it."""


class ClientError(Exception):
    """The server answered with an error.

    Attributes:
        code: the server's error code, such as ``MODEL_NOT_FOUND``, or ``INVALID_ANSWER``.
        message: the server's sentence.
        details: the server's facts for programs; may be empty.
        request_id: names this request in the server's log; None when the answer carried none.
        http_status: the HTTP status of the answer.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str,
        http_status: int,
        details: Mapping[str, object] | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.http_status = http_status
        self.details: Mapping[str, object] = details or {}
        self.request_id = request_id


class ServerUnreachableError(ConnectionError):
    """No answer: nothing listens at the address, the connection broke, or the time was up.

    ``message`` is one sentence naming the address.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message
