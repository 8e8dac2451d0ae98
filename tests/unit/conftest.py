"""A real HTTP server in a thread that answers what a test tells it to and remembers what it was asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest


@dataclass
class Asked:
    method: str
    path: str
    headers: dict[str, str]
    body: Any


@dataclass
class StubServer:
    url: str = ""
    status: int = 200
    answer: bytes = b"{}"
    asked: list[Asked] = field(default_factory=list)
    before: list[tuple[int, bytes, dict[str, str]]] = field(default_factory=list)
    """Statuses, bodies and headers of the answers that come before ``answer``, which is given from then on."""

    def answers(self, value: Any, status: int = 200) -> None:
        self.status = status
        self.answer = value if isinstance(value, bytes) else json.dumps(value).encode()


@pytest.fixture
def stub() -> Iterator[StubServer]:
    stub = StubServer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {key.lower(): value for key, value in self.headers.items()}
            stub.asked.append(Asked(self.command, self.path, headers, json.loads(content) if content else None))
            status, answer, more = stub.before.pop(0) if stub.before else (stub.status, stub.answer, {})
            self.send_response(status)
            for name, value in {"Content-Length": str(len(answer)), **more}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer)

        do_POST = do_GET  # noqa: N815  # the name http.server looks for

        def log_message(self, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        stub.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield stub
        server.shutdown()
        thread.join()


@pytest.fixture
def closed_url() -> str:
    """An address where nothing listens."""
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        return f"http://127.0.0.1:{server.server_port}"
