"""The transport that can do everything: TLS, streams, limits kept while a message arrives, every channel argument.

It costs several times as much per call as ``native.py``, and serves what that one cannot.

A message that is much too large never gets here: gRPC's library refuses it as it begins, in words of its own. All that
is seen is a call without a request, or a stream that breaks off, as when a client leaves; the log names both.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, cast

import grpc
import grpc.aio

from tensorhost.frontends.rpc import Rpc, RpcContext, RpcError, StreamRpc
from tensorhost.server.grpc.calls import Calls
from tensorhost.server.grpc.transport import LAST_CALLS_S
from tensorhost.server.listener import CannotStartError
from tensorhost.telemetry.log_limit import LogLimit

_LOG = logging.getLogger(__name__)
_CLIENTS_MAKE_THEM_SPEAK = (_LOG, logging.getLogger("grpc._cython.cygrpc"))
_STATUS = {status.value[0]: status for status in grpc.StatusCode}
_NO_REQUEST = "a request did not come: its client left, or it is larger than grpc_max_message_bytes"
_STREAM_CUT_OFF = (
    "a stream was cut off: its client left, took no answer for body_timeout_s, or sent a request larger than "
    "grpc_max_message_bytes"
)
_GOODBYE_S = 0.5

_ServicerContext = grpc.aio.ServicerContext[bytes, bytes]


class GrpcioTransport:
    """Every method, on one address.

    Args:
        calls: answers them.
        target: ``host:port``, ``[::]:port`` or ``unix:/path``; port 0 for any free one.
        options: channel arguments.
        credentials: for TLS; None for none.
        behind: whether another server of this process passes calls on: then it is not the peer that calls.
    """

    def __init__(
        self,
        calls: Calls,
        target: str,
        *,
        options: Mapping[str, int | str],
        credentials: grpc.ServerCredentials | None,
        behind: bool = False,
    ) -> None:
        self._calls = calls
        self._target = target
        self._options = options
        self._credentials = credentials
        self._behind = behind
        self._expected: dict[asyncio.Task[Any], str] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closing = False
        self._log_limit = LogLimit()
        self._addresses: list[str] = []
        self._server: grpc.aio.Server

    @property
    def addresses(self) -> list[str]:
        """Where clients reach it."""
        return list(self._addresses)

    async def open(self) -> None:
        """Listen and serve; see ``Transport``."""
        self._server = grpc.aio.server(
            handlers=[_Handlers(self._handlers(), self._expect)], options=list(self._options.items())
        )
        try:
            self._addresses = [self._listen(self._target)]
        except RuntimeError as error:
            await self._server.stop(None)
            raise CannotStartError(f"Cannot listen for gRPC on {self._target}; is it taken, or not allowed?") from error
        for logger in _CLIENTS_MAKE_THEM_SPEAK:
            logger.addFilter(self._log_limit)
        await self._server.start()

    async def close(self, deadline: float) -> int:
        """Finish and stop; see ``Transport``."""
        self._closing = True
        # Only then: gRPC answers calls that come while it stops with CANCELLED, which clients do not try again.
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=max(deadline - asyncio.get_running_loop().time(), 0.0))
        cut_off = len(self._tasks)
        if not cut_off:
            await asyncio.sleep(LAST_CALLS_S)
        await self._server.stop(None if cut_off else _GOODBYE_S)
        for logger in _CLIENTS_MAKE_THEM_SPEAK:
            logger.removeFilter(self._log_limit)
        return cut_off

    def _listen(self, target: str) -> str:
        if self._credentials is None:
            port = self._server.add_insecure_port(target)
        else:
            port = self._server.add_secure_port(target, self._credentials)
        return target if target.startswith("unix:") else f"{target.rpartition(':')[0]}:{port}"

    def _handlers(self) -> dict[str, grpc.RpcMethodHandler[Any, Any]]:
        return {
            path: grpc.unary_unary_rpc_method_handler(self._unary(rpc)) for path, rpc in self._calls.unary.items()
        } | {path: self._stream_handler(rpc) for path, rpc in self._calls.streams.items()}

    def _unary(self, rpc: Rpc) -> Callable[[bytes, _ServicerContext], Any]:
        async def answer(request: bytes, context: _ServicerContext) -> bytes:
            self._begin()
            try:
                return await self._calls.answer(rpc, request, self._context(context))
            except RpcError as error:
                await context.abort(_STATUS[error.status], error.message, tuple(error.trailers))

        return answer

    def _expect(self, method: str) -> None:
        """Remember a call whose request is on its way: gRPC's task, which ends when the answer has left."""
        task = _call_task()
        self._expected[task] = method
        task.add_done_callback(self._ended)

    def _begin(self) -> asyncio.Task[Any]:
        """The call that runs, whose request has come, or of whose requests some may."""
        task = _call_task()
        self._expected.pop(task, None)
        self._tasks.add(task)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        method = self._expected.pop(task, None)
        if method is not None:
            self._say(logging.WARNING, _NO_REQUEST, method)

    def _say(self, level: int, what: str, method: str) -> None:
        limit = self._calls.max_message_bytes
        if limit and not self._closing:
            _LOG.log(level, what, extra={"method": method, "grpc_max_message_bytes": limit})

    def _stream_handler(self, rpc: StreamRpc) -> grpc.RpcMethodHandler[Any, Any]:
        async def responses(requests: AsyncIterator[bytes], context: _ServicerContext) -> AsyncIterator[bytes]:
            task = self._begin()
            async with contextlib.aclosing(self._calls.stream(rpc, requests, self._context(context))) as stream:
                try:
                    async for response in stream:
                        # A transport in front keeps to itself that a client is gone while both directions are stopped.
                        unread = asyncio.get_running_loop().call_later(self._calls.unread_timeout_s, task.cancel)
                        try:
                            yield response
                        finally:
                            unread.cancel()
                except asyncio.CancelledError:
                    if rpc.requests:
                        self._say(logging.INFO, _STREAM_CUT_OFF, rpc.path)
                    raise
                except RpcError as error:
                    await context.abort(_STATUS[error.status], error.message, tuple(error.trailers))

        async def responses_to_one(request: bytes, context: _ServicerContext) -> AsyncIterator[bytes]:
            async for response in responses(_only(request), context):
                yield response

        if rpc.requests:
            return grpc.stream_stream_rpc_method_handler(responses)
        return grpc.unary_stream_rpc_method_handler(responses_to_one)

    def _context(self, context: _ServicerContext) -> RpcContext:
        remaining_s = context.time_remaining()
        return RpcContext(
            math.inf if remaining_s is None else time.monotonic() + remaining_s,
            dict(reversed(tuple(context.invocation_metadata() or ()))),  # of repeated keys the first
            "" if self._behind else context.peer(),
        )


class _Handlers(grpc.GenericRpcHandler):
    """Finds the handler of a method, and says so of each call before its request is there."""

    def __init__(self, handlers: dict[str, grpc.RpcMethodHandler[Any, Any]], expect: Callable[[str], None]) -> None:
        self._handlers = handlers
        self._expect = expect

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any] | None:
        """The handler, or None for an unknown method."""
        handler = self._handlers.get(handler_call_details.method)
        if handler is not None:
            self._expect(handler_call_details.method)
        return handler


def _call_task() -> asyncio.Task[Any]:
    """The task in which gRPC runs the call whose code asks for it."""
    return cast("asyncio.Task[Any]", asyncio.current_task())


async def _only(request: bytes) -> AsyncIterator[bytes]:
    yield request
