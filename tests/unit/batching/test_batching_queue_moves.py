"""Calls that are slow on the event loop move to the thread, and return: with everything around the queue in hand."""

import asyncio
import random

import numpy as np
import pytest
from test_batching_queue import SlowOnLoop, column, settle

from tensorhost.batching import Span, own_time
from tensorhost.batching.inlining import BURST_S, HAND_OVER_S
from tensorhost.batching.own_time import Use
from tensorhost.core.errors import DeadlineExceededError

pytestmark = pytest.mark.looptime

BUDGET_S = 0.001
SLIGHTLY_S = BUDGET_S + BURST_S + HAND_OVER_S / 2
"""What one call takes that moves its size, by as little as possible."""

ENOUGH = round(BURST_S / HAND_OVER_S) + 1
"""Quick calls that bring it back."""


class Bench(SlowOnLoop):
    """Calls of up to four rows were quick at warm-up."""

    def __init__(self, monkeypatch, **options):
        super().__init__(monkeypatch, **({"inline_s": BUDGET_S} | options))
        self.used = Use(0.0, 0, 0)
        monkeypatch.setattr(own_time, "use_of_this_thread", lambda: self.used)

    async def ask_of(self, seconds, *values, **options):
        """The answer of a call that takes so long, and whether it ran on the thread."""
        self.call_s = seconds
        request = self.ask(*values, **options)
        await settle()
        on_thread = bool(self.executor.calls)
        if on_thread:
            await self.executor.run_next()
        return column(await request), on_thread


@pytest.mark.parametrize("options", [{}, {"batched": False}, {"padding": (Span(2, 4),)}, {"inline_elements": 100}])
async def test_after_a_call_of_five_seconds_the_next_runs_on_the_thread(monkeypatch, options):
    bench = Bench(monkeypatch, **options)
    assert await bench.ask_of(5.0, 1) == ([2], False)
    assert (bench.queue.inline_rows, bench.moves) == (0, [(4, 0)])
    assert await bench.ask_of(5.0, 2) == ([4], True)
    assert await bench.ask_of(0.0, 3, 4) == ([6, 8], True)
    assert bench.moves == [(4, 0)]


async def test_a_stall_leaves_calls_where_they_are(monkeypatch):
    bench = Bench(monkeypatch)
    for seconds in (BUDGET_S + BURST_S, 0.0001, 0.0001):
        assert await bench.ask_of(seconds, 1) == ([2], False)
    assert (bench.queue.inline_rows, bench.moves) == (4, [])


@pytest.mark.parametrize("waits", [0, 1])
async def test_what_the_scheduler_takes_from_calls_with_debt_is_not_theirs(monkeypatch, waits):
    bench = Bench(monkeypatch)
    model = bench.queue._execution._run

    def stopped(inputs):
        before = bench.used
        bench.used = Use(before.processor_s + 0.0001, before.waits + waits, before.stops + 1)
        return model(inputs)

    bench.queue._execution._run = stopped
    # The first is not watched yet.
    for _ in range(10):
        await bench.ask_of(0.03, 1)
    assert bench.moves == ([(4, 0)] if waits else [])


async def test_quick_calls_on_the_thread_come_back_however_long_they_are_on_their_way(monkeypatch):
    bench = Bench(monkeypatch)
    await bench.ask_of(SLIGHTLY_S, 1, 1, 1, 1)
    assert bench.moves == [(4, 3)]
    bench.call_s = 0.0001
    for _ in range(ENOUGH):
        request = bench.ask(1, 1, 1, 1)
        await settle()
        bench.spent_s += 10.0
        await bench.executor.run_next(afterwards=lambda: setattr(bench, "spent_s", bench.spent_s + 10.0))
        await request
    assert bench.moves == [(4, 3), (3, 4)]
    assert await bench.ask_of(0.0001, 1, 1, 1, 1) == ([2] * 4, False)


async def test_a_call_that_nobody_waits_for_when_the_thread_has_it_tells_nothing(monkeypatch):
    bench = Bench(monkeypatch)
    await bench.ask_of(SLIGHTLY_S, 1, 1, 1, 1)
    for _ in range(ENOUGH):
        request = bench.ask(1, 1, 1, 1)
        await settle()
        request.cancel()
        await settle()
        await bench.executor.run_next()
    assert bench.moves == [(4, 3)]


async def test_what_moved_by_its_rows_leaves_smaller_calls_on_the_event_loop(monkeypatch):
    bench = Bench(monkeypatch)
    await bench.ask_of(SLIGHTLY_S, 1, 1, 1, 1)
    assert await bench.ask_of(0.0001, 1, 1, 1) == ([2] * 3, False)
    assert await bench.ask_of(0.0001, 1, 1, 1, 1) == ([2] * 4, True)


async def test_calls_larger_than_those_that_were_timed_speak_for_none(monkeypatch):
    bench = Bench(monkeypatch, inline_elements=4)
    large = {"x": np.zeros((4, 2), np.float32)}
    await bench.ask_of(SLIGHTLY_S, 1, 1, 1, 1)
    for _ in range(ENOUGH):
        assert (await bench.ask_of(0.0, inputs=large))[1]
    assert bench.moves == [(4, 3)]
    for _ in range(ENOUGH):
        await bench.ask_of(0.0, 1, 1, 1, 1)
    assert bench.moves == [(4, 3), (3, 4)]
    # Nor against any.
    assert (await bench.ask_of(5.0, inputs=large))[1]
    assert bench.moves == [(4, 3), (3, 4)]


async def test_a_call_that_is_filled_up_counts_as_what_it_becomes(monkeypatch):
    bench = Bench(monkeypatch, padding=(Span(0, 4),))
    await bench.ask_of(SLIGHTLY_S, 1)
    assert bench.moves == [(4, 3)]
    for _ in range(ENOUGH):
        assert (await bench.ask_of(0.0, 1))[1]
    assert bench.moves == [(4, 3), (3, 4)]


async def test_a_deadline_holds_where_calls_have_moved(monkeypatch):
    bench = Bench(monkeypatch)
    loop = asyncio.get_running_loop()
    bench.call_s = 5.0
    with_it = bench.ask(1)
    behind = [bench.ask(2, 2, deadline=loop.time() + 1.0) for _ in range(3)]
    await settle()
    assert column(await with_it) == [2]
    # One shared the call that held up the event loop, the others' time was up when it ended.
    assert column(await behind[0]) == [4, 4]
    for request in behind[1:]:
        with pytest.raises(DeadlineExceededError):
            await request
    asked = bench.ask(3, deadline=loop.time() + 1.0)
    await settle()
    assert bench.executor.calls
    bench.spent_s += 1.001
    with pytest.raises(DeadlineExceededError):
        await asked
    await bench.executor.run_next()


@pytest.mark.parametrize("seed", range(5))
async def test_whatever_moves_when_everybody_is_answered_in_time(monkeypatch, seed):
    bench = Bench(monkeypatch)
    loop = asyncio.get_running_loop()
    chance = random.Random(seed)
    late, requests = [], []
    for _ in range(300):
        bench.call_s = chance.choice([0.0001, 0.0001, 0.002, 0.12])
        deadline = loop.time() + chance.choice([0.001, 0.1, 1.0])
        request = bench.ask(*range(chance.randint(1, 6)), deadline=deadline)
        # Told when its time is up, or when the call ends that holds up the event loop just then.
        request.add_done_callback(lambda _, at=deadline: late.append(loop.time() - at))
        requests.append(request)
        if chance.random() < 0.5:
            await settle()
        if chance.random() < 0.5 and bench.executor.calls:
            await bench.executor.run_next()
        bench.spent_s += chance.choice([0.0, 0.01])
        await settle()
    for _ in range(101):
        bench.spent_s += 0.01
        await settle()
    assert all(request.done() for request in requests)
    outcomes = await asyncio.gather(*requests, return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {dict, DeadlineExceededError}
    assert max(late) <= 0.12 + 0.01 + 1e-6
    assert bench.moves
