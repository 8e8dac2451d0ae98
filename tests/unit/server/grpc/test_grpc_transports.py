"""What every transport does, asked by gRPC's own client."""

from __future__ import annotations

import asyncio
import gc
import math
import threading
import time

import grpc
import pytest
from grpc_serving import asking, serving

from tensorhost.core.errors import ModelNotFoundError
from tensorhost.frontends.rpc import Role, Rpc, RpcError, RpcStatus, StreamRpc
from tensorhost.server.grpc import calls

ECHO = "/test.Echo/Say"


async def echo(request, _context):
    return request


def rpc(handler, path=ECHO, role=Role.INFER):
    return Rpc(path, handler, role)


def failing(error):
    async def handler(_request, _context):
        raise error

    return rpc(handler)


class Held:
    """A method that answers when it is let go, and notes what becomes of its calls."""

    def __init__(self):
        self.begun = asyncio.Event()
        self.let_go = asyncio.Event()
        self.cancelled = asyncio.Event()

    async def __call__(self, request, _context):
        self.begun.set()
        try:
            await self.let_go.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return request


@pytest.mark.parametrize("size", [0, 1, 100_000, 5_000_000])
async def test_bytes_come_back_as_they_went(transport, size):
    async with (
        serving([rpc(echo)], grpc_transport=transport) as server,
        asking(server, **{"grpc.max_receive_message_length": -1}) as client,
    ):
        assert await client.ask(ECHO, bytes(size)) == bytes(size)


async def test_the_choice_is_the_one_asked_for(transport):
    async with serving([rpc(echo)], grpc_transport=transport) as server:
        assert server.choice.transport == transport


async def test_many_calls_at_once_are_each_answered_with_their_own(transport):
    async with serving([rpc(echo)], grpc_transport=transport) as server, asking(server) as client:
        requests = [str(number).encode() for number in range(500)]
        calls = [client.future(ECHO, request, timeout=30) for request in requests]
        assert await asyncio.to_thread(lambda: [call.result() for call in calls]) == requests


async def test_a_handler_knows_metadata_peer_and_deadline(transport):
    seen = []

    async def look(_request, context):
        seen.append((context, time.monotonic()))
        return b""

    async with serving([rpc(look)], grpc_transport=transport) as server, asking(server) as client:
        metadata = [("key", "first"), ("key", "second"), ("raw-bin", b"\0\xff")]
        await client.ask(ECHO, metadata=metadata, timeout=20)
        await client.ask(ECHO, timeout=None)
    (first, at), (second, _) = seen
    assert first.metadata["key"] == "first"
    assert first.metadata["raw-bin"] == b"\0\xff"
    assert first.peer.startswith("ipv4:127.0.0.1:")
    assert 10 < first.deadline - at <= 20.1
    assert second.deadline == math.inf


async def test_an_unknown_method_is_unimplemented(transport):
    async with serving([rpc(echo)], grpc_transport=transport) as server, asking(server) as client:
        for path in ("/test.Echo/Other", "/other.Echo/Say", "/x"):
            assert (await client.refusal(path)).code() is grpc.StatusCode.UNIMPLEMENTED


async def test_an_error_arrives_with_code_text_and_trailers(transport):
    error = RpcError(RpcStatus.NOT_FOUND, "There is no “é”.", [("a", "b")])
    async with serving([failing(error)], grpc_transport=transport) as server, asking(server) as client:
        refusal = await client.refusal(ECHO)
    assert (refusal.code(), refusal.details()) == (grpc.StatusCode.NOT_FOUND, "There is no “é”.")
    assert ("a", "b") in [(key, value) for key, value in refusal.trailing_metadata()]


@pytest.mark.parametrize("status", [status for status in RpcStatus if status is not RpcStatus.OK])
async def test_each_status_arrives_as_itself(transport, status):
    async with serving([failing(RpcError(status, "x"))], grpc_transport=transport) as server, asking(server) as client:
        assert (await client.refusal(ECHO)).code().value[0] == status


async def test_errors_of_ours_become_their_canonical_status(transport):
    error = ModelNotFoundError("There is no model 'x'.")
    async with serving([failing(error)], grpc_transport=transport) as server, asking(server) as client:
        refusal = await client.refusal(ECHO)
    assert (refusal.code(), refusal.details()) == (grpc.StatusCode.NOT_FOUND, "There is no model 'x'.")


async def test_an_error_nobody_foresaw_is_internal_and_says_nothing(transport):
    async with serving([failing(ValueError("/secret"))], grpc_transport=transport) as server, asking(server) as client:
        refusal = await client.refusal(ECHO)
    assert refusal.code() is grpc.StatusCode.INTERNAL
    assert "secret" not in refusal.details()


async def test_a_long_error_text_is_cut(transport):
    error = RpcError(RpcStatus.INVALID_ARGUMENT, "x" * 5000)
    async with serving([failing(error)], grpc_transport=transport) as server, asking(server) as client:
        assert (await client.refusal(ECHO)).details() == "x" * 1024 + "...TRUNCATED"


@pytest.mark.parametrize(
    ("text", "received"),
    [("x" + "\U0001f600" * 1024, "x" + "\U0001f600" * 255 + "...TRUNCATED"), ("no \udcff file", "no ? file")],
)
async def test_an_error_text_of_any_characters_arrives_under_its_code(transport, text, received):
    error = RpcError(RpcStatus.NOT_FOUND, text)
    async with serving([failing(error)], grpc_transport=transport) as server, asking(server) as client:
        refusal = await client.refusal(ECHO, timeout=5)
    assert (refusal.code(), refusal.details()) == (grpc.StatusCode.NOT_FOUND, received)


async def test_a_deadline_ends_the_call_and_its_handler(transport):
    held = Held()
    async with serving([rpc(held)], grpc_transport=transport) as server, asking(server) as client:
        refusal = await client.refusal(ECHO, timeout=0.2)
        assert refusal.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        async with asyncio.timeout(10):
            await held.cancelled.wait()


async def test_a_client_that_calls_again_at_the_end_is_told_to_go_elsewhere(transport):
    held = Held()
    async with serving([rpc(held)], grpc_transport=transport) as server, asking(server) as client:

        def call_twice():
            client.channel.unary_unary(ECHO)(b"", timeout=30)
            with pytest.raises(grpc.RpcError) as raised:
                client.channel.unary_unary(ECHO)(b"", timeout=30)
            return raised.value.code()

        calling = asyncio.create_task(asyncio.to_thread(call_twice))
        async with asyncio.timeout(10):
            await held.begun.wait()
        closing = asyncio.create_task(server.close(asyncio.get_running_loop().time() + 30))
        await asyncio.sleep(0)
        held.let_go.set()
        assert await calling is grpc.StatusCode.UNAVAILABLE
        assert await closing == 0


async def test_the_log_of_calls_says_why_one_was_given_up(transport, monkeypatch):
    said, held = [], Held()
    monkeypatch.setattr(calls.access, "info", lambda _event, **fields: said.append(fields["status"]))
    async with serving([rpc(held)], grpc_transport=transport, access_log=True) as server, asking(server) as client:
        await client.refusal(ECHO, timeout=0.2)
        async with asyncio.timeout(10):
            await held.cancelled.wait()
        held.begun.clear()
        held.cancelled.clear()
        call = client.future(ECHO, timeout=30)
        async with asyncio.timeout(10):
            await held.begun.wait()
            call.cancel()
            await held.cancelled.wait()
    assert said == ["DEADLINE_EXCEEDED", "CANCELLED"]


async def test_a_client_that_cancels_ends_the_handler(transport):
    held = Held()
    async with serving([rpc(held)], grpc_transport=transport) as server, asking(server) as client:
        call = client.future(ECHO)
        async with asyncio.timeout(10):
            await held.begun.wait()
            call.cancel()
            await held.cancelled.wait()


async def test_a_client_that_disappears_ends_the_handler(transport):
    held = Held()
    async with serving([rpc(held)], grpc_transport=transport) as server:
        async with asking(server) as client:
            call = client.future(ECHO)
            async with asyncio.timeout(10):
                await held.begun.wait()
        assert call.code() is not None
        async with asyncio.timeout(10):
            await held.cancelled.wait()


async def test_requests_that_wait_may_not_fill_the_memory(transport):
    held = Held()
    limits = {"max_buffered_body_bytes": 1000}
    async with serving([rpc(held)], grpc_transport=transport, **limits) as server, asking(server) as client:
        first = client.future(ECHO, bytes(800))
        async with asyncio.timeout(10):
            await held.begun.wait()
        refusal = await client.refusal(ECHO, bytes(800))
        assert refusal.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "max_buffered_body_bytes" in refusal.details()
        held.let_go.set()
        assert len(await asyncio.to_thread(first.result)) == 800
        assert len(await client.ask(ECHO, bytes(800))) == 800


async def test_who_may_not_control_is_refused_before_the_handler(transport):
    called = []

    async def control(_request, _context):
        called.append(True)
        return b""

    rpcs = [rpc(control, role=Role.CONTROL), rpc(echo, "/test.Echo/Open")]
    async with serving(rpcs, grpc_transport=transport) as server, asking(server) as client:
        refusal = await client.refusal(ECHO)
        assert (refusal.code(), refusal.details()) == (grpc.StatusCode.PERMISSION_DENIED, "Not you.")
        assert await client.ask("/test.Echo/Open", b"x") == b"x"
    assert not called


async def test_a_call_that_has_begun_is_finished_while_new_ones_are_refused(transport):
    held = Held()
    async with serving([rpc(held)], grpc_transport=transport) as server, asking(server) as client:
        first = client.future(ECHO, b"first")
        async with asyncio.timeout(10):
            await held.begun.wait()
        closing = asyncio.create_task(server.close(asyncio.get_running_loop().time() + 30))
        await asyncio.sleep(0)
        assert (await client.refusal(ECHO, b"second")).code() is grpc.StatusCode.UNAVAILABLE
        assert not closing.done()
        held.let_go.set()
        assert await asyncio.to_thread(first.result) == b"first"
        assert await closing == 0


async def test_a_call_that_takes_too_long_is_cut_off_and_counted(transport):
    held = Held()
    async with serving([rpc(held)], grpc_transport=transport) as server, asking(server) as client:
        call = client.future(ECHO)
        async with asyncio.timeout(10):
            await held.begun.wait()
        assert await server.close(asyncio.get_running_loop().time()) == 1
        assert held.cancelled.is_set()
        with pytest.raises(grpc.RpcError) as raised:
            await asyncio.to_thread(call.result)
        assert raised.value.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)


async def test_streams_are_served_and_end_when_the_server_closes(transport):
    async def double(requests, _context):
        async for request in requests:
            yield request * 2

    async def count(requests, _context):
        async for request in requests:
            for number in range(int(request)):
                yield str(number).encode()
        await asyncio.Event().wait()

    streams = [StreamRpc("/test.Echo/Double", double), StreamRpc("/test.Echo/Count", count, requests=False)]
    async with serving([rpc(echo), *streams], grpc_transport=transport) as server, asking(server) as client:
        doubled = client.channel.stream_stream("/test.Echo/Double")(iter([b"a", b"b"]), timeout=30)
        assert await asyncio.to_thread(list, doubled) == [b"aa", b"bb"]
        counted = client.channel.unary_stream("/test.Echo/Count")(b"2", timeout=30)
        assert [await asyncio.to_thread(next, counted) for _ in range(2)] == [b"0", b"1"]
        assert await client.ask(ECHO, b"beside") == b"beside"
        assert await server.close(asyncio.get_running_loop().time() + 30) == 0
        with pytest.raises(grpc.RpcError) as raised:
            await asyncio.to_thread(next, counted)
        assert raised.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_stream_that_fails_says_so(transport):
    async def fail(_requests, _context):
        yield b"first"
        raise RpcError(RpcStatus.ABORTED, "no more")

    async with (
        serving([StreamRpc("/test.Echo/Fail", fail)], grpc_transport=transport) as server,
        asking(server) as client,
    ):
        stream = client.channel.stream_stream("/test.Echo/Fail")(iter([]), timeout=30)
        assert await asyncio.to_thread(next, stream) == b"first"
        with pytest.raises(grpc.RpcError) as raised:
            await asyncio.to_thread(next, stream)
        assert (raised.value.code(), raised.value.details()) == (grpc.StatusCode.ABORTED, "no more")


async def test_a_client_that_leaves_its_stream_is_no_error(transport):
    said, ended = [], asyncio.Event()
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: said.append(context["message"]))

    async def repeat(requests, _context):
        try:
            async for request in requests:
                yield request
        finally:
            ended.set()

    streams = [StreamRpc("/test.Echo/Repeat", repeat)]
    async with serving(streams, grpc_transport=transport) as server, asking(server) as client:
        never_done = threading.Event()
        stream = client.channel.stream_stream("/test.Echo/Repeat")(one_and_wait(never_done), timeout=30)
        assert await asyncio.to_thread(next, stream) == b"first"
        stream.cancel()
        async with asyncio.timeout(10):
            await ended.wait()
        never_done.set()
    gc.collect()
    assert said == []


def one_and_wait(never_done):
    yield b"first"
    never_done.wait()


async def test_a_stream_that_finishes_answers_what_has_come_when_the_server_closes(transport):
    held = Held()

    async def slow(requests, context):
        async for request in requests:
            yield await held(request, context)

    rpcs = [StreamRpc("/test.Echo/Slow", slow, finishes=True)]
    async with serving(rpcs, grpc_transport=transport) as server, asking(server) as client:
        sent = iter([b"first"])
        more = threading.Event()

        def requests():
            yield next(sent)
            more.wait(30)

        stream = client.channel.stream_stream("/test.Echo/Slow")(requests(), timeout=30)
        async with asyncio.timeout(10):
            await held.begun.wait()
        closing = asyncio.create_task(server.close(asyncio.get_running_loop().time() + 30))
        await asyncio.sleep(0)
        held.let_go.set()
        assert await asyncio.to_thread(next, stream) == b"first"
        with pytest.raises(grpc.RpcError) as raised:
            await asyncio.to_thread(next, stream)
        assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
        assert await closing == 0
        more.set()


async def test_requests_of_streams_count_as_owed_until_they_are_answered(transport):
    async def gather(requests, _context):
        async for request in requests:
            if request == b"answer":
                yield b"1"

    rpcs = [StreamRpc("/test.Echo/Gather", gather)]
    limits = {"max_buffered_body_bytes": 1000, "grpc_transport": transport}
    async with serving(rpcs, **limits) as server, asking(server) as client:
        ask = client.channel.stream_stream("/test.Echo/Gather")
        answered = ask(iter([b"answer"] * 500), timeout=30)
        assert len(await asyncio.to_thread(list, answered)) == 500
        with pytest.raises(grpc.RpcError) as raised:
            await asyncio.to_thread(list, ask(iter([b"wait" * 100] * 3), timeout=30))
        assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        # What was owed to a stream that ended is owed no more.
        assert await asyncio.to_thread(list, ask(iter([b"wait" * 100] * 2), timeout=30)) == []


async def test_a_stream_whose_answers_nobody_reads_is_cut_off(transport):
    ended = asyncio.Event()

    async def echo_all(requests, _context):
        try:
            async for request in requests:
                yield request
        finally:
            ended.set()

    rpcs = [StreamRpc("/test.Echo/All", echo_all, finishes=True)]
    async with (
        serving(rpcs, grpc_transport=transport, body_timeout_s=0.5) as server,
        asking(server) as client,
    ):
        # More than all buffers on the way hold: both directions come to a stop, and that the client leaves is not seen.
        call = client.channel.stream_stream("/test.Echo/All")(iter([bytes(2**20)] * 200), timeout=30)
        async with asyncio.timeout(20):
            await ended.wait()
        call.cancel()
        assert await server.close(asyncio.get_running_loop().time() + 10) == 0
