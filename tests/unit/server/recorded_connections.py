"""Connections on transports that only record, with an application that answers with what it got."""

import asyncio
import contextlib
from unittest import mock

import uvicorn

from tensorhost.server import connections
from tensorhost.server.connections import Connection
from tensorhost.server.registry import Limits, Registry

HOST = b"Host: h\r\n"
POST = b"POST /p HTTP/1.1\r\n" + HOST + b"Content-Length: %d\r\n\r\n"


class Transport(asyncio.Transport):
    def __init__(self):
        super().__init__()
        self.written = b""
        self.closing = False
        self.protocol = None

    def deliver(self, data):
        """Hand bytes over as an event loop does; a large body may have changed to whom, and where to."""
        left = memoryview(data)
        while left:
            if not isinstance(self.protocol, asyncio.BufferedProtocol):
                self.protocol.data_received(bytes(left))
                return
            room = self.protocol.get_buffer(-1)
            size = min(len(room), len(left))
            assert size, "an event loop takes no empty buffer"
            room[:size] = left[:size]
            left = left[size:]
            self.protocol.buffer_updated(size)

    def set_protocol(self, protocol):
        self.protocol = protocol

    def write(self, data):
        assert not self.closing
        self.written += data

    def is_closing(self):
        return self.closing

    def close(self):
        self.closing = True

    abort = close

    def can_write_eof(self):
        return False

    def get_write_buffer_size(self):
        return 0

    def pause_reading(self):
        pass

    def resume_reading(self):
        pass


async def echo(scope, receive, send):
    request = await receive()
    content = b"%b %b %b" % (scope["method"].encode(), scope["raw_path"], request.get("body", b""))
    headers = [(b"content-length", b"%d" % len(content))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": content})


LIMITS = Limits(10, 1024, 1024, 2048, header_timeout_s=10, body_timeout_s=10, keep_alive_timeout_s=10)


@contextlib.contextmanager
def reading_directly_from(least_bytes, scratch_bytes=2**14):
    """Bodies of at least so many bytes are large, and so many are read at once besides; gives a registry."""
    with mock.patch.object(connections, "LEAST_BYTES", least_bytes):
        registry = Registry(LIMITS)
        registry.scratch = memoryview(bytearray(scratch_bytes))
        yield registry


def connection_of(registry):
    config = uvicorn.Config(echo, ws="none", lifespan="off", log_config=None, proxy_headers=False)
    connection = Connection(config, registry, asyncio.get_running_loop())
    transport = Transport()
    transport.set_protocol(connection)
    connection.connection_made(transport)
    return connection
