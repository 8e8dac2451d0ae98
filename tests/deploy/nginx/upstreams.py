"""Servers behind nginx that do what tensorhost does at awkward moments, exactly when a test wants it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

Handler = Callable[[BaseHTTPRequestHandler, bytes], None]


class Upstream:
    """A server whose answers ``handle`` gives; ``requests`` has the paths that came."""

    def __init__(self, handle: Handler) -> None:
        self.requests: list[str] = []
        requests = self.requests

        class Answer(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

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
