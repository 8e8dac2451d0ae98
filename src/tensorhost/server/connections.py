"""One client connection: uvicorn's HTTP protocol with the limits and the endings it lacks.

Taken from uvicorn: the parser set-up, the address lookup, the request line, the write flow control. Added here: a total
time for a request's head, least speeds for bodies and responses, limits on head, bodies and connections, refusal of
ambiguous framing, errors in the one JSON shape and in their turn, cancelling what a client left behind.
Bodies are collected up to the limit without pausing the socket, so a large one costs one wake-up, not one per 64 KiB;
what is still to come of a large one is read past the parser (``body_reader``).
A client that sends end-of-file counts as gone, even if it only closed its sending half: the two look the same, and
work for clients that are gone must leave the batch queue.
What must stay true: one request runs at a time, answers leave in the order of the requests, and a refused connection
reads nothing more.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from tensorhost.core.errors import ErrorCode
from tensorhost.server.body_reader import LEAST_BYTES, BodyReader
from tensorhost.server.exchange import WHOLE_RESPONSE, Exchange
from tensorhost.server.framing import FRAMING_HEADERS, Framing, FramingError, head_without_upgrade, split_target
from tensorhost.server.refusals import RefusedError, refusal, request_id_of
from tensorhost.server.registry import Registry
from tensorhost.server.watch import Phase, Verdict, Watch

_LOG = logging.getLogger(__name__)

_MAX_LINGERING = 1024
_MAX_PIPELINED = 256
_HEADER_OVERHEAD_BYTES = 4  # ": " and the line end
_ASGI = {"version": "3.0", "spec_version": "2.3"}
_EXTENSIONS: dict[str, dict[str, Any]] = {WHOLE_RESPONSE: {}}
# Names of their own: looking a member up on its Enum takes ten times as long, and every request does so often.
_IDLE, _HEAD, _BODY, _WAITING = Phase.IDLE, Phase.HEAD, Phase.BODY, Phase.WAITING


class Connection(HttpToolsProtocol):
    """The protocol object of one client. Made by the listener; lives until ``connection_lost``."""

    server_state: Registry

    def __init__(self, config: Any, server_state: Registry, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(config, server_state, {}, loop)
        # A strict parser: unlike uvicorn's it reads nothing after a request that said `Connection: close`.
        self.parser = httptools.HttpRequestParser(self)
        self.url = b""
        self.running: Exchange | None = None
        self._limits = server_state.limits
        self._watch = Watch(self._limits, loop.time())
        self._receiving: Exchange | None = None
        self._queue: list[Exchange] = []
        self._farewell: bytes | None = None
        self._deaf = False
        self._upgrading = False
        self._head_bytes = 0
        self._fed_bytes = 0
        self._chunk_shared = False
        self._framing = Framing()
        self._body_bytes = 0
        self._body_reader: BodyReader | None = None

    # What the transport says.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn narrows it
        """Start serving, or refuse with OVERLOADED when the server is full."""
        super().connection_made(transport)
        self._enter(_IDLE)
        if len(self.connections) > self._limits.max_connections:
            self.refuse(ErrorCode.OVERLOADED, "The server has as many connections as it takes; try again later.")

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Cancel what is still running for this client."""
        self.connections.discard(self)
        self.server_state.lingering.discard(self)
        self._deaf = True
        self._drop_all()
        self.flow.resume_writing()
        self.parser = None  # type: ignore[assignment]  # as uvicorn does: parser and connection hold each other
        self._body_reader = None

    def data_received(self, data: bytes | memoryview) -> None:
        """Feed the parser; refuse what is broken or too large."""
        if self._deaf:
            self._watch.progress(self.loop.time())
            return
        while data and not self._deaf:
            data = self._feed(data)

    # What the parser says.

    def on_message_begin(self) -> None:
        """A request's first byte: its head must be complete within the header timeout."""
        if len(self._queue) >= _MAX_PIPELINED:
            raise RefusedError(ErrorCode.OVERLOADED, "Too many requests were sent ahead on this connection.")
        self.url = b""
        self.headers = []
        self.expect_100_continue = False
        self._head_bytes = -self._fed_bytes if self._chunk_shared else 0
        self._framing.reset()
        self._watch.enter(_HEAD, self.loop.time())

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header; those that frame the request are checked. Trailers are dropped."""
        if self._watch.phase is not _HEAD:
            return
        name = name.lower()
        if name in FRAMING_HEADERS:
            self._framing.note(name, value)
        elif name == b"expect":
            self.expect_100_continue = value.lower() == b"100-continue"
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Start the application, or queue the request behind the one that runs."""
        if self.parser.should_upgrade():
            self._upgrading = True
            return
        limit = self._limits.max_header_bytes
        if max(self._fed_bytes, self._head_bytes + self._fed_bytes) > limit:
            self._check_head_size(
                len(self.url) + sum(len(name) + len(value) + _HEADER_OVERHEAD_BYTES for name, value in self.headers)
            )
        version = self.parser.get_http_version()
        self._framing.check(version)
        self._body_bytes = 0
        self._check_body_size(self._framing.content_length or 0)
        exchange = Exchange(
            self,
            self._make_scope(version),
            keep_alive=version == "1.1" and self.parser.should_keep_alive(),
            expects_continue=self.expect_100_continue and version == "1.1",
        )
        self._receiving = exchange
        self._watch.enter(_BODY, self.loop.time())
        if self.running is None:
            self._run(exchange)
        else:
            self.flow.pause_reading()
            self._queue.append(exchange)

    def on_body(self, body: bytes | memoryview) -> None:
        """Collect a piece of the body, up to the limits."""
        exchange = self._receiving
        if exchange is None:
            return
        size = len(body)
        self._watch.body_arrived(size, self.loop.time())
        if self._framing.chunked:
            # A body of a declared length was compared with the limit when its head came; the parser reads no more.
            self._body_bytes += size
            self._check_body_size(self._body_bytes)
        if not (exchange.finished or exchange.dropped):
            exchange.add_body(body)

    def on_message_complete(self) -> None:
        """The whole request is here."""
        if self._upgrading or self._receiving is None:
            return
        exchange, self._receiving = self._receiving, None
        self._chunk_shared = True
        exchange.complete_body()
        self._watch.enter(_IDLE if self.running is None else _WAITING, self.loop.time())

    # What the reader of large bodies says.

    def body_read(self, piece: memoryview, *, is_last: bool) -> None:
        """A piece of the body that is being received has been read past the parser.

        The last one leaves the parser in the middle of a body: another one reads what follows.
        """
        exchange = self._receiving
        if self._deaf or exchange is None:
            self._watch.progress(self.loop.time())
            return
        try:
            self.on_body(piece)
        except RefusedError as refused:
            self.refuse(refused.code, refused.message)
            return
        if is_last:
            self.parser = httptools.HttpRequestParser(self)
            # The old one would have read nothing after a request that asked to close.
            self._deaf = not exchange.keep_alive
            self.on_message_complete()

    # What the exchange says.

    @property
    def owes_more(self) -> bool:
        """Whether answers are due behind the one to the running request."""
        return bool(self._queue) or self._farewell is not None

    def exchange_finished(self, exchange: Exchange) -> None:
        """The running exchange's response is complete: go on with the next, wait for one, or close."""
        self.server_state.total_requests += 1
        self.running = None
        if self.transport.is_closing():
            return
        if not exchange.keep_alive:
            if self.server_state.draining or not exchange.body_complete:
                self._part(b"")
            else:
                self.transport.close()
        elif self._queue:
            self._run(self._queue.pop(0))
            if not self._queue:
                self.flow.resume_reading()
                if self._receiving is not None:
                    # Reading was paused, so the client could not send the rest until now.
                    self._enter(_BODY)
        elif self._farewell is not None:
            self._part(self._farewell)
        else:
            if self.flow.read_paused:
                self.flow.resume_reading()
            if self._watch.phase is _WAITING:
                self._watch.enter(_IDLE, self.loop.time())

    # What the server says.

    def idle_since(self, instant: float) -> bool:
        """Whether no request has begun after ``instant``, on the loop's clock, and none is unanswered."""
        return self._watch.phase is _IDLE and self._watch.entered <= instant

    @property
    def owes_bytes(self) -> bool:
        """Whether a request is unanswered or its answer has not left completely."""
        return self.running is not None or self.transport.get_write_buffer_size() > 0

    def check(self, now: float) -> None:
        """Act on a deadline that has passed. ``now`` is the loop's time, in seconds."""
        verdict = self._watch.verdict(now, self.transport.get_write_buffer_size())
        if verdict is Verdict.CLOSE:
            self.transport.close()
        elif verdict is Verdict.HEAD_LATE:
            self.refuse(ErrorCode.REQUEST_TIMEOUT, "The request's head did not arrive in time.")
        elif verdict is Verdict.BODY_LATE:
            self.refuse(ErrorCode.REQUEST_TIMEOUT, "The request's body arrived too slowly.")
        elif verdict is Verdict.ABORT:
            self.transport.abort()

    def cut_off(self) -> None:
        """End everything now: running requests get SHUTTING_DOWN where nothing was sent yet, the rest is dropped."""
        running = self.running
        if running is not None and not running.written:
            path, headers = running.scope["path"], running.scope["headers"]
            message = "The server stopped before it could answer."
            self.transport.write(self._refusal(ErrorCode.SHUTTING_DOWN, message, path, headers))
            self._drop_all()
            self._deaf = True
            self.transport.close()
        else:
            self.transport.abort()

    def refuse(self, code: ErrorCode, message: str) -> None:
        """Answer with an error, after the answers that are due before it, and close; read nothing more.

        If the body of the running request is what is wrong, that request is cancelled and gets the error.
        """
        if self._deaf or self.transport.is_closing():
            return
        self._deaf = True
        answer = self._refusal(code, message, self.url.decode("latin-1"), self.headers or ())
        faulty, self._receiving = self._receiving, None
        if faulty is not None and faulty in self._queue:
            self._queue.remove(faulty)
            faulty.drop()
        elif faulty is not None and faulty.finished:
            answer = b""
        elif faulty is not None:
            self.running = None
            faulty.drop()
            if faulty.written:
                self.transport.abort()
                return
        if self.running is None:
            self._part(answer)
        else:
            self._farewell = answer
            self._enter(_WAITING)

    def _feed(self, data: bytes | memoryview) -> bytes:
        """Let the parser read ``data``; returns what must still be fed."""
        self._fed_bytes = len(data)
        self._chunk_shared = False
        try:
            self.parser.feed_data(data)
            phase = self._watch.phase
            if phase is _HEAD:
                self._head_bytes += len(data)
                self._check_head_size(self._head_bytes)
            elif phase is _BODY:
                self._read_past_parser()
        except httptools.HttpParserUpgrade as upgrade:
            return self._without_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError as error:
            self._parser_failed(error)
        except RefusedError as refused:
            self.refuse(refused.code, refused.message)
        return b""

    def _read_past_parser(self) -> None:
        """Have the rest of a large body, where it is wanted, read to where it is to lie."""
        exchange, size = self._receiving, self._framing.content_length
        if exchange is None or size is None or size < LEAST_BYTES or exchange.finished or exchange.dropped:
            return
        if exchange.reserve_body(size):
            if self._body_reader is None:
                self._body_reader = BodyReader(self, self.server_state.scratch)
            self._body_reader.begin(exchange, size - exchange.held_bytes)

    def _enter(self, phase: Phase) -> None:
        self._watch.enter(phase, self.loop.time())

    def _run(self, exchange: Exchange) -> None:
        self.running = exchange
        # With a name, or every task would have one made up for it.
        task = self.loop.create_task(exchange.run(self.app), name="request")
        exchange.task = task
        self.tasks.add(task)

    def _part(self, answer: bytes) -> None:
        """Send the last answer and close so that the client can read it.

        Closing with unread data in the socket would reset the connection and could destroy the answer on its way.
        So only the sending side is closed, and what still comes is thrown away for a short while.
        """
        self._deaf = True
        self.connections.discard(self)
        if answer:
            self.transport.write(answer)
        self.flow.resume_reading()
        if not self.transport.can_write_eof() or len(self.server_state.lingering) >= _MAX_LINGERING:
            self.transport.close()
            return
        self.server_state.lingering.add(self)
        self.transport.write_eof()
        self._enter(Phase.PARTING)

    def _drop_all(self) -> None:
        for exchange in (self.running, self._receiving, *self._queue):
            if exchange is not None and not exchange.finished:
                exchange.drop()
        self.running = self._receiving = None
        self._queue.clear()

    def _refusal(self, code: ErrorCode, message: str, path: str, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
        self.server_state.on_refused(code)
        request_id = request_id_of(headers)
        _LOG.info("request refused", extra={"code": code.value, "reason": message, "request_id": request_id})
        return refusal(code, message, path=path, request_id=request_id, date_line=self.server_state.date_line)

    def _check_head_size(self, size: int) -> None:
        limit = self._limits.max_header_bytes
        if size > limit:
            raise RefusedError(ErrorCode.HEADERS_TOO_LARGE, f"The request head must be at most {limit} bytes.")

    def _check_body_size(self, size: int) -> None:
        limit = self._limits.max_body_bytes
        if size > limit:
            raise RefusedError(ErrorCode.PAYLOAD_TOO_LARGE, f"The request body must be at most {limit} bytes.")

    def _parser_failed(self, error: httptools.HttpParserError) -> None:
        cause = error.__context__  # what one of the callbacks above raised
        if isinstance(cause, RefusedError):
            self.refuse(cause.code, cause.message)
        elif isinstance(cause, FramingError):
            self.refuse(ErrorCode.INVALID_REQUEST, str(cause))
        elif isinstance(error, httptools.HttpParserCallbackError):
            _LOG.error("a connection callback failed", exc_info=cause or error)
            self.refuse(ErrorCode.INTERNAL, "The server failed to read this request.")
        elif self._receiving is None and self._last_request_was_final():
            self._deaf = True  # bytes after a request that asked to close: nobody waits for an answer to them
        else:
            self.refuse(ErrorCode.INVALID_REQUEST, f"The request is not valid HTTP: {error}.")

    def _last_request_was_final(self) -> bool:
        last = self._queue[-1] if self._queue else self.running
        return last is not None and not last.keep_alive

    def _without_upgrade(self, rest: bytes | memoryview) -> bytes:
        """What to parse instead of a request to change the protocol (such as ``h2c``): the same without asking.

        The parser skips the body of such a request, and would read it as the next one. So the checked head goes,
        without its ``Upgrade`` header, through a new parser, and ``rest``, what came after it, follows.
        """
        self._upgrading = False
        method = self.parser.get_method()
        if method == b"CONNECT":
            self.refuse(ErrorCode.METHOD_NOT_ALLOWED, "CONNECT is not supported.")
            return b""
        head = head_without_upgrade(method, self.url, self.parser.get_http_version(), self.headers)
        self.parser = httptools.HttpRequestParser(self)
        return head + rest

    def _make_scope(self, version: str) -> dict[str, Any]:
        path, raw_path, query_string = split_target(self.url)
        return {
            "type": "http",
            "asgi": _ASGI,
            "extensions": _EXTENSIONS,
            "http_version": version,
            "method": self.parser.get_method().decode("ascii"),
            "scheme": self.scheme,
            "path": path,
            "raw_path": raw_path,
            "query_string": query_string,
            "root_path": "",
            "headers": self.headers,
            "client": self.client,
            "server": self.server,
        }
