"""How large messages may be, what says so when one is larger, and what becomes of compressed ones."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import logging

import grpc
import pytest
from grpc_serving import asking, serving

from tensorhost.frontends.rpc import Rpc, StreamRpc
from tensorhost.server.grpc import grpcio
from tensorhost.server.grpc.calls import max_message_bytes
from tensorhost.settings import Settings

ECHO, ECHO_ALL = "/test.Echo/Say", "/test.Echo/All"
LIMIT, OVER, FAR_OVER = 100_000, 150_000, 10_000_000
MIB = 2**20
COMPRESSED = pytest.mark.parametrize("compression", [None, grpc.Compression.Gzip])
ANY_SIZE = {"grpc.max_receive_message_length": -1}
AS_IT_CAME = {"grpc.per_message_decompression": 0}


async def echo(request, _context):
    return request


async def echo_all(requests, _context):
    async for request in requests:
        yield request


async def zeros(request, _context):
    return bytes(int(request))


RPCS = [Rpc(ECHO, echo), StreamRpc(ECHO_ALL, echo_all)]


async def stream(client, *requests, **options):
    """The answers to a stream of ``requests``, and the error that ends it; None where there is none."""
    answers = []

    def run():
        try:
            answers.extend(client.channel.stream_stream(ECHO_ALL)(iter(requests), timeout=30, **options))
        except grpc.RpcError as error:
            return error
        return None

    return await asyncio.to_thread(run), answers


class Heard(logging.Handler):
    """Records of one logger, waited for."""

    def __init__(self):
        super().__init__()
        self.records = []
        self.news = asyncio.Event()

    def emit(self, record):
        self.records.append(record)
        self.news.set()


@pytest.fixture
def heard(caplog):
    """What grpcio's transport says in the log."""
    logger, handler = logging.getLogger(grpcio.__name__), Heard()
    with caplog.at_level(logging.INFO, logger.name):
        logger.addHandler(handler)
        yield handler
        logger.removeHandler(handler)


class Frames:
    """One HTTP/2 connection with calls of ECHO whose client leaves them open."""

    DATA, HEADERS, SETTINGS = 0, 1, 4
    _END_STREAM, _END_HEADERS = 1, 4

    @classmethod
    async def to(cls, server):
        return cls(*await asyncio.open_connection("127.0.0.1", int(server.addresses[0].rpartition(":")[2])))

    def __init__(self, reader, writer):
        self._reader, self._writer = reader, writer
        writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        self.send(self.SETTINGS, b"", stream=0)

    def send(self, kind, payload, stream=1):
        flags = self._END_HEADERS if kind == self.HEADERS else 0
        self._writer.write(len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload)

    def call(self, first=b"", stream=1):
        """Begin a call; ``first`` are the first bytes of its request."""
        fields = {":method": "POST", ":scheme": "http", ":path": ECHO, ":authority": "x", "te": "trailers"}
        self.send(self.HEADERS, fields_of({**fields, "content-type": "application/grpc"}), stream)
        if first:
            self.send(self.DATA, first, stream)

    async def answer(self):
        """The payload of the frame that ends one of the calls."""
        while True:
            head = await self._reader.readexactly(9)
            payload = await self._reader.readexactly(int.from_bytes(head[:3], "big"))
            if head[3] == self.HEADERS and head[4] & self._END_STREAM:
                return payload

    async def aclose(self):
        self._writer.close()
        await self._writer.wait_closed()


def fields_of(fields):
    """Headers as HTTP/2 writes them: each as it is, remembered by no table."""
    return b"".join(
        b"\0" + bytes((len(name),)) + name.encode() + bytes((len(value),)) + value.encode()
        for name, value in fields.items()
    )


def test_the_limit_is_never_below_that_of_http_unless_it_is_set():
    assert max_message_bytes(Settings()) == 64 * MIB
    assert max_message_bytes(Settings(max_body_bytes=100 * MIB)) == 100 * MIB
    assert max_message_bytes(Settings(max_body_bytes=100 * MIB, grpc_max_message_bytes=1000)) == 1000
    assert max_message_bytes(Settings(grpc_max_message_bytes=0)) == 0


@COMPRESSED
async def test_a_message_over_the_limit_is_refused_by_the_name_of_the_setting(transport, compression):
    async with (
        serving(RPCS, grpc_transport=transport, grpc_max_message_bytes=LIMIT) as server,
        asking(server) as client,
    ):
        refusal = await client.refusal(ECHO, bytes(OVER), compression=compression)
        assert refusal.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert refusal.details() == f"The request has {OVER} bytes; grpc_max_message_bytes allows {LIMIT}."
        assert await client.ask(ECHO, bytes(LIMIT), compression=compression) == bytes(LIMIT)


@COMPRESSED
async def test_on_a_stream_too_and_what_came_before_it_is_answered(transport, compression):
    async with (
        serving(RPCS, grpc_transport=transport, grpc_max_message_bytes=LIMIT) as server,
        asking(server) as client,
    ):
        refusal, answers = await stream(client, b"before", bytes(OVER), b"after", compression=compression)
        assert answers == [b"before"]
        assert refusal.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert refusal.details() == f"The request has {OVER} bytes; grpc_max_message_bytes allows {LIMIT}."
        assert await stream(client, bytes(LIMIT), b"next") == (None, [bytes(LIMIT), b"next"])


@COMPRESSED
async def test_a_message_far_over_the_limit_is_refused_and_the_server_goes_on(transport, compression):
    async with (
        serving(RPCS, grpc_transport=transport, grpc_max_message_bytes=LIMIT) as server,
        asking(server) as client,
    ):
        refusal = await client.refusal(ECHO, bytes(FAR_OVER), compression=compression)
        assert refusal.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        refusal, _ = await stream(client, bytes(FAR_OVER), compression=compression)
        assert refusal.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert await client.ask(ECHO, b"x") == b"x"
        assert await stream(client, b"x") == (None, [b"x"])


@COMPRESSED
async def test_the_log_names_the_setting_where_the_library_refuses(heard, compression):
    limits = {"grpc_transport": "grpcio", "grpc_max_message_bytes": LIMIT}
    async with serving(RPCS, **limits) as server, asking(server) as client:
        for _ in range(3):
            refusal = await client.refusal(ECHO, bytes(FAR_OVER), compression=compression)
            assert "larger than max" in refusal.details()
        async with asyncio.timeout(10):
            await heard.news.wait()
    (record,) = heard.records
    assert record.levelno == logging.WARNING
    assert "larger than grpc_max_message_bytes" in record.getMessage()
    assert (record.method, record.grpc_max_message_bytes) == (ECHO, LIMIT)


async def test_the_log_has_nothing_to_say_of_calls_that_go_well_nor_of_the_stop(heard):
    begun, let_go = asyncio.Queue(), asyncio.Event()

    async def hold(request, _context):
        begun.put_nowait(request)
        await let_go.wait()
        return request

    async with serving([Rpc(ECHO, hold), RPCS[1]], grpc_transport="grpcio") as server, asking(server) as client:
        assert await stream(client, b"x") == (None, [b"x"])
        kept, given_up = (client.future(ECHO, timeout=30) for _ in range(2))
        async with asyncio.timeout(30):
            for _ in range(2):
                await begun.get()
        given_up.cancel()
        let_go.set()
        await asyncio.to_thread(kept.result)
    assert not heard.records


async def test_nor_of_a_request_that_the_stop_does_not_wait_for(heard):
    async with serving(RPCS, grpc_transport="grpcio") as server:
        frames = await Frames.to(server)
        frames.call()
        frames.call(b"\0\0\0\0\1x", stream=3)
        async with asyncio.timeout(10):
            await frames.answer()
    await frames.aclose()
    assert not heard.records


async def test_a_stream_that_is_cut_off_is_in_the_log_with_what_it_may_be(heard):
    async def never_ends(requests, _context):
        async for request in requests:
            yield request
        await asyncio.Event().wait()

    rpcs = [StreamRpc(ECHO_ALL, never_ends)]
    limits = {"grpc_transport": "grpcio", "grpc_max_message_bytes": LIMIT}
    async with serving(rpcs, **limits) as server, asking(server) as client:
        refusal, _ = await stream(client, bytes(FAR_OVER))
        assert "larger than max" in refusal.details()
        async with asyncio.timeout(10):
            await heard.news.wait()
    (record,) = heard.records
    assert record.levelno == logging.INFO
    assert "larger than grpc_max_message_bytes" in record.getMessage()
    assert (record.method, record.grpc_max_message_bytes) == (ECHO_ALL, LIMIT)


async def test_grpcio_refuses_a_message_as_it_begins():
    async with (
        serving(RPCS, grpc_transport="grpcio", grpc_max_message_bytes=LIMIT) as server,
        contextlib.aclosing(await Frames.to(server)) as frames,
    ):
        frames.call(b"\0" + (2**30).to_bytes(4, "big") + b"the first bytes of very many")
        async with asyncio.timeout(10):
            assert b"larger than max (1073741824 vs. " in await frames.answer()


async def test_zero_is_no_limit(transport):
    big = bytes(65 * MIB)
    async with (
        serving(RPCS, grpc_transport=transport, grpc_max_message_bytes=0) as server,
        asking(server, **ANY_SIZE) as client,
    ):
        assert len(await client.ask(ECHO, big)) == len(big)


async def test_answers_have_no_limit_but_that_of_the_client(transport):
    size = 40 * MIB
    async with serving([Rpc(ECHO, zeros)], grpc_transport=transport, grpc_max_message_bytes=LIMIT) as server:
        async with asking(server, **ANY_SIZE) as client:
            assert len(await client.ask(ECHO, str(size).encode())) == size
        async with asking(server) as client:
            refusal = await client.refusal(ECHO, str(5 * MIB).encode())
            assert refusal.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert f"CLIENT: Received message larger than max ({5 * MIB} vs. {4 * MIB})" in refusal.details()
            assert await client.ask(ECHO, b"3") == bytes(3)


async def test_deflate_is_read_by_grpcio_alone_but_on_streams(transport):
    async with serving(RPCS, grpc_transport=transport) as server, asking(server) as client:
        assert await stream(client, bytes(1000), compression=grpc.Compression.Deflate) == (None, [bytes(1000)])
        if transport == "grpcio":
            assert await client.ask(ECHO, bytes(1000), compression=grpc.Compression.Deflate) == bytes(1000)
        else:
            refusal = await client.refusal(ECHO, bytes(1000), compression=grpc.Compression.Deflate)
            assert refusal.code() is grpc.StatusCode.UNIMPLEMENTED
            assert "deflate" in refusal.details()
        assert await client.ask(ECHO, bytes(1000), compression=grpc.Compression.Gzip) == bytes(1000)


async def test_answers_are_not_compressed(transport):
    async with serving(RPCS, grpc_transport=transport) as server, asking(server, **AS_IT_CAME) as client:
        assert await client.ask(ECHO, bytes(10_000)) == bytes(10_000)
        assert await stream(client, bytes(10_000)) == (None, [bytes(10_000)])


async def test_answers_are_compressed_where_a_channel_argument_says_so_for_clients_that_take_it():
    argument = "grpc.default_compression_level=1"
    async with serving(RPCS, grpc_channel_arguments=argument) as server:
        assert server.choice.transport == "grpcio"
        async with asking(server, **AS_IT_CAME) as client:
            assert gzip.decompress(await client.ask(ECHO, bytes(10_000))) == bytes(10_000)
            _, [answer] = await stream(client, bytes(10_000))
            assert gzip.decompress(answer) == bytes(10_000)
        only_identity = {"grpc.compression_enabled_algorithms_bitset": 1}
        async with asking(server, **AS_IT_CAME, **only_identity) as client:
            assert await client.ask(ECHO, bytes(10_000)) == bytes(10_000)
