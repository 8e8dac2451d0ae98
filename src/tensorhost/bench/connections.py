"""Lanes over HTTP: kept-alive connections that send the same prepared bytes again and again.

No HTTP library: one write and one search for the end of the answer's head per request, since the generator shares
the machine with the server. A connection that ends is made anew by the next request, after a pause where it could not
be made.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Sequence
from typing import cast

from tensorhost.bench.pacing import BROKEN, UNREACHABLE, Finished
from tensorhost.bench.plan import HttpTarget
from tensorhost.bench.responses import BadResponseError, Response, ResponseReader
from tensorhost.telemetry import TOO_MANY_OPEN_FILES

NOT_HTTP = "INVALID_ANSWER"
"""Counted when what came back was no HTTP response."""

NO_FILES = "TOO_MANY_OPEN_FILES"
"""Counted when this machine's own limit of open files kept a connection from being made."""

_RETRY_S = 0.1


class Connection(asyncio.Protocol):
    """One lane: a connection to the target, made when it is first needed."""

    def __init__(self, target: HttpTarget, request: bytes, tls: ssl.SSLContext | None) -> None:
        self._target = target
        self._request = request
        self._tls = tls
        self._transport: asyncio.Transport | None = None
        self._reader = ResponseReader()
        self._finished: Finished | None = None
        self._connecting: asyncio.Task[None] | None = None

    def send(self, finished: Finished) -> None:
        """Write the request, connecting first where there is no connection."""
        self._finished = finished
        if self._transport is None:
            self._connecting = asyncio.get_running_loop().create_task(self._connect_and_send())
        else:
            self._transport.write(self._request)

    def abandon(self) -> None:
        """Close the connection; its request is not answered any more."""
        self._finished = None
        self.close()

    def close(self) -> None:
        """Let go of the connection."""
        if self._connecting is not None:
            self._connecting.cancel()
            self._connecting = None
        if self._transport is not None:
            self._transport.abort()
            self._transport = None

    async def connect(self) -> None:
        """Have a connection. Raises OSError."""
        if self._transport is None:
            target = self._target
            loop = asyncio.get_running_loop()
            self._reader = ResponseReader()
            name = target.host if self._tls else None
            await loop.create_connection(lambda: self, target.host, target.port, ssl=self._tls, server_hostname=name)

    async def _connect_and_send(self) -> None:
        try:
            await self.connect()
        except OSError as error:
            await asyncio.sleep(_RETRY_S)
            self._connecting = None
            self._answer(failure_code(error))
            return
        self._connecting = None
        if self._transport is not None:
            self._transport.write(self._request)

    def _answer(self, error: str | None) -> None:
        finished, self._finished = self._finished, None
        if finished is not None:
            finished(self, error)

    # -- what asyncio calls ----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way to write."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are none by inheritance

    def data_received(self, data: bytes) -> None:
        """Count an answer once it is whole."""
        try:
            response = self._reader.feed(data)
        except BadResponseError:
            self.close()
            self._answer(NOT_HTTP)
            return
        if response is not None:
            if not response.stays_open:
                self.close()
            self._answer(_error_of(response))

    def connection_lost(self, _error: Exception | None) -> None:
        """Count the request as failed, unless its answer ends with the connection."""
        # After ``close`` it comes in the loop's next turn, before there can be another connection.
        if self._transport is None:
            return
        self._transport = None
        response = self._reader.end()
        self._answer(BROKEN if response is None else _error_of(response))


def open_lanes(target: HttpTarget, body: bytes, count: int) -> list[Connection]:
    """``count`` lanes that post ``body``; none is connected yet."""
    request = target.head.encode("latin-1") + body
    tls = ssl.create_default_context() if target.tls else None
    return [Connection(target, request, tls) for _ in range(count)]


async def connect_all(lanes: Sequence[Connection]) -> None:
    """Connect every lane, a few at a time, as the queue of a listener is short. Raises OSError."""
    for start in range(0, len(lanes), 64):
        await asyncio.gather(*(lane.connect() for lane in lanes[start : start + 64]))


def failure_code(error: OSError) -> str:
    """What a connection that could not be made is counted as: nobody answers there, or it is this machine's limit."""
    return NO_FILES if error.errno in TOO_MANY_OPEN_FILES else UNREACHABLE


def failure_message(error: OSError) -> str:
    """The same as a sentence for the user."""
    if error.errno in TOO_MANY_OPEN_FILES:
        return f"{error.strerror}: the system allows fewer connections than asked for; raise its limit (ulimit -n)."
    return f"No connection could be made: {error.strerror or error}."


def _error_of(response: Response) -> str | None:
    """None for success, else the server's error code, or the status where the answer names none."""
    if 200 <= response.status < 300:
        return None
    try:
        code = json.loads(response.body)["error"]["code"]
    except (ValueError, KeyError, TypeError):
        return f"HTTP_{response.status}"
    return code if isinstance(code, str) and code.isidentifier() else f"HTTP_{response.status}"
