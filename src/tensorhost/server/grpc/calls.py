"""What happens to a call between its request and its answer, whichever transport carries it.

A transport finds the method here, and gets back the one response or one ``RpcError``; nothing else leaves this module.
What must stay true: after ``close`` no call begins, and what is owed (calls, bytes of their requests) is counted down
however a call ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence

from tensorhost.core.errors import TensorhostError
from tensorhost.frontends.rpc import Role, Rpc, RpcContext, RpcError, RpcStatus, StreamRpc
from tensorhost.settings import Settings
from tensorhost.telemetry import get_logger

log = get_logger(__name__)
access = get_logger("tensorhost.access")

_MAX_TEXT_BYTES = 1024
"""Of an error's text. It travels with up to three characters a byte, and clients take 8 KiB of metadata."""

_CUT = "...TRUNCATED"
_DEFAULT_MAX_MESSAGE_BYTES = 64 * 2**20
_SHUTTING_DOWN = "The server is shutting down."

Authorise = Callable[[RpcContext], None]
"""Returns for callers that may control the server, and raises a TensorhostError that says why for others."""


class Calls:
    """The methods, and how they are called.

    Args:
        rpcs: every method; no path twice.
        settings: limits on messages, and whether calls are logged.
        authorise: asked before each call of a control method.
    """

    def __init__(self, rpcs: Sequence[Rpc | StreamRpc], settings: Settings, authorise: Authorise) -> None:
        self.unary: Mapping[str, Rpc] = {rpc.path: rpc for rpc in rpcs if isinstance(rpc, Rpc)}
        self.streams: Mapping[str, StreamRpc] = {rpc.path: rpc for rpc in rpcs if isinstance(rpc, StreamRpc)}
        self._authorise = authorise
        self.max_message_bytes = max_message_bytes(settings)
        """The largest request message, on a stream too; 0 for no limit."""
        self._max_owed_bytes = settings.max_buffered_body_bytes
        self._owed_bytes = 0
        self._closed = asyncio.Event()
        self._log_access = settings.access_log
        self.unread_timeout_s = settings.body_timeout_s
        """How long a client may leave an answer of a stream unread."""

    def close(self) -> None:
        """Refuse every call that has not begun, and end the streams, which could go on for ever."""
        self._closed.set()

    async def answer(self, rpc: Rpc, request: bytes, context: RpcContext) -> bytes:
        """The response to one request.

        Raises:
            RpcError: the call failed, was refused or may not be made; its message is cut to what gRPC clients take.
        """
        size = len(request)
        self._owed_bytes += size
        started = time.perf_counter() if self._log_access else 0.0
        status = RpcStatus.CANCELLED
        try:
            self._admit(rpc.role, size, context)
            response = await rpc.handler(request, context)
            status = RpcStatus.OK
        except asyncio.CancelledError:
            status = context.given_up()
            raise
        except Exception as error:
            failure = _as_rpc_error(error, rpc.path)
            status = failure.status
            raise failure from error
        else:
            return response
        finally:
            self._owed_bytes -= size
            if self._log_access:
                _write_access(rpc.path, status, started, context)

    async def stream(
        self, rpc: StreamRpc, requests: AsyncIterator[bytes], context: RpcContext
    ) -> AsyncGenerator[bytes, None]:
        """The responses of one streaming call; raises as ``answer`` does, and UNAVAILABLE when the server closes."""
        started = time.perf_counter()
        status = RpcStatus.CANCELLED
        sizes: deque[int] = deque()
        try:
            self._admit(rpc.role, 0, context)
            async with (
                contextlib.aclosing(self._incoming(rpc, requests, sizes)) as incoming,
                contextlib.aclosing(self._outgoing(rpc, incoming, context)) as responses,
            ):
                async for response in responses:
                    yield response
                    if sizes:
                        self._owed_bytes -= sizes.popleft()
            status = RpcStatus.OK
        except Exception as error:
            failure = _as_rpc_error(error, rpc.path)
            status = failure.status
            raise failure from error
        finally:
            self._owed_bytes -= sum(sizes)
            if self._log_access:
                _write_access(rpc.path, status, started, context)

    def _incoming(
        self, rpc: StreamRpc, requests: AsyncIterator[bytes], sizes: deque[int]
    ) -> AsyncGenerator[bytes, None]:
        counted = self._counted(requests, sizes)
        return _until(self._closed, counted) if rpc.finishes else counted

    def _outgoing(
        self, rpc: StreamRpc, incoming: AsyncIterator[bytes], context: RpcContext
    ) -> AsyncGenerator[bytes, None]:
        responses = rpc.handler(incoming, context)
        return responses if rpc.finishes else _until(self._closed, responses)

    async def _counted(self, requests: AsyncIterator[bytes], sizes: deque[int]) -> AsyncGenerator[bytes, None]:
        """``requests``, each owed from now on; its size goes to the end of ``sizes``."""
        async for request in requests:
            self._check_size(len(request))
            sizes.append(len(request))
            self._owed_bytes += len(request)
            self._check_owed(len(request))
            yield request

    def _admit(self, role: Role, size: int, context: RpcContext) -> None:
        if self._closed.is_set():
            raise RpcError(RpcStatus.UNAVAILABLE, _SHUTTING_DOWN)
        self._check_size(size)
        self._check_owed(size)
        if role is Role.CONTROL:
            self._authorise(context)

    def _check_size(self, size: int) -> None:
        if 0 < self.max_message_bytes < size:
            raise RpcError(
                RpcStatus.RESOURCE_EXHAUSTED,
                f"The request has {size} bytes; grpc_max_message_bytes allows {self.max_message_bytes}.",
            )

    def _check_owed(self, size: int) -> None:
        if self._owed_bytes > self._max_owed_bytes and self._owed_bytes > size:
            raise RpcError(
                RpcStatus.RESOURCE_EXHAUSTED,
                "Too many bytes of unanswered requests; max_buffered_body_bytes limits them.",
            )


def max_message_bytes(settings: Settings) -> int:
    """The largest request message, in bytes; 0 for no limit."""
    if settings.grpc_max_message_bytes is None:
        return max(_DEFAULT_MAX_MESSAGE_BYTES, int(settings.max_body_bytes))
    return int(settings.grpc_max_message_bytes)


async def _until(closed: asyncio.Event, messages: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """``messages``, up to the moment at which the server closes: RpcError then."""
    closing = asyncio.ensure_future(closed.wait())
    following: asyncio.Future[bytes] | None = None
    try:
        while True:
            following = asyncio.ensure_future(anext(messages))
            await asyncio.wait({following, closing}, return_when=asyncio.FIRST_COMPLETED)
            if not following.done():
                raise RpcError(RpcStatus.UNAVAILABLE, _SHUTTING_DOWN)
            try:
                yield following.result()
            except StopAsyncIteration:
                return
    finally:
        # Also one that is done: a client that leaves ends its requests, and so perhaps the responses, at that moment.
        left = [future for future in (closing, following) if future is not None]
        for future in left:
            future.cancel()
        await asyncio.gather(*left, return_exceptions=True)


def _as_rpc_error(error: Exception, path: str) -> RpcError:
    """``error`` as the client reads it; one that nobody foresaw is logged, and kept from the client."""
    if isinstance(error, RpcError):
        known = error
    elif isinstance(error, TensorhostError):
        known = RpcError(RpcStatus[error.canonical.value], error.message)
    else:
        log.error("call failed", method=path, exc_info=error)
        known = RpcError(RpcStatus.INTERNAL, "Internal error; the server's log says more.")
    # Names of files may be no Unicode, and a text with such a name in it could not be sent.
    text = known.message.encode("utf-8", "replace")
    sent = text[:_MAX_TEXT_BYTES].decode("utf-8", "ignore")
    return RpcError(known.status, sent if len(text) <= _MAX_TEXT_BYTES else sent + _CUT, known.trailers)


def _write_access(path: str, status: RpcStatus, started: float, context: RpcContext) -> None:
    access.info(
        "call",
        method=path,
        status=status.name,
        peer=context.peer,
        ms=round((time.perf_counter() - started) * 1000, 3),
    )
