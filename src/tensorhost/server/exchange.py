"""One request and its response: the ASGI side of a connection.

The application gets the whole body in one ``http.request`` message (bounded by the connection), so that reading it
costs one await; a body in one piece is the parser's own bytes, a large one lies where it was read to, any other is
joined once, when it is asked for. The head of the response is held back until its first body message and leaves
together with it in one write.
What must stay true: every exchange ends exactly once, answered or dropped; after that nothing the application
sends reaches the wire, and its body no longer counts as buffered, nor the memory reserved for it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tensorhost.core.errors import ErrorCode
from tensorhost.server.bodies import ReservedBody, first_tensor
from tensorhost.server.refusals import STATUS_LINE, RefusedError, refusal, request_id_of

if TYPE_CHECKING:
    from tensorhost.server.connections import Connection

WHOLE_RESPONSE = "tensorhost.whole_response"
"""An ASGI extension: ``http.response.start`` may hold the whole ``body``, and no ``http.response.body`` follows.

Saves a call and a message; whatever stands between and only adds headers, such as CORS, need not know of it. Instead of
``body`` the message may hold ``pieces`` of it, bytes and memory that must not change any more, which leave unjoined.
"""

_LOG = logging.getLogger(__name__)
_JOIN_BELOW_BYTES = 65_536
_BODILESS = frozenset({204, 304})
_FRAMING_HEADERS = frozenset({b"content-length", b"transfer-encoding", b"connection"})
_SMALL_PIECE_BYTES = 4096
_MOST_ZEROS = 16
"""Memory for text may have to be filled with zeros, of which a byte that came must not bring about many more."""
_CHUNKED = -1
_UNTIL_CLOSE = -2


class Exchange:
    """Runs the application for one request.

    Args:
        connection: where the response goes.
        scope: the ASGI scope.
        keep_alive: whether the client lets the connection stay open after the response.
        expects_continue: whether the client waits for ``100 Continue`` before it sends the body.
    """

    __slots__ = (
        "_bodiless",
        "_connection",
        "_event",
        "_expects_continue",
        "_head",
        "_remaining",
        "_taken",
        "body_complete",
        "dropped",
        "finished",
        "held_bytes",
        "keep_alive",
        "pieces",
        "reserved",
        "scope",
        "started",
        "task",
        "written",
    )

    def __init__(
        self, connection: Connection, scope: dict[str, Any], *, keep_alive: bool, expects_continue: bool
    ) -> None:
        self._connection = connection
        self.scope = scope
        self.keep_alive = keep_alive
        self._expects_continue = expects_continue
        self.task: asyncio.Task[None] | None = None
        self.pieces: list[bytes | bytearray | memoryview] = []
        self.reserved: ReservedBody | None = None
        self.body_complete = False
        self.held_bytes = 0
        self._taken = False
        self._event: asyncio.Event | None = None
        self.started = False
        self.written = False
        self.finished = False
        self.dropped = False
        self._head = b""
        self._remaining = 0
        self._bodiless = False

    def add_body(self, piece: bytes | memoryview) -> None:
        """Append a piece of the request body; it counts as buffered until the exchange ends.

        Args:
            piece: bytes; once memory is reserved for the body, the beginning of its room, which has been filled.

        Raises:
            RefusedError: OVERLOADED; with it all bodies would be over their limit, and this one is not alone.
        """
        state, size = self._connection.server_state, len(piece)
        buffered = state.buffered_body_bytes
        if buffered + size > state.limits.max_buffered_body_bytes and buffered > self.held_bytes:
            raise RefusedError(ErrorCode.OVERLOADED, "The server holds as much unanswered data as it takes.")
        state.buffered_body_bytes = buffered + size
        self.held_bytes += size
        pieces = self.pieces
        if self.reserved is not None:
            self.reserved.fill(size)
        elif size >= _SMALL_PIECE_BYTES or not pieces:
            pieces.append(piece)
        elif isinstance(last := pieces[-1], bytearray):
            last += piece
        else:
            # An object for each of very many small pieces would take many times their size.
            pieces.append(bytearray(piece))

    def reserve_body(self, size: int) -> bool:
        """Take memory for all of a body of ``size`` bytes, and move what has come of it there.

        False where there is none, where too much of it is taken already, or where too little has come yet for what
        taking it costs: until then the body is collected in pieces.
        """
        state = self._connection.server_state
        if state.reserved_body_bytes + size > state.limits.max_buffered_body_bytes:
            return False
        tensors_at = first_tensor(self.scope["headers"], size)
        if tensors_at is None and self.held_bytes * _MOST_ZEROS < size:
            return False
        try:
            reserved = ReservedBody(size, tensors_at)
        except MemoryError:
            return False
        for piece in self.pieces:
            reserved.room[: len(piece)] = piece
            reserved.fill(len(piece))
        self.pieces = []
        self.reserved = reserved
        state.reserved_body_bytes += size
        return True

    def complete_body(self) -> None:
        """Note that the request has arrived completely."""
        self.body_complete = True
        self._wake()

    def drop(self) -> None:
        """End the exchange unanswered: the client is gone, or the connection answers in the application's place."""
        self.dropped = True
        self._release_body()
        self._wake()
        task = self.task
        if task is not None and not task.done():
            # A task cancelled before its first step never reaches the end of `run`, which forgets it otherwise.
            task.add_done_callback(self._connection.tasks.discard)
            task.cancel()

    async def run(self, app: Any) -> None:
        """Call the application; a fault of its own becomes one INTERNAL answer and one log record."""
        try:
            await app(self.scope, self.receive, self.send)
            if not (self.finished or self.dropped):
                self._fail("The application ended without completing its response.")
        except asyncio.CancelledError:
            if not (self.finished or self.dropped):
                self._fail("The application was cancelled before it answered.")
        except Exception:  # noqa: BLE001 - the border: one request's fault stays its own
            _LOG.exception("the application raised an exception", extra={"path": self.scope["path"]})
            if not (self.finished or self.dropped):
                self._give_up()
        finally:
            if self.task is not None:
                self._connection.tasks.discard(self.task)

    async def receive(self) -> dict[str, Any]:
        """The whole body as one ``http.request``; after it ``http.disconnect``, once the exchange is over."""
        if self._taken:
            await self._until(over=True)
        elif not self.body_complete:
            if self._expects_continue and not (self.dropped or self.started):
                self._connection.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            await self._until(over=False)
        if self._taken or self.dropped or self.finished:
            return {"type": "http.disconnect"}
        self._taken = True
        body: bytes | bytearray | memoryview
        if self.reserved is not None:
            body = self.reserved.take()
        else:
            pieces, self.pieces = self.pieces, []
            body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(self, message: Any) -> None:
        """Take an ASGI response message; a no-op once the client is gone.

        Raises:
            RuntimeError: messages out of order, a header with a line break, or a body that contradicts its length.
        """
        if self._connection.flow.write_paused and not self.dropped:
            await self._connection.flow.drain()
        if self.dropped:
            return
        kind = message["type"]
        if not self.started:
            if kind != "http.response.start":
                raise RuntimeError(f"expected http.response.start, got {kind}")
            self._start(message["status"], message.get("headers", ()))
            self.started = True
            if "body" in message:
                self._write(message["body"], more=False)
            elif "pieces" in message:
                self._write_pieces(message["pieces"])
        elif kind != "http.response.body" or self.finished:
            raise RuntimeError(f"unexpected {kind}")
        else:
            self._write(message.get("body", b""), more=message.get("more_body", False))

    def _start(self, status: int, headers: Any) -> None:
        connection = self._connection
        lines = [STATUS_LINE.get(status) or b"HTTP/1.1 %d \r\n" % status, connection.server_state.date_line]
        length: int | None = None
        says_close = False
        for name, value in headers:
            lower = name.lower()
            if lower in _FRAMING_HEADERS:
                if lower == b"content-length":
                    length = int(value)
                elif lower == b"transfer-encoding":
                    continue  # framing is this module's own business
                elif b"close" in value.lower():
                    self.keep_alive, says_close = False, True
            lines.append(b"%b: %b\r\n" % (name, value))
        self._bodiless = status in _BODILESS or self.scope["method"] == "HEAD"
        if length is not None:
            self._remaining = 0 if self._bodiless else length
        elif not self._bodiless:
            if self.scope["http_version"] == "1.0":
                self._remaining, self.keep_alive = _UNTIL_CLOSE, False
            else:
                self._remaining = _CHUNKED
                lines.append(b"transfer-encoding: chunked\r\n")
        if self.keep_alive and connection.server_state.draining and not connection.owes_more:
            self.keep_alive = False
        if not self.keep_alive and not says_close:
            lines.append(b"connection: close\r\n")
        lines.append(b"\r\n")
        head = b"".join(lines)
        # Every line, the empty one too, ends once in two bytes; any more of them, or a zero, and the sum is another.
        if len(head) - len(head.translate(None, b"\r\n\0")) != 2 * len(lines):
            raise RuntimeError("a response header contains a line break or a zero byte")
        self._head = head

    def _write(self, body: bytes, *, more: bool) -> None:
        size = len(body)
        if self._remaining == _CHUNKED:
            body = b"%x\r\n%b\r\n" % (size, body) if size else b""
            if not more:
                body += b"0\r\n\r\n"
        elif self._remaining != _UNTIL_CLOSE:
            if self._bodiless:
                body, size = b"", 0
            self._remaining -= size
            if self._remaining < 0 or (self._remaining and not more):
                raise RuntimeError("the response body contradicts its content-length")
        write = self._connection.transport.write
        self.written = True
        if self._head:
            head, self._head = self._head, b""
            if size < _JOIN_BELOW_BYTES:
                body = head + body
            else:
                write(head)
        if body:
            write(body)
        if not more:
            self.finished = True
            self._release_body()
            if self._event is not None:
                self._event.set()
            self._connection.exchange_finished(self)

    def _write_pieces(self, pieces: Sequence[bytes | memoryview]) -> None:
        size = sum(map(len, pieces))
        if size < _JOIN_BELOW_BYTES or size != self._remaining:
            # Too little to tell apart; or to leave in chunks, or not at all, as any other body would.
            self._write(b"".join(pieces), more=False)
            return
        head, self._head = self._head, b""
        self.written = True
        self._connection.transport.writelines((head, *pieces))
        self._remaining = 0
        self._write(b"", more=False)

    def _fail(self, reason: str) -> None:
        _LOG.error(reason, extra={"path": self.scope["path"]})
        self._give_up()

    def _give_up(self) -> None:
        """Answer INTERNAL while nothing has left yet; else cut the connection: half must not pass for whole."""
        if self.written:
            self._connection.transport.abort()
            return
        connection = self._connection
        answer = refusal(
            ErrorCode.INTERNAL,
            "The server failed to answer this request.",
            path=self.scope["path"],
            request_id=request_id_of(self.scope["headers"]),
            date_line=connection.server_state.date_line,
            head_only=self.scope["method"] == "HEAD",
        )
        self.written = self.finished = True
        self._release_body()
        self.keep_alive = False
        connection.transport.write(answer)
        connection.exchange_finished(self)

    def _release_body(self) -> None:
        """Stop counting the body; once for all, however often it is called."""
        state = self._connection.server_state
        state.buffered_body_bytes -= self.held_bytes
        self.held_bytes = 0
        if self.reserved is not None:
            state.reserved_body_bytes -= self.reserved.size
            self.reserved = None

    async def _until(self, *, over: bool) -> None:
        """Wait for the whole body, or (``over``) for the end of the exchange."""
        while not (self.dropped or self.finished or (self.body_complete and not over)):
            if self._event is None:
                self._event = asyncio.Event()
            self._event.clear()
            await self._event.wait()

    def _wake(self) -> None:
        if self._event is not None:
            self._event.set()
