"""What a gRPC front end offers to whatever transports its calls: methods from bytes to bytes, and how they fail.

Nothing here knows HTTP/2 or a gRPC library: a transport in ``server/grpc`` owns deadlines on the wire, message limits
and cancellation, and calls these. What must stay true: a handler either returns the one response or raises; a
transport answers each call exactly once.
"""

from __future__ import annotations

import math
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, IntEnum, auto

_CLOCKS_APART_S = 0.02
"""A transport's own deadline is earlier than the one it reports, by what it takes to report it."""


class RpcStatus(IntEnum):
    """gRPC's status codes."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


class RpcError(Exception):
    """The failure of a call, as its client reads it.

    Args:
        status: never OK.
        message: for the client; no path, no stack trace.
        trailers: trailing metadata.
    """

    def __init__(self, status: RpcStatus, message: str, trailers: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.trailers = trailers


class Role(Enum):
    """What a caller must be allowed to do."""

    INFER = auto()
    """Ask a model, or about models."""
    CONTROL = auto()
    """Change what is loaded, or look into the process."""


@dataclass(frozen=True, slots=True)
class RpcContext:
    """What a transport knows of a call.

    Attributes:
        deadline: an instant on the monotonic clock, in seconds; ``inf`` for none.
        metadata: the call's, by lower-case key; of repeated ones the first. Values of ``-bin`` keys are bytes.
        peer: who calls, as gRPC writes it: ``ipv4:127.0.0.1:5000``, ``unix:``.
    """

    deadline: float = math.inf
    metadata: Mapping[str, str | bytes] = field(default_factory=dict)
    peer: str = ""

    def given_up(self) -> RpcStatus:
        """How a call that its transport cancels has ended: its deadline has passed, or else its client has left."""
        expired = time.monotonic() > self.deadline - _CLOCKS_APART_S
        return RpcStatus.DEADLINE_EXCEEDED if expired else RpcStatus.CANCELLED


UnaryHandler = Callable[[bytes, RpcContext], Awaitable[bytes]]
StreamHandler = Callable[[AsyncIterator[bytes], RpcContext], AsyncGenerator[bytes, None]]


@dataclass(frozen=True, slots=True)
class Rpc:
    """A method with one request and one response. ``path`` is ``/package.Service/Method``."""

    path: str
    handler: UnaryHandler
    role: Role = Role.INFER


@dataclass(frozen=True, slots=True)
class StreamRpc:
    """A method that answers with a stream.

    Attributes:
        path: ``/package.Service/Method``.
        handler: what answers.
        role: what its callers must be allowed to do.
        requests: whether it is asked with a stream, or with one message.
        finishes: whether it ends soon after its requests do. Then a server that closes takes no further request of it,
            and lets it answer those that have come; other streams are ended as they are.
    """

    path: str
    handler: StreamHandler
    role: Role = Role.INFER
    requests: bool = True
    finishes: bool = False
