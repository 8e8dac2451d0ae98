"""Open-loop load: requests are due at set times, whether or not the server keeps up, and so are their latencies.

``python -m benchmarks.open_loop HOST PORT PATH BODY_FILE CONNECTIONS RATE SECONDS`` prints one line of JSON.

A closed loop slows down with its server and then measures only the requests it was able to send. Here arrivals are a
Poisson process with a fixed seed, the same for every server, and a latency counts from the time a request was due: one
that had to wait for a free connection waited for the server. A request that is unanswered at the end counts with the
time it has waited by then, which is too little, never too much.

One thread, raw sockets, one fixed request written once. How late it was in sending requests for which a connection was
free is reported, too (``late``): that is the generator's own error. It speaks HTTP/1.1 just as far as needed to find
the end of an answer.
"""

from __future__ import annotations

import heapq
import json
import random
import select
import socket
import sys
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.figures import percentile

_SEED = 20
_GRACE_S = 2.0
_READ_BYTES = 256 * 1024
_PERCENTILES = (50, 90, 99, 99.9)


class BadAnswerError(RuntimeError):
    """An answer that is not a complete 200, or a connection the server closed: the run is worth nothing."""


def arrivals(rate: float, seconds: float) -> Iterator[float]:
    """When requests are due, in seconds from the start: a Poisson process of ``rate`` a second."""
    source, due_s = random.Random(_SEED), 0.0
    while (due_s := due_s + source.expovariate(rate)) < seconds:
        yield due_s


class Answer:
    """Finds the end of one HTTP/1.1 answer. ``feed`` returns True when it is complete.

    Raises BadAnswerError where the status is not 200 or the length is not given.
    """

    def __init__(self) -> None:
        self._received = bytearray()
        self._body_at = 0
        self._length: int | None = None

    def feed(self, data: bytes) -> bool:
        self._received += data
        if not self._body_at and not self._read_head():
            return False
        if self._length is not None:
            return len(self._received) >= self._body_at + self._length
        return self._received.endswith(b"0\r\n\r\n")

    def _read_head(self) -> bool:
        end = self._received.find(b"\r\n\r\n")
        if end < 0:
            return False
        head = bytes(self._received[:end]).lower()
        status, *fields = head.split(b"\r\n")
        if status.split(b" ")[1] != b"200":
            raise BadAnswerError(f"answered {bytes(self._received[:200])!r}")
        values = dict(field.split(b":", 1) for field in fields)
        if b"content-length" in values:
            self._length = int(values[b"content-length"])
        elif values.get(b"transfer-encoding", b"").strip() != b"chunked":
            raise BadAnswerError("answered without a length")
        self._body_at = end + 4
        return True


class Connection:
    """A kept-alive connection with at most one request under way."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.socket = socket.create_connection(address)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.due_s = 0.0
        self._answer = Answer()

    def send(self, request: bytes, due_s: float) -> None:
        """Start a request that was due at ``due_s``. Blocks while the system takes it over."""
        self.due_s = due_s
        self._answer = Answer()
        self.socket.sendall(request)

    def receive(self) -> bool:
        """Take what has come; True when the answer is complete."""
        data = self.socket.recv(_READ_BYTES)
        if not data:
            raise BadAnswerError("closed the connection")
        return self._answer.feed(data)


class OpenLoop:
    """Sends each request when it is due, or as soon afterwards as a connection is free."""

    def __init__(self, address: tuple[str, int], request: bytes, connections: int) -> None:
        self._request = request
        self._connections = {one.socket.fileno(): one for one in (Connection(address) for _ in range(connections))}
        self._free = list(self._connections.values())
        self._poll = select.epoll()
        for descriptor in self._connections:
            self._poll.register(descriptor, select.EPOLLIN)
        self.latencies_s: list[float] = []
        self.late_s: list[float] = []
        self._waiting: deque[float] = deque()

    def run(self, due: list[float], give_up_s: float) -> dict[str, Any]:
        """Send everything that is ``due``; ends when all is answered, or at ``give_up_s``."""
        started, cpu_before_s = time.perf_counter(), time.process_time()
        sent = answered = 0
        while answered < len(due) and (now_s := time.perf_counter() - started) < give_up_s:
            while sent < len(due) and due[sent] <= now_s:
                self._offer(due[sent], now_s)
                sent += 1
            next_s = due[sent] if sent < len(due) else give_up_s
            # select waits to the microsecond, epoll only to the millisecond.
            if select.select((self._poll.fileno(),), (), (), max(0.0, next_s - (time.perf_counter() - started)))[0]:
                answered += self._take_answers(started)
        ended_s, cpu_s = time.perf_counter() - started, time.process_time() - cpu_before_s
        unanswered = [ended_s - one.due_s for one in self._connections.values() if one not in self._free]
        unanswered += [ended_s - due_s for due_s in (*self._waiting, *due[sent:])]
        cost = {"generator_us_per_request": round(cpu_s / len(due) * 1e6, 1)}
        return self._report(ended_s, unanswered) | cost

    def close(self) -> None:
        """Close every connection."""
        self._poll.close()
        for connection in self._connections.values():
            connection.socket.close()

    def _offer(self, due_s: float, now_s: float) -> None:
        if self._free:
            self.late_s.append(now_s - due_s)
            self._free.pop().send(self._request, due_s)
        else:
            self._waiting.append(due_s)

    def _take_answers(self, started: float) -> int:
        answered = 0
        for descriptor, _ in self._poll.poll(0):
            connection = self._connections[descriptor]
            if connection.receive():
                answered += 1
                self.latencies_s.append(time.perf_counter() - started - connection.due_s)
                if self._waiting:
                    connection.send(self._request, self._waiting.popleft())
                else:
                    self._free.append(connection)
        return answered

    def _report(self, ended_s: float, unanswered: list[float]) -> dict[str, Any]:
        ordered = list(heapq.merge(sorted(self.latencies_s), sorted(unanswered)))
        late = sorted(self.late_s)
        named = {f"p{percent:g}".replace(".", "_"): percentile(ordered, percent) for percent in _PERCENTILES}
        return {
            "requests": len(ordered),
            "unanswered": len(unanswered),
            "requests_s": round(len(self.latencies_s) / ended_s, 1),
            **{f"{name}_ms": round(value * 1e3, 3) for name, value in (named | {"max": ordered[-1]}).items()},
            "late_p50_ms": round(percentile(late, 50) * 1e3, 3),
            "late_p99_ms": round(percentile(late, 99) * 1e3, 3),
        }


def write_request(host: str, port: int, path: str, body: bytes) -> bytes:
    """The whole request, as every connection sends it."""
    head = f"POST {path} HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def main() -> None:
    host, port, path, body_file, connections, rate, seconds = sys.argv[1:]
    request = write_request(host, int(port), path, Path(body_file).read_bytes())
    loop = OpenLoop((host, int(port)), request, int(connections))
    try:
        report = loop.run(list(arrivals(float(rate), float(seconds))), float(seconds) + _GRACE_S)
    except (BadAnswerError, OSError) as error:
        sys.exit(f"{host}:{port}{path} {error}")
    finally:
        loop.close()
    print(json.dumps(report))


if __name__ == "__main__":
    main()
