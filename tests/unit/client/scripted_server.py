"""A real HTTP server on a socket that misbehaves as a test tells it to, one action for each request, in order."""

from __future__ import annotations

import json
import socket
import ssl
import struct
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Asked:
    method: str
    path: str
    headers: dict[str, str]
    body: Any


Action = Callable[["Handler", Asked], None]


class ScriptedServer:
    """Answers ``{}`` where the script has ended, unless ``otherwise`` is another action."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.asked: list[Asked] = []
        self.script: deque[Action] = deque()
        self.otherwise: Action = reply({})
        self.connections = 0
        self.closed = threading.Semaphore(0)
        """Released once for each connection that is closed."""
        self.lock = threading.Lock()

    def will(self, *actions: Action) -> None:
        self.script.extend(actions)

    def take(self, asked: Asked) -> Action:
        with self.lock:
            self.asked.append(asked)
            return self.script.popleft() if self.script else self.otherwise

    @property
    def paths(self) -> list[str]:
        return [asked.path for asked in self.asked]


class Server(ThreadingHTTPServer):
    scripted: ScriptedServer

    def shutdown_request(self, request: Any) -> None:
        super().shutdown_request(request)
        self.scripted.closed.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A handshake that fails is the client's to tell."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # head and body are written one after the other
    scripted: ScriptedServer

    def setup(self) -> None:
        super().setup()
        with self.scripted.lock:
            self.scripted.connections += 1

    def do_GET(self) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {key.lower(): value for key, value in self.headers.items()}
        asked = Asked(self.command, self.path, headers, json.loads(content) if content else None)
        self.scripted.take(asked)(self, asked)

    do_POST = do_GET  # noqa: N815  # the name http.server looks for

    def handle(self) -> None:
        # A client may leave at any time.
        try:
            super().handle()
        except (ConnectionError, ssl.SSLError):
            self.close_connection = True

    def log_message(self, *args: Any) -> None:
        pass


def reply(value: Any = None, status: int = 200, **headers: str) -> Action:
    """An ordinary answer; a value that is not bytes is sent as JSON. Underscores in header names stand for dashes."""
    content = value if isinstance(value, bytes) else json.dumps(value).encode()

    def act(handler: Handler, _asked: Asked) -> None:
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(content)))
        for name, text in headers.items():
            handler.send_header(name.replace("_", "-"), text)
        handler.end_headers()
        handler.wfile.write(content)

    return act


def refusal(code: str, status: int, **headers: str) -> Action:
    """An error as the server words it."""
    return reply(
        {"error": {"code": code, "message": f"It is {code}.", "details": {}, "requestId": "r1"}}, status, **headers
    )


def compute(answer: Callable[[Asked], Any]) -> Action:
    """An answer that depends on what was asked."""
    return lambda handler, asked: reply(answer(asked))(handler, asked)


def hang_up(handler: Handler, _asked: Asked) -> None:
    """Read the request and close the connection."""
    handler.close_connection = True


def reset(handler: Handler, _asked: Asked) -> None:
    """Read the request and reset the connection."""
    handler.close_connection = True
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()


def close_after(action: Action) -> Action:
    """Answer, and close the connection without having said so."""

    def act(handler: Handler, asked: Asked) -> None:
        action(handler, asked)
        handler.close_connection = True

    return act


def cut_off(handler: Handler, _asked: Asked) -> None:
    """Promise more than is sent."""
    handler.send_response(200)
    handler.send_header("Content-Length", "100")
    handler.end_headers()
    handler.wfile.write(b'{"half"')
    handler.close_connection = True


@dataclass
class Held:
    """An action that answers only once it is let go, and says when it has been asked."""

    action: Action
    asked: threading.Event = field(default_factory=threading.Event)
    free: threading.Event = field(default_factory=threading.Event)
    waited_in_vain: bool = False

    def __call__(self, handler: Handler, asked: Asked) -> None:
        self.asked.set()
        self.waited_in_vain = not self.free.wait(30)
        self.action(handler, asked)


@dataclass
class Drip:
    """The head at once, then a byte of the body at a time, until the client leaves."""

    left: threading.Event = field(default_factory=threading.Event)

    def __call__(self, handler: Handler, _asked: Asked) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "1000000")
        handler.end_headers()
        handler.close_connection = True
        try:
            while not self.left.wait(0.01):
                handler.wfile.write(b" ")
        except OSError:
            self.left.set()


@contextmanager
def running(tls: ssl.SSLContext | None = None) -> Iterator[ScriptedServer]:
    """The server, on a port of its own."""
    scripted = ScriptedServer("")
    handler = type("OwnHandler", (Handler,), {"scripted": scripted})
    server = Server(("127.0.0.1", 0), handler)
    server.scripted = scripted
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    scripted.url = f"{'http' if tls is None else 'https'}://127.0.0.1:{server.server_port}"
    with server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield scripted
        finally:
            server.shutdown()
            thread.join()
