"""Lanes over real sockets, against a server that does what the test says with each request."""

from __future__ import annotations

import asyncio
import errno
from contextlib import asynccontextmanager

import pytest

from tensorhost.bench.connections import NO_FILES, NOT_HTTP, connect_all, open_lanes
from tensorhost.bench.pacing import BROKEN, UNREACHABLE
from tensorhost.bench.plan import HttpTarget

BODY = b'{"inputs": [1]}'
HEAD = f"POST /predict HTTP/1.1\r\nContent-Length: {len(BODY)}\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


def refusal(body: bytes) -> bytes:
    return b"HTTP/1.1 503 No\r\nContent-Length: %d\r\n\r\n" % len(body) + body


@asynccontextmanager
async def lane_to(answers):
    """A lane to a server that answers with each of ``answers`` in turn; None closes the connection instead."""
    left = list(answers)
    asked = asyncio.Queue()

    async def serve(reader, writer):
        try:
            while left:
                head = await reader.readuntil(b"\r\n\r\n")
                asked.put_nowait(head + await reader.readexactly(len(BODY)))
                answer = left.pop(0)
                if answer is None:
                    break
                writer.write(answer)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    (lane,) = open_lanes(HttpTarget("127.0.0.1", port, HEAD), BODY, 1)
    async with server:
        yield lane, asked
        lane.close()


async def ask(lane):
    answered = asyncio.get_running_loop().create_future()
    lane.send(lambda _, error: answered.set_result(error))
    return await answered


async def test_the_same_bytes_again_and_again():
    async with lane_to([OK, OK, OK]) as (lane, asked):
        await connect_all([lane])
        assert [await ask(lane) for _ in range(3)] == [None, None, None]
        assert [asked.get_nowait() for _ in range(3)] == [HEAD.encode() + BODY] * 3
        assert asked.empty()


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (refusal(b'{"error": {"code": "OVERLOADED"}}'), "OVERLOADED"),
        (refusal(b"<html>"), "HTTP_503"),
        (refusal(b'{"error": "no"}'), "HTTP_503"),
        (refusal(b'{"error": {"code": "\\u001b[31mred"}}'), "HTTP_503"),
        (None, BROKEN),
        (b"what?\r\n\r\n", NOT_HTTP),
    ],
)
async def test_what_goes_wrong_has_a_code_and_the_lane_goes_on(answer, code):
    async with lane_to([answer, OK]) as (lane, _):
        assert await ask(lane) == code
        assert await ask(lane) is None


async def test_a_server_that_closes_after_its_answer_is_connected_to_again():
    closing = OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    async with lane_to([closing, OK, closing, OK]) as (lane, asked):
        assert [await ask(lane) for _ in range(4)] == [None] * 4
        assert asked.qsize() == 4


async def test_nobody_there():
    server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    (lane,) = open_lanes(HttpTarget("127.0.0.1", port, HEAD), BODY, 1)
    assert await ask(lane) == UNREACHABLE
    with pytest.raises(OSError, match="onnect"):
        await connect_all([lane])


async def test_a_limit_of_open_files_is_no_server_that_has_gone(monkeypatch):
    async with lane_to([OK]) as (lane, _):

        async def refuse(*_arguments, **_options):
            raise OSError(errno.EMFILE, "Too many open files")

        with monkeypatch.context() as limited:
            limited.setattr(asyncio.get_running_loop(), "create_connection", refuse)
            assert await ask(lane) == NO_FILES
        assert await ask(lane) is None


async def test_an_abandoned_request_is_not_answered_and_the_next_one_is():
    async with lane_to([b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", OK]) as (lane, asked):
        said = []
        lane.send(lambda _, error: said.append(error))
        await asked.get()
        lane.abandon()
        assert await ask(lane) is None
        assert said == []
