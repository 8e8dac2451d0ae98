"""One request after another to a server, over HTTP or gRPC, by clients as anybody uses them; not for load."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import grpc
import httpx

from benchmarks.protocols import Protocol

Ask = Callable[[], bytes]

_EARLY_STATUSES = frozenset({httpx.codes.BAD_REQUEST, httpx.codes.NOT_FOUND, httpx.codes.SERVICE_UNAVAILABLE})
_EARLY_CODES = frozenset(
    {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.NOT_FOUND, grpc.StatusCode.INVALID_ARGUMENT}
    | {grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.DEADLINE_EXCEEDED}
)
_CHANNEL_OPTIONS = (("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1))


class NoAnswerError(RuntimeError):
    """A request was not answered with success; ``is_early`` where a server that is still starting may say so."""

    def __init__(self, message: str, *, is_early: bool) -> None:
        super().__init__(message)
        self.is_early = is_early


@contextlib.contextmanager
def asking_http(url: str, protocol: Protocol, body: bytes, timeout_s: float) -> Iterator[Ask]:
    """Posts ``body`` to ``url`` at each call and returns the answer's. It raises NoAnswerError."""
    with httpx.Client(headers=protocol.headers, timeout=timeout_s) as client:

        def ask() -> bytes:
            try:
                answer = client.post(url, content=body)
            except httpx.TransportError as error:
                raise NoAnswerError(f"does not answer: {error}", is_early=True) from error
            if answer.status_code != httpx.codes.OK:
                early = answer.status_code in _EARLY_STATUSES
                raise NoAnswerError(f"answers {answer.status_code}: {answer.text[:200]}", is_early=early)
            return answer.content

        yield ask


@contextlib.contextmanager
def asking_grpc(address: str, protocol: Protocol, body: bytes, timeout_s: float) -> Iterator[Ask]:
    """Calls the method with the message ``body`` at each call and returns the answer's. It raises NoAnswerError."""
    with grpc.insecure_channel(address, _CHANNEL_OPTIONS) as channel:
        method: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(protocol.path)

        def ask() -> bytes:
            try:
                answer: bytes = method(body, timeout=timeout_s, wait_for_ready=True)
            except grpc.RpcError as error:
                early = error.code() in _EARLY_CODES
                raise NoAnswerError(f"answers {error.code().name}: {error.details()}", is_early=early) from error
            return answer

        yield ask
