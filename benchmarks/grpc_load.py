"""A load generator for one unary gRPC method that costs little itself: HTTP/2 frames by hand, one thread, no library.

Run as a process: ``python -m benchmarks.grpc_load HOST PORT PATH BODY_FILE ANSWER_FILE CONNECTIONS IN_FLIGHT SECONDS``.
gRPC's own Python clients take more of the processor for a call than the servers that are to be measured; with two
cores for both, one would measure the client. Each call is answered with its own stream's frames, and the message must
be ANSWER_FILE's to the last byte. It prints a line when it is connected, begins at a line on standard input, and ends
with its figures as JSON.

It knows just enough of HTTP/2 for small messages: it never sends more than the 64 KiB a server takes in unasked.
"""

from __future__ import annotations

import json
import selectors
import socket
import struct
import sys
import time
from pathlib import Path

from benchmarks.figures import percentile

_DATA, _HEADERS, _RST, _SETTINGS, _PING, _GOAWAY, _WINDOW = 0, 1, 3, 4, 6, 7, 8
_END_STREAM, _END_HEADERS, _ACK = 1, 4, 1
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_WINDOW_BYTES = 2**31 - 2**17
_REFILL_BYTES = 2**30
_INITIAL_WINDOW = 4


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """One HTTP/2 frame."""
    return struct.pack(">I", len(payload))[1:] + bytes((kind, flags)) + struct.pack(">I", stream) + payload


def header(name: str, value: str) -> bytes:
    """A header that no table remembers, so that a request's bytes never change."""
    return b"\0" + bytes((len(name),)) + name.encode() + bytes((len(value),)) + value.encode()


class Connection:
    """One HTTP/2 connection with so many calls in flight, each followed by the next."""

    def __init__(self, host: str, port: int, path: str, body: bytes, answer: bytes) -> None:
        self._socket = socket.create_connection((host, port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        fields = {":method": "POST", ":scheme": "http", ":path": path, ":authority": host}
        fields |= {"te": "trailers", "content-type": "application/grpc"}
        self._headers = b"".join(header(*field) for field in fields.items())
        self._message = b"\0" + struct.pack(">I", len(body)) + body
        self._answer = b"\0" + struct.pack(">I", len(answer)) + answer
        self._received = b""
        self._taken = 0
        self._stream = 1
        self._started: dict[int, float] = {}
        self._messages: dict[int, bytes] = {}
        self.latencies: list[float] = []
        settings = struct.pack(">HI", _INITIAL_WINDOW, _WINDOW_BYTES)
        window = struct.pack(">I", _WINDOW_BYTES - 65_535)
        self._socket.sendall(_PREFACE + frame(_SETTINGS, 0, 0, settings) + frame(_WINDOW, 0, 0, window))

    def fileno(self) -> int:
        """The socket's, for a selector."""
        return self._socket.fileno()

    def begin(self, calls: int) -> None:
        """Send so many calls at once."""
        self._socket.sendall(b"".join(self._call() for _ in range(calls)))

    @property
    def in_flight(self) -> int:
        """Calls without an answer yet."""
        return len(self._started)

    def take(self, *, go_on: bool) -> None:
        """Read what has come, and send another call for each that is complete if told to.

        Raises:
            RuntimeError: the server gave up, or an answer is not the right one.
        """
        data = self._socket.recv(2**18)
        if not data:
            raise RuntimeError("the server closed the connection")
        self._taken += len(data)
        received = self._received + data
        out, at, end = [], 0, len(received)
        while end - at >= 9:
            size = int.from_bytes(received[at : at + 3], "big")
            if end - at < 9 + size:
                break
            kind, flags, stream = received[at + 3], received[at + 4], int.from_bytes(received[at + 5 : at + 9], "big")
            payload = received[at + 9 : at + 9 + size]
            at += 9 + size
            if kind == _DATA:
                self._messages[stream] = self._messages.get(stream, b"") + payload
            elif kind == _HEADERS and flags & _END_STREAM:
                self._complete(stream)
                if go_on:
                    out.append(self._call())
            elif kind in (_SETTINGS, _PING) and not flags & _ACK:
                out.append(frame(kind, _ACK, 0, payload if kind == _PING else b""))
            elif kind in (_RST, _GOAWAY):
                raise RuntimeError(f"the server gave up: frame {kind} {payload!r}")
        self._received = received[at:]
        if self._taken > _REFILL_BYTES:
            out.append(frame(_WINDOW, 0, 0, struct.pack(">I", self._taken)))
            self._taken = 0
        if out:
            self._socket.sendall(b"".join(out))

    def _call(self) -> bytes:
        stream, self._stream = self._stream, self._stream + 2
        self._started[stream] = time.perf_counter()
        headers = frame(_HEADERS, _END_HEADERS, stream, self._headers)
        return headers + frame(_DATA, _END_STREAM, stream, self._message)

    def _complete(self, stream: int) -> None:
        self.latencies.append(time.perf_counter() - self._started.pop(stream))
        if self._messages.pop(stream, b"") != self._answer:
            raise RuntimeError("an answer is not the right one")


def run(connections: list[Connection], in_flight: int, seconds: float) -> dict[str, float]:
    """Keep ``in_flight`` calls under way over all connections for a while: rate, and percentiles of the latencies."""
    selector = selectors.DefaultSelector()
    for connection in connections:
        selector.register(connection, selectors.EVENT_READ, connection)
    share, more = divmod(in_flight, len(connections))
    started = time.perf_counter()
    for number, connection in enumerate(connections):
        connection.begin(share + (number < more))
    until = started + seconds
    while any(connection.in_flight for connection in connections):
        for key, _ in selector.select(30):
            key.data.take(go_on=time.perf_counter() < until)
    elapsed = time.perf_counter() - started
    latencies = sorted(latency for connection in connections for latency in connection.latencies)
    figures = {f"p{percent}_ms": round(percentile(latencies, percent) * 1e3, 3) for percent in (50, 99)}
    return {"requests_s": round(len(latencies) / elapsed, 1), **figures}


def main() -> None:
    """Connect, wait for the word, run, print."""
    host, port, path, body, answer, connections, in_flight, seconds = sys.argv[1:]
    contents = Path(body).read_bytes(), Path(answer).read_bytes()
    opened = [Connection(host, int(port), path, *contents) for _ in range(int(connections))]
    print("connected", flush=True)
    sys.stdin.readline()
    print(json.dumps(run(opened, int(in_flight), float(seconds))), flush=True)


if __name__ == "__main__":
    main()
