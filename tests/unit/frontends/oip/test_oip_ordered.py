"""Many requests of one stream at once: their order, their number, and their end."""

from __future__ import annotations

import asyncio
import contextlib
import gc

import pytest

from tensorhost.frontends.oip.services.ordered import answered_in_order


class Desk:
    """Answers each request when it is let go, and notes what it has in hand."""

    def __init__(self):
        self.held = {}
        self.cancelled = []
        self.most = 0

    async def __call__(self, request):
        self.held[request] = asyncio.get_running_loop().create_future()
        self.most = max(self.most, len(self.held))
        try:
            await self.held[request]
        except asyncio.CancelledError:
            self.cancelled.append(request)
            raise
        finally:
            del self.held[request]
        return request.upper()

    def let_go(self, request):
        self.held[request].set_result(None)


async def arriving(*requests, error=None):
    for request in requests:
        yield request
    if error is not None:
        raise error


async def turns():
    """Let everything run that can."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_answers_come_in_the_order_of_their_requests():
    desk = Desk()
    stream = answered_in_order(arriving(b"a", b"b", b"c"), desk, most=8)
    first = asyncio.ensure_future(anext(stream))
    await turns()
    assert set(desk.held) == {b"a", b"b", b"c"}
    desk.let_go(b"c")
    desk.let_go(b"b")
    await turns()
    assert not first.done()
    desk.let_go(b"a")
    assert [await first, *[answer async for answer in stream]] == [b"A", b"B", b"C"]


async def test_no_more_are_in_hand_than_may_be():
    desk = Desk()
    taken = []
    async with contextlib.aclosing(
        answered_in_order(arriving(*(b"%d" % n for n in range(10))), desk, most=3)
    ) as stream:
        following = asyncio.ensure_future(anext(stream))
        for number in range(10):
            await turns()
            # An answer that nobody has taken still counts.
            assert len(desk.held) <= 3
            desk.let_go(b"%d" % number)
            taken.append(await following)
            await turns()
            assert sorted(desk.held) == [b"%d" % n for n in range(number + 1, min(number + 3, 10))]
            following = asyncio.ensure_future(anext(stream))
        with pytest.raises(StopAsyncIteration):
            await following
    assert taken == [b"%d" % n for n in range(10)]
    assert desk.most == 3


async def test_requests_that_end_with_an_error_are_answered_before_it():
    desk = Desk()
    stream = answered_in_order(arriving(b"a", b"b", error=ConnectionError("gone")), desk, most=8)
    first = asyncio.ensure_future(anext(stream))
    await turns()
    desk.let_go(b"a")
    desk.let_go(b"b")
    assert [await first, await anext(stream)] == [b"A", b"B"]
    with pytest.raises(ConnectionError):
        await anext(stream)


async def test_nothing_goes_on_when_the_stream_is_given_up():
    desk = Desk()
    endless = asyncio.Event()

    async def requests():
        yield b"a"
        yield b"b"
        try:
            await endless.wait()
        finally:
            desk.cancelled.append(b"reading")

    stream = answered_in_order(requests(), desk, most=8)
    first = asyncio.ensure_future(anext(stream))
    await turns()
    desk.let_go(b"a")
    assert await first == b"A"
    await stream.aclose()
    assert sorted(desk.cancelled) == [b"b", b"reading"]
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_nothing_goes_on_when_its_reader_is_cancelled():
    desk = Desk()
    stream = answered_in_order(arriving(b"a", b"b"), desk, most=8)
    first = asyncio.ensure_future(anext(stream))
    await turns()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert sorted(desk.cancelled) == [b"a", b"b"]


async def test_what_an_answer_raises_ends_the_stream():
    async def answer(request):
        if request == b"b":
            raise ValueError(request)
        return request

    stream = answered_in_order(arriving(b"a", b"b", b"c"), answer, most=1)
    assert await anext(stream) == b"a"
    with pytest.raises(ValueError, match="b"):
        await anext(stream)
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_failures_that_nobody_takes_are_not_reported_as_forgotten():
    forgotten = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: forgotten.append(context["message"]))

    gate = asyncio.Event()
    failed = []

    async def answer(request):
        if request == b"a":
            await gate.wait()
            return b"A"
        failed.append(request)
        if len(failed) == 2:
            # A turn of the loop later, so that both have ended when the first is answered.
            asyncio.get_running_loop().call_soon(gate.set)
        raise ValueError(request)

    answers = answered_in_order(arriving(b"a", b"b", b"c"), answer, most=8)
    assert await anext(answers) == b"A"
    with pytest.raises(ValueError, match="b"):
        await anext(answers)
    del answers
    gc.collect()
    assert (failed, forgotten) == ([b"b", b"c"], [])
