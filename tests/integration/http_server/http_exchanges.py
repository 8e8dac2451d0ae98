"""A server in this process, clients on real sockets, and an application that answers with what it got."""

import asyncio
import contextlib
import json

from tensorhost.server.http import HttpServer
from tensorhost.settings import Settings

GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"


def post(body, *, length=None, path=b"/"):
    return b"POST %b HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%b" % (path, length or len(body), body)


class EchoApp:
    """Answers with method, path and body; ``/wait`` answers when ``release`` is set and notes cancellation."""

    def __init__(self):
        self.entered = asyncio.Event()
        self.release = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.messages = []
        self.headers = []

    async def __call__(self, scope, receive, send):
        if scope["path"] == "/fail":
            raise ValueError("secret")
        if scope["path"] == "/early":
            await self.answer(send, b"early")
            return
        message = await receive()
        self.messages.append(message)
        self.headers.append(scope["headers"])
        if scope["path"] == "/wait":
            self.entered.set()
            try:
                await self.release.wait()
            except asyncio.CancelledError:
                self.cancelled.set()
                raise
        if scope["path"] == "/big":
            await self.answer(send, bytes(20_000_000))
            return
        await self.answer(send, b"%b %b %b" % (scope["method"].encode(), scope["path"].encode(), message["body"]))

    async def answer(self, send, body):
        headers = [(b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


@contextlib.asynccontextmanager
async def serving(app=None, **settings):
    server = HttpServer(app or EchoApp(), Settings(**({"port": 0, "shutdown_timeout_s": 2} | settings)))
    await server.open()
    try:
        yield server
    finally:
        await server.close()


@contextlib.asynccontextmanager
async def connected(port, **options):
    reader, writer = await asyncio.open_connection("127.0.0.1", port, **options)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def read_response(reader):
    """Status, headers and body of one response; IncompleteReadError when it does not come whole."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
    return int(head[0].split()[1]), headers, await reader.readexactly(int(headers.get("content-length", 0)))


async def until(condition):
    while not condition():  # noqa: ASYNC110 - the server has no event for this
        await asyncio.sleep(0.01)


async def ask(port, request, **options):
    async with connected(port, **options) as (reader, writer):
        writer.write(request)
        return await read_response(reader)


async def refused(reader, status, code):
    """Check that the next response is this refusal, in the one shape, and that the connection ends after it."""
    got, headers, body = await read_response(reader)
    error = json.loads(body)["error"]
    assert (got, error["code"]) == (status, code)
    assert set(error) == {"code", "message", "details", "requestId"}
    assert headers["content-type"] == "application/json"
    assert headers["connection"] == "close"
    assert headers["x-request-id"] == error["requestId"]
    assert await reader.read() == b""
    return error, headers
