"""An HTTP server on sockets that another process listens on: it takes connections from those it is told to."""

import asyncio
import contextlib
import socket

import pytest

from tensorhost.server.http import HttpServer
from tensorhost.server.listener import listen
from tensorhost.settings import Settings

SETTINGS = Settings(drain_window_s=0)
REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


async def app(_scope, _receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


@pytest.fixture
def listeners():
    with contextlib.ExitStack() as stack:
        sockets = [listen("127.0.0.1", 0)[0] for _ in range(2)]
        for listener in sockets:
            stack.callback(listener.close)
        yield sockets


async def ask(listener):
    """Sends a request to a socket's queue, whether or not anybody takes it from there; its answer is to be read."""
    reader, writer = await asyncio.open_connection(*listener.getsockname())
    writer.write(REQUEST)
    return reader, writer


async def answered(asked):
    reader, writer = asked
    status = await reader.readline()
    writer.close()
    return status.startswith(b"HTTP/1.1 200")


async def test_connections_wait_until_the_server_is_told_to_take_them(listeners):
    server = HttpServer(app, SETTINGS, listeners=[listener.dup() for listener in listeners])
    await server.open()
    assert server.addresses == [listener.getsockname() for listener in listeners]
    first, second = [await ask(listener) for listener in listeners]
    await server.accept_from([0])
    assert await answered(first)
    assert server.request_count == 1
    await server.accept_from([1])
    assert await answered(second)
    # The first socket is left alone now, and still there for somebody else.
    again = await ask(listeners[0])
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await again[0].readline()
    connection, _ = listeners[0].accept()
    connection.close()
    again[1].close()
    assert (await server.close()).clean


async def test_the_stop_adopts_what_waits_at_its_own_sockets_only(listeners):
    server = HttpServer(app, SETTINGS, listeners=[listener.dup() for listener in listeners])
    await server.open()
    await server.accept_from([0])
    # Connected without a turn of the event loop, so that the server has not accepted them yet.
    clients = [socket.create_connection(listener.getsockname()) for listener in listeners]
    for client in clients:
        client.sendall(REQUEST)
    assert (await server.close()).clean
    assert clients[0].recv(4096).startswith(b"HTTP/1.1 200")
    connection, _ = listeners[1].accept()
    assert connection.recv(4096) == REQUEST
    for each in (connection, *clients):
        each.close()
    await server.accept_from([0, 1])
    assert server.connection_count == 0
