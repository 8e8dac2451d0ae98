"""Servers behind nginx that do what tensorhost does at awkward moments, exactly when a test wants it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

Handler = Callable[[BaseHTTPRequestHandler, bytes], None]


class Upstream:
    """A server whose answers ``handle`` gives; ``requests`` has the paths that came, ``clients`` who connected."""

    def __init__(self, handle: Handler) -> None:
        self.requests: list[str] = []
        self.clients: list[object] = []
        requests, clients = self.requests, self.clients

        class Answer(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                clients.append(self.client_address)
                super().setup()

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                requests.append(self.path)
                handle(self, body)

            def do_GET(self) -> None:
                self.do_POST()

            def log_message(self, *_arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])


class Vanished:
    """An address where nobody answers, not even to refuse: as of a machine that is gone."""

    def __enter__(self) -> Self:
        # Where nobody accepts, the kernel ignores whoever comes when the backlog is full.
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=0)
        self._waiting = [socket.socket() for _ in range(4)]
        for one in self._waiting:
            one.setblocking(False)
            with suppress(BlockingIOError):
                one.connect(("127.0.0.1", self.port))
        return self

    def __exit__(self, *exception: object) -> None:
        for one in (*self._waiting, self._socket):
            one.close()

    @property
    def port(self) -> int:
        return int(self._socket.getsockname()[1])


def answer(
    request: BaseHTTPRequestHandler, status: int, body: bytes = b"{}", headers: dict[str, str] | None = None
) -> None:
    """A whole answer."""
    request.send_response(status)
    for name, value in {
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        **(headers or {}),
    }.items():
        request.send_header(name, value)
    request.end_headers()
    request.wfile.write(body)
