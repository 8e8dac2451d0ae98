"""A load generator for one unary gRPC method that costs little itself: HTTP/2 frames by hand, one thread, no library.

Run as a process: ``python -m benchmarks.grpc_load HOST PORT PATH BODY_FILE CONNECTIONS IN_FLIGHT SECONDS``; see
``grpc_generator`` for the other side of it. gRPC's own Python clients take more of the processor for a call than the
servers that are to be measured; with two cores for both, one would measure the client. It prints a line when it is
connected, begins at a line on standard input, and ends with its figures as JSON.

Every call is answered with its own stream's frames. Answers are not judged here: each that differs from those before
it is kept, for somebody who knows what is right. A call without a whole message counts as failed. It knows just enough
of HTTP/2: no padding, no pushes, and of trailers only that they end a call.
"""

from __future__ import annotations

import base64
import json
import select
import socket
import struct
import sys
import time
from pathlib import Path

from benchmarks.figures import percentile
from benchmarks.grpc_frames import (
    ACK,
    DATA,
    END_STREAM,
    GOAWAY,
    HEAD_BYTES,
    HEADERS,
    PING,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    UNASKED_BYTES,
    WINDOW_UPDATE,
    Outgoing,
    Pieces,
    frame,
    request_headers,
    window_settings,
)

_WINDOW_BYTES = 2**31 - 2**17
_REFILL_BYTES = 2**30
_READ_BYTES = 2**18
_MOST_PIECES = 1024
_MESSAGE_HEAD_BYTES = 5
_SILENCE_S = 30
_MOST_ANSWERS = 1000
"""How many different answers one request may have: batches round differently, but not without end."""


class ServerGaveUpError(RuntimeError):
    """The connection is of no use any more, or what comes over it is."""


class Connection:
    """One HTTP/2 connection with so many calls in flight, each followed by the next."""

    def __init__(self, host: str, port: int, path: str, body: bytes) -> None:
        self._socket = socket.create_connection((host, port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._outgoing = Outgoing(request_headers(host, path), b"\0" + struct.pack(">I", len(body)) + body)
        self._received = b""
        self._taken = 0
        self._stream = 1
        self._started: dict[int, float] = {}
        self._messages: dict[int, bytes] = {}
        self.latencies: list[float] = []
        self.answers: set[bytes] = set()
        self.failed = 0
        window = struct.pack(">I", _WINDOW_BYTES - UNASKED_BYTES)
        settings = window_settings(_WINDOW_BYTES)
        self._socket.sendall(PREFACE + frame(SETTINGS, 0, 0, settings) + frame(WINDOW_UPDATE, 0, 0, window))

    def fileno(self) -> int:
        """The socket's."""
        return self._socket.fileno()

    def close(self) -> None:
        """Leave; what is in flight is not waited for."""
        self._socket.close()

    def begin(self, calls: int) -> None:
        """Send so many calls at once."""
        for _ in range(calls):
            self._send(self._call())

    @property
    def in_flight(self) -> int:
        """Calls without an answer yet."""
        return len(self._started)

    def take(self, *, go_on: bool) -> None:
        """Read what has come, and send another call for each that is complete if told to.

        Raises:
            ServerGaveUpError: the connection was closed, or the answers differ without end.
        """
        data = self._socket.recv(_READ_BYTES)
        if not data:
            raise ServerGaveUpError("the server closed the connection")
        self._taken += len(data)
        received = self._received + data
        out, at, end = Pieces(), 0, len(received)
        while end - at >= HEAD_BYTES:
            size = int.from_bytes(received[at : at + 3], "big")
            if end - at < HEAD_BYTES + size:
                break
            kind, flags, stream = received[at + 3], received[at + 4], int.from_bytes(received[at + 5 : at + 9], "big")
            payload = received[at + HEAD_BYTES : at + HEAD_BYTES + size]
            at += HEAD_BYTES + size
            if kind == DATA:
                self._messages[stream] = self._messages.get(stream, b"") + payload
            if kind == RST_STREAM or (kind in (HEADERS, DATA) and flags & END_STREAM):
                self._complete(stream)
                if go_on:
                    out += self._call()
            elif kind > HEADERS:
                out += self._control(kind, flags, stream, payload)
        self._received = received[at:]
        if self._taken > _REFILL_BYTES:
            out.append(frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", self._taken)))
            self._taken = 0
        self._send(out)

    def _send(self, pieces: Pieces) -> None:
        for at in range(0, len(pieces), _MOST_PIECES):
            some = pieces[at : at + _MOST_PIECES]
            size, sent = sum(map(len, some)), self._socket.sendmsg(some)
            if sent < size:
                self._socket.sendall(b"".join(some)[sent:])

    def _control(self, kind: int, flags: int, stream: int, payload: bytes) -> Pieces:
        """What a frame that is no part of an answer is answered with."""
        if kind == WINDOW_UPDATE:
            return self._outgoing.widen(stream, int.from_bytes(payload, "big"))
        if kind == SETTINGS and not flags & ACK:
            return [frame(SETTINGS, ACK, 0, b""), *self._outgoing.settle(payload)]
        if kind == PING and not flags & ACK:
            return [frame(PING, ACK, 0, payload)]
        if kind == GOAWAY:
            raise ServerGaveUpError(f"the server gave up: {payload!r}")
        return []

    def _call(self) -> Pieces:
        stream, self._stream = self._stream, self._stream + 2
        self._started[stream] = time.perf_counter()
        return self._outgoing.begin(stream)

    def _complete(self, stream: int) -> None:
        started = self._started.pop(stream, None)
        if started is None:
            return  # reset after its answer
        self.latencies.append(time.perf_counter() - started)
        self._outgoing.forget(stream)
        message = self._messages.pop(stream, b"")
        if (
            len(message) < _MESSAGE_HEAD_BYTES
            or int.from_bytes(message[1:5], "big") != len(message) - _MESSAGE_HEAD_BYTES
        ):
            self.failed += 1
        elif message not in self.answers:
            self.answers.add(message)
            if len(self.answers) > _MOST_ANSWERS:
                raise ServerGaveUpError("the answers differ without end")


def run(connections: list[Connection], in_flight: int, seconds: float) -> dict[str, object]:
    """Keep ``in_flight`` calls under way over all connections for a while.

    Returns:
        Rate, percentiles of the latencies, the processor time of this process, how many calls there were and failed,
        and every answer there was, in base64 without what frames a message.

    Raises:
        ServerGaveUpError: a connection was closed, or nothing came for half a minute.
    """
    by_descriptor = {connection.fileno(): connection for connection in connections}
    share, more = divmod(in_flight, len(connections))
    started, cpu_before_s = time.perf_counter(), time.process_time()
    for number, connection in enumerate(connections):
        connection.begin(share + (number < more))
    until = started + seconds
    with select.epoll() as poll:
        for descriptor in by_descriptor:
            poll.register(descriptor, select.EPOLLIN)
        while any(connection.in_flight for connection in connections):
            if not (ready := poll.poll(_SILENCE_S)):
                raise ServerGaveUpError(f"the server was silent for {_SILENCE_S} s")
            for descriptor, _ in ready:
                by_descriptor[descriptor].take(go_on=time.perf_counter() < until)
    elapsed, cpu_s = time.perf_counter() - started, time.process_time() - cpu_before_s
    latencies = sorted(latency for connection in connections for latency in connection.latencies)
    answers = sorted(set().union(*(connection.answers for connection in connections)))
    return {
        "calls": len(latencies),
        "failed": sum(connection.failed for connection in connections),
        "answers": [base64.b64encode(answer[_MESSAGE_HEAD_BYTES:]).decode() for answer in answers],
        "requests_s": round(len(latencies) / elapsed, 1),
        **{f"p{percent}_ms": round(percentile(latencies, percent) * 1e3, 3) for percent in (50, 99)},
        "generator_cores": round(cpu_s / elapsed, 2),
        "generator_us_per_request": round(cpu_s / len(latencies) * 1e6, 1),
    }


def main() -> None:
    """Connect, wait for the word, run, print."""
    host, port, path, body, connections, in_flight, seconds = sys.argv[1:]
    message = Path(body).read_bytes()
    opened = [Connection(host, int(port), path, message) for _ in range(int(connections))]
    print("connected", flush=True)
    sys.stdin.readline()
    try:
        print(json.dumps(run(opened, int(in_flight), float(seconds))), flush=True)
    except (ServerGaveUpError, OSError) as error:
        sys.exit(f"{host}:{port}{path} {error}")


if __name__ == "__main__":
    main()
