"""Bodies that are read to where they are to lie, against real sockets: sizes, pieces, what follows, what goes wrong."""

import asyncio
import contextlib
import json
import random
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest
from certificates import client_context, tls_settings
from http_exchanges import GET, EchoApp, ask, connected, post, read_response, refused, serving, until

from tensorhost.server.body_reader import LEAST_BYTES

TINY_APP = Path(__file__).with_name("tiny_http_app.py")
LARGE = random.Random(0).randbytes(700_000)
BINARY = b"Inference-Header-Content-Length: %d\r\n"


def echoed(body, path=b"/"):
    return b"POST %b %b" % (path, body)


def with_header(request, header):
    return request.replace(b"Host: h\r\n", b"Host: h\r\n" + header, 1)


def nothing_is_held(server):
    registry = server._registry
    return registry.buffered_body_bytes == registry.reserved_body_bytes == 0


async def send_in_pieces(writer, data, count):
    size = -(-len(data) // count)
    for start in range(0, len(data), size):
        writer.write(data[start : start + size])
        await asyncio.sleep(0)
        await writer.drain()


@pytest.mark.parametrize("size", [LEAST_BYTES - 1, LEAST_BYTES, LEAST_BYTES + 1, len(LARGE)])
@pytest.mark.parametrize("header", [b"", BINARY % 131])
@pytest.mark.parametrize("pieces", [1, 2, 50])
async def test_a_body_of_any_size_in_any_pieces_arrives_whole(size, header, pieces):
    async with serving() as server, connected(server.port) as (reader, writer):
        for _ in range(2):
            await send_in_pieces(writer, with_header(post(LARGE[:size]), header), pieces)
            assert (await read_response(reader))[2] == echoed(LARGE[:size])
        writer.write(GET)
        assert (await read_response(reader))[2] == b"GET / "
        assert nothing_is_held(server)


async def test_a_body_in_thousands_of_pieces_arrives_whole():
    app = EchoApp()
    async with serving(app) as server, connected(server.port) as (reader, writer):
        await send_in_pieces(writer, post(LARGE), 5000)
        assert (await read_response(reader))[2] == echoed(LARGE)
    assert len(app.messages) == 1


async def test_binary_tensor_data_lie_where_a_runtime_can_read_them():
    app = EchoApp()
    async with serving(app) as server, connected(server.port) as (reader, writer):
        for begin in (131, 0, 64, 777):
            writer.write(with_header(post(LARGE), BINARY % begin))
            assert (await read_response(reader))[2] == echoed(LARGE)
            tensors = np.frombuffer(app.messages.pop()["body"], np.uint8)[begin:]
            assert tensors.ctypes.data % 64 == 0
            assert tensors.flags.writeable
        writer.write(post(LARGE))
        assert (await read_response(reader))[2] == echoed(LARGE)
        assert type(app.messages.pop()["body"]) is bytes


@pytest.mark.parametrize("seed", range(4))
async def test_however_a_stream_of_requests_is_cut_the_answers_are_the_same(seed):
    generator = random.Random(seed)
    bodies = [LARGE[: generator.choice((3, 70_000, LEAST_BYTES, 500_000))] for _ in range(6)]
    stream = b"".join(with_header(post(body), generator.choice((b"", BINARY % 9))) + GET for body in bodies)
    cuts = sorted(generator.randrange(len(stream)) for _ in range(30))
    async with serving() as server, connected(server.port) as (reader, writer):

        async def send():
            for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
                writer.write(stream[start:end])
                await asyncio.sleep(0)
                await writer.drain()

        sending = asyncio.create_task(send())
        for body in bodies:
            assert (await read_response(reader))[2] == echoed(body)
            assert (await read_response(reader))[2] == b"GET / "
        await sending
        assert nothing_is_held(server)


async def test_a_large_body_may_wait_to_be_asked_for():
    async with serving() as server, connected(server.port) as (reader, writer):
        request = with_header(post(LARGE), b"Expect: 100-continue\r\n")
        head, _, body = request.partition(b"\r\n\r\n")
        writer.write(head + b"\r\n\r\n")
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(body)
        assert (await read_response(reader))[2] == echoed(LARGE)


async def test_an_answer_before_a_large_body_keeps_the_connection_usable():
    async with serving() as server, connected(server.port) as (reader, writer):
        writer.write(post(LARGE, path=b"/early")[:300_000])
        assert (await read_response(reader))[2] == b"early"
        assert nothing_is_held(server)
        writer.write(post(LARGE, path=b"/early")[300_000:] + GET)
        assert (await read_response(reader))[2] == b"GET / "


async def test_a_large_answer_to_a_large_body_waits_for_a_slow_client():
    async with serving() as server, connected(server.port, limit=1000) as (reader, writer):
        writer.write(post(LARGE, path=b"/big"))
        assert len((await read_response(reader))[2]) == 20_000_000
        writer.write(post(LARGE))
        assert (await read_response(reader))[2] == echoed(LARGE)


@pytest.mark.parametrize("leave", ["close", "reset", "half-close"])
async def test_a_client_that_leaves_in_the_middle_of_a_large_body_leaves_nothing_behind(leave, caplog):
    app = EchoApp()
    async with serving(app) as server, connected(server.port) as (_, writer):
        writer.write(post(LARGE)[:400_000])
        await until(lambda: server._registry.buffered_body_bytes > 0)
        if leave == "close":
            writer.close()
        elif leave == "reset":
            writer.transport.abort()
        else:
            writer.write_eof()
        await until(lambda: server.connection_count == 0)
        assert nothing_is_held(server)
    assert app.messages == []
    assert [record for record in caplog.records if record.levelname in ("WARNING", "ERROR")] == []


@pytest.mark.parametrize("sent", [0, 1000, 400_000])
async def test_a_large_body_that_stalls_is_refused(sent):
    app = EchoApp()
    async with serving(app, body_timeout_s=0.2) as server, connected(server.port) as (reader, writer):
        head, _, body = post(LARGE, path=b"/wait").partition(b"\r\n\r\n")
        writer.write(head + b"\r\n\r\n" + body[:sent])
        await refused(reader, 408, "REQUEST_TIMEOUT")
        assert nothing_is_held(server)
    assert app.messages == []


async def test_a_large_body_is_refused_where_all_together_become_too_much_and_the_client_reads_why():
    app = EchoApp()
    async with serving(app, max_buffered_body_bytes=1_000_000) as server, connected(server.port) as (reader, writer):
        writer.write(post(LARGE, path=b"/wait"))
        await app.entered.wait()
        async with connected(server.port) as (second_reader, second_writer):
            second_writer.write(post(LARGE))
            await refused(second_reader, 503, "OVERLOADED")
        app.release.set()
        assert (await read_response(reader))[2] == echoed(LARGE, b"/wait")
        assert (await ask(server.port, post(LARGE)))[2] == echoed(LARGE)


async def test_large_chunked_bodies_are_joined_as_before():
    chunks = b"".join(
        b"%x\r\n%b\r\n" % (100_000, LARGE[start : start + 100_000]) for start in range(0, 700_000, 100_000)
    )
    head = b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with serving() as server, connected(server.port) as (reader, writer):
        writer.write(head + chunks + b"0\r\n\r\n" + GET)
        assert (await read_response(reader))[2] == echoed(LARGE)
        assert (await read_response(reader))[2] == b"GET / "


@pytest.mark.parametrize("header", [b"", BINARY % 131])
async def test_large_bodies_over_tls(authority, header):
    context = client_context(authority, with_certificate=False)
    async with serving(**tls_settings(authority)) as server, connected(server.port, ssl=context) as (reader, writer):
        for pieces in (1, 50):
            await send_in_pieces(writer, with_header(post(LARGE), header) + GET, pieces)
            assert (await read_response(reader))[2] == echoed(LARGE)
            assert (await read_response(reader))[2] == b"GET / "
        writer.write(post(LARGE, path=b"/early") + with_header(post(LARGE), header))
        assert (await read_response(reader))[2] == b"early"
        assert (await read_response(reader))[2] == echoed(LARGE)


async def test_a_stop_waits_for_the_rest_of_a_large_body():
    async with serving() as server, connected(server.port) as (reader, writer):
        request = post(LARGE)
        writer.write(request[:400_000])
        await until(lambda: server._registry.buffered_body_bytes > 0)
        closing = asyncio.create_task(server.close())
        await until(lambda: server._registry.draining)
        writer.write(request[400_000:])
        _, headers, body = await read_response(reader)
        assert (headers["connection"], body) == ("close", echoed(LARGE))
        assert (await closing).clean


async def test_a_large_body_that_does_not_come_in_time_for_the_stop_is_told_so():
    async with serving(shutdown_timeout_s=0.1) as server, connected(server.port) as (reader, writer):
        writer.write(post(LARGE)[:400_000])
        await until(lambda: server._registry.buffered_body_bytes > 0)
        report = await server.close()
        await refused(reader, 503, "SHUTTING_DOWN")
    assert report.cut_off_requests == 1


@pytest.mark.asyncio(loop_factories=["asyncio"])
async def test_bodies_that_are_announced_and_not_sent_take_no_memory():
    process = await asyncio.create_subprocess_exec(
        sys.executable, TINY_APP, json.dumps({}), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        port = int((await process.stdout.readline()).split()[1])
        server = psutil.Process(process.pid)
        assert (await ask(port, GET))[0] == 200
        before = server.memory_info()
        async with contextlib.AsyncExitStack() as stack:
            for number in range(14):
                reader, writer = await stack.enter_async_context(connected(port))
                header = (b"", BINARY % 131)[number % 2] + b"Expect: 100-continue\r\n"
                writer.write(with_header(post(b"", length=32 * 2**20), header))
                assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
                writer.write(b"x")
            after = server.memory_info()
        assert after.vms - before.vms > 7 * 32 * 2**20, "those with tensors have their memory"
        assert after.rss - before.rss < 32 * 2**20
    finally:
        process.kill()
        await process.wait()
        process._transport.close()
