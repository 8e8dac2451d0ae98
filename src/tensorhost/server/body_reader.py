"""What a transport talks to in a connection's place while large bodies come: it reads them to where they are to lie.

A protocol that is handed bytes gets them in objects that the event loop made; the parser makes others of those, and of
these a body is joined: three copies, and memory asked for and given back with each. This protocol tells the event loop
where to read to, which is never more than what is missing of the body, whatever follows it.
What must stay true: a connection is handed back with its first request that is not large, since a small one is served
faster from bytes. What the event loop was told is used up before anything else runs, so the memory that is read into
between bodies is shared by all connections.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tensorhost.server.connections import Connection
    from tensorhost.server.exchange import Exchange

LEAST_BYTES = 2**18
"""Smaller bodies are left to the parser: event loops read them at once, so there is nothing to join, and the two copies
of such a body that are saved take no longer than what saves them."""


class BodyReader(asyncio.BufferedProtocol):
    """Reads for a connection: large bodies past its parser, and what comes between them into it.

    Args:
        connection: what all that happens is passed on to.
        scratch: memory for what is no body, and for what nobody wants any more of one.
    """

    def __init__(self, connection: Connection, scratch: memoryview) -> None:
        self._connection = connection
        self._scratch = scratch
        self._is_reading = False
        self._exchange: Exchange | None = None
        self._missing = 0

    def begin(self, exchange: Exchange, missing: int) -> None:
        """Read the body of ``exchange``, of which ``missing`` bytes are to come, to the memory reserved for it."""
        self._exchange, self._missing = exchange, missing
        if not self._is_reading:
            self._is_reading = True
            self._connection.transport.set_protocol(self)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - asyncio's signature
        """Where the next bytes are to go."""
        if self._exchange is None:
            return self._scratch
        reserved = self._exchange.reserved
        # Once the request is answered or refused, the rest of it is thrown away.
        return self._scratch[: self._missing] if reserved is None else reserved.room

    def buffer_updated(self, nbytes: int) -> None:
        """So many bytes have been read to where ``get_buffer`` said."""
        if self._exchange is None:
            self._connection.data_received(self._scratch[:nbytes])
            if self._exchange is None:
                self._hand_back()
            return
        piece = self.get_buffer(nbytes)[:nbytes]
        self._missing -= nbytes
        if not self._missing:
            self._exchange = None
        self._connection.body_read(piece, is_last=not self._missing)

    def _hand_back(self) -> None:
        self._is_reading = False
        self._connection.transport.set_protocol(self._connection)

    def eof_received(self) -> None:
        """The client sends no more."""
        self._connection.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone."""
        self._connection.connection_lost(exc)

    def pause_writing(self) -> None:
        """The client reads more slowly than answers are written."""
        self._connection.pause_writing()

    def resume_writing(self) -> None:
        """The client has read most of what was written."""
        self._connection.resume_writing()
