"""The fast transport: HTTP/2 in Rust threads that never wait for the interpreter, calls handed over in batches.

One thread of ours per address waits for calls and passes each batch to the event loop in one hop; everything else
happens on the loop. Rust answers a call whose deadline has passed, and says when a client is gone.

It receives a message completely, and decompresses it, before Python sees it: there is no limit it could keep on the
way. ``choice.py`` knows when that matters.
"""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

from pygrpc_native import EVENT_CANCEL, NativeGrpcFront

from tensorhost.frontends.rpc import Rpc, RpcContext, RpcError, RpcStatus
from tensorhost.server.grpc.calls import Calls
from tensorhost.server.grpc.transport import LAST_CALLS_S
from tensorhost.server.listener import CannotStartError

_LOG = logging.getLogger(__name__)
_BATCH = 256
_POLL_S = 0.005
_FLUSH_S = 0.5


class NativeTransport:
    """Unary methods on one address.

    Args:
        calls: answers them.
        target: ``host:port`` with an address or name, ``[::]:port``, or ``unix:/path``; port 0 for any free one.
        threads: of Rust, for the sockets.
        options: further arguments of the front.
        fallback: the Unix socket of a gRPC server that serves what this one cannot; None for none.
    """

    def __init__(
        self,
        calls: Calls,
        target: str,
        *,
        threads: int,
        options: Mapping[str, Any] | None = None,
        fallback: str | None = None,
    ) -> None:
        self._calls = calls
        self._target = target
        self._options = {"io_threads": threads, **(options or {})}
        self._fallback = fallback
        self._rpcs: Sequence[Rpc] = list(calls.unary.values())
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._abandoned: set[asyncio.Task[None]] = set()
        self._front: NativeGrpcFront
        self._loop: asyncio.AbstractEventLoop
        self._receiver: threading.Thread

    @property
    def addresses(self) -> list[str]:
        """Where clients reach it."""
        if self._target.startswith("unix:"):
            return [self._target]
        return [f"{self._target.rpartition(':')[0]}:{self._front.bound_port}"]

    async def open(self) -> None:
        """Listen and serve; see ``Transport``."""
        methods = [(rpc.path, False) for rpc in self._rpcs]
        try:
            self._front = NativeGrpcFront(self._target, methods, call_details=True, metrics=True, **self._options)
        except OSError as error:
            raise CannotStartError(f"Cannot listen for gRPC on {self._target}: {_reason(error)}.") from error
        self._loop = asyncio.get_running_loop()
        if self._fallback is not None:
            self._front.set_fallback(self._fallback)
        self._front.start()
        self._receiver = threading.Thread(target=self._receive, name="grpc-receive", daemon=True)
        self._receiver.start()

    async def close(self, deadline: float) -> int:
        """Finish and stop; see ``Transport``."""
        # Those that come from now on are refused in a turn of the loop; the last of them may never come.
        begun = set(self._tasks.values())
        if begun:
            _, begun = await asyncio.wait(begun, timeout=max(deadline - self._loop.time(), 0.0))
        cut_off = len(begun)
        if not cut_off:
            await asyncio.sleep(LAST_CALLS_S)
        left = [*self._tasks.values(), *self._abandoned]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        for call_id in list(self._tasks):
            # Cancelled before its first step, so that it could not answer by itself.
            self._give_up(call_id)
            del self._tasks[call_id]
        cut_off += await self._flush(deadline)
        await asyncio.to_thread(self._close_front)
        return cut_off

    async def _flush(self, deadline: float) -> int:
        """Wait until every answer has left, which closing the front does not; the number of those that had no time."""
        flushed_by = max(deadline, self._loop.time() + _FLUSH_S)
        while (unsent := self._unsent()) and self._loop.time() < flushed_by:  # noqa: ASYNC110 - Rust sets no event
            await asyncio.sleep(_POLL_S)
        return unsent

    def _unsent(self) -> int:
        """Calls whose last byte has not been given to a socket."""
        methods = (self._front.metrics() or {})["methods"].values()
        return sum(
            method["started"] - sum(status["count"] for status in method["status"].values()) for method in methods
        )

    def _close_front(self) -> None:
        self._front.close()
        self._receiver.join()

    def _receive(self) -> None:
        """Take calls until the front closes; on a thread of its own."""
        while (events := self._front.recv_batch_details(_BATCH)) is not None:
            try:
                self._loop.call_soon_threadsafe(self._begin, events)
            except RuntimeError:  # the loop has ended without ``close``: nobody is left to answer
                _LOG.warning("the event loop ended before the gRPC server")
                self._front.close()
                return

    def _begin(self, events: Sequence[tuple[Any, ...]]) -> None:
        """Begin the calls of one batch together, so that their rows meet in the same queues at the same time."""
        for kind, call_id, method, request, _client, details in events:
            if kind == EVENT_CANCEL:
                self._abandon(call_id)
                continue
            metadata, peer, remaining_s = details
            context = RpcContext(
                math.inf if remaining_s is None else time.monotonic() + remaining_s,
                dict(reversed(metadata)),  # of repeated keys the first
                peer,
            )
            task = self._loop.create_task(self._answer(call_id, self._rpcs[method], request, context))
            self._tasks[call_id] = task

    def _abandon(self, call_id: int) -> None:
        """The client is gone, or its deadline has passed; it has been answered if it could be."""
        task = self._tasks.pop(call_id, None)
        if task is not None:
            self._abandoned.add(task)
            task.add_done_callback(self._abandoned.discard)
            task.cancel()

    async def _answer(self, call_id: int, rpc: Rpc, request: bytes, context: RpcContext) -> None:
        try:
            response = await self._calls.answer(rpc, request, context)
        except RpcError as error:
            self._front.fail(call_id, error.status, error.message, list(error.trailers) or None)
        except asyncio.CancelledError:
            # Nobody listens unless it is the server that gives up.
            self._give_up(call_id)
            raise
        else:
            self._front.respond(call_id, response)
        finally:
            self._tasks.pop(call_id, None)

    def _give_up(self, call_id: int) -> None:
        self._front.fail(call_id, RpcStatus.UNAVAILABLE, "The server stopped before it could answer.")


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).partition(" (os error")[0].lower()
