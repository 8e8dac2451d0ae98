"""Closed and open loops in virtual time, over lanes that answer when the test says."""

from __future__ import annotations

import asyncio

import pytest

from tensorhost.bench.open_loop import pace
from tensorhost.bench.pacing import BROKEN, NO_ANSWER, UNREACHABLE
from tensorhost.bench.plan import Load

pytestmark = pytest.mark.looptime


class FakeLane:
    """Answers each request after ``takes_s`` (None: never) with ``error``; both may be changed between requests."""

    def __init__(self, takes_s=1.0, error=None):
        self.takes_s = takes_s
        self.error = error
        self.sent = []
        self.abandoned = 0
        self._timer = None

    def send(self, finished):
        loop = asyncio.get_running_loop()
        assert self._timer is None, "two requests at a time on one lane"
        self.sent.append(loop.time())
        self._timer = loop.call_later(1e9 if self.takes_s is None else self.takes_s, self._answer, finished)

    def abandon(self):
        self.abandoned += 1
        self._timer.cancel()
        self._timer = None

    def _answer(self, finished):
        self._timer = None
        finished(self, self.error)


def start(lanes, **load):
    clock = asyncio.get_running_loop().time
    return pace(lanes, Load(len(lanes), **load), clock)


def held_up(lanes, at_s, for_s, **load):
    """A run whose process stands still for a while: its clock has gone on when it looks again."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    return pace(
        lanes,
        Load(len(lanes), **load),
        lambda: loop.time() + (for_s if loop.time() - began >= at_s else 0.0),
    )


class TestClosedLoop:
    async def test_each_lane_asks_again_when_it_has_its_answer(self):
        lanes = [FakeLane(1.0), FakeLane(2.0)]
        tally = await start(lanes, duration_s=10.0).run()
        assert [len(lane.sent) for lane in lanes] == [10, 5]
        assert (tally.answered, tally.failed) == (15, 0)
        assert tally.requests_per_s == pytest.approx(1.5, rel=0.05)
        assert (tally.latencies.lowest_s, tally.latencies.highest_s) == pytest.approx((1.0, 2.0))

    async def test_what_was_begun_before_the_end_is_waited_for_and_does_not_count_towards_the_rate(self):
        tally = await start([FakeLane(4.0)], duration_s=10.0).run()
        assert (tally.answered, tally.answered_in_time) == (3, 2)
        assert (tally.window_s, tally.elapsed_s) == pytest.approx((10.0, 12.0), abs=0.2)
        assert tally.requests_per_s == pytest.approx(0.2)

    async def test_a_request_longer_than_the_run_has_a_rate_all_the_same(self):
        tally = await start([FakeLane(20.0)], duration_s=1.0).run()
        assert tally.requests_per_s == pytest.approx(0.05, rel=0.02)

    async def test_a_number_of_requests(self):
        lanes = [FakeLane(1.0) for _ in range(3)]
        tally = await start(lanes, duration_s=None, requests=7).run()
        assert tally.answered == tally.answered_in_time == sum(len(lane.sent) for lane in lanes) == 7
        assert tally.window_s == tally.elapsed_s == pytest.approx(3.0)

    async def test_fewer_requests_than_lanes(self):
        tally = await start([FakeLane() for _ in range(8)], duration_s=None, requests=2).run()
        assert tally.answered == 2

    async def test_errors_are_counted_by_code_and_are_no_latencies(self):
        tally = await start([FakeLane(1.0, "OVERLOADED"), FakeLane(1.0)], duration_s=3.5).run()
        assert tally.errors == {"OVERLOADED": 4}
        assert tally.answered == 4

    async def test_an_answer_that_does_not_come_is_a_failure_and_the_lane_goes_on(self):
        lane = FakeLane(None)
        tally = await start([lane], duration_s=7.0, timeout_s=3.0).run()
        assert tally.errors == {NO_ANSWER: 3}
        assert lane.abandoned == 3
        assert tally.elapsed_s == pytest.approx(9.0, abs=0.5)

    async def test_stopping_waits_a_moment_for_answers_and_gives_the_rest_up(self):
        quick, slow = FakeLane(0.5), FakeLane(None)
        run = start([quick, slow], duration_s=100.0, timeout_s=50.0)
        asyncio.get_running_loop().call_later(10.0, run.stop)
        tally = await run.run()
        assert tally.elapsed_s == pytest.approx(11.0, abs=0.2)
        assert (tally.unanswered, slow.abandoned) == (1, 1)
        assert tally.window_s == pytest.approx(10.0, abs=0.2)
        assert tally.answered == pytest.approx(20, abs=1)

    async def test_a_server_that_has_gone_ends_the_run(self):
        lane = FakeLane(0.1)
        run = start([lane], duration_s=100.0)

        def go_away():
            lane.error = UNREACHABLE

        asyncio.get_running_loop().call_later(5.0, go_away)
        tally = await run.run()
        assert tally.gone
        assert tally.window_s == pytest.approx(5.0, abs=0.3)
        assert tally.elapsed_s < 9.0

    async def test_a_server_that_comes_back_does_not(self):
        lane = FakeLane(0.1)
        run = start([lane], duration_s=20.0)
        loop = asyncio.get_running_loop()
        loop.call_later(5.0, setattr, lane, "error", UNREACHABLE)
        loop.call_later(6.5, setattr, lane, "error", None)
        tally = await run.run()
        assert not tally.gone
        assert tally.errors[UNREACHABLE] > 5
        assert tally.elapsed_s == pytest.approx(20.0, abs=0.3)

    async def test_a_slow_answer_while_others_cannot_connect_is_waited_for(self):
        tally = await start([FakeLane(10.0), FakeLane(0.5, UNREACHABLE)], duration_s=9.0).run()
        assert not tally.gone
        assert tally.answered == 1

    async def test_broken_connections_are_not_a_server_that_has_gone(self):
        tally = await start([FakeLane(0.5, BROKEN)], duration_s=10.0).run()
        assert not tally.gone
        assert set(tally.errors) == {BROKEN}


class TestOpenLoop:
    async def test_requests_are_due_at_even_intervals(self):
        lanes = [FakeLane(0.05) for _ in range(3)]
        run = start(lanes, rate=10.0, duration_s=2.0)
        began = asyncio.get_running_loop().time()
        tally = await run.run()
        sent = sorted(instant - began for lane in lanes for instant in lane.sent)
        assert sent == pytest.approx([number / 10 for number in range(20)], abs=1e-3)
        assert (tally.answered, tally.waited, tally.unsent) == (20, 0, 0)
        assert tally.lateness.count == 20
        assert tally.requests_per_s == pytest.approx(10.0, rel=0.06)

    async def test_latency_counts_from_when_a_request_was_due(self):
        # One lane, answers in 0.3 s, one due each 0.2 s: the n-th waits n tenths of a second.
        tally = await start([FakeLane(0.3)], rate=5.0, duration_s=None, requests=10).run()
        assert tally.answered == 10
        assert tally.latencies.lowest_s == pytest.approx(0.3, abs=0.01)
        assert tally.latencies.highest_s == pytest.approx(0.3 + 9 * 0.1, abs=0.01)
        assert tally.waited == 9

    async def test_a_pause_of_the_server_is_seen_by_every_request_due_in_it(self):
        lane = FakeLane(0.001)
        run = start([lane], rate=10.0, duration_s=10.0)
        loop = asyncio.get_running_loop()
        loop.call_later(4.95, setattr, lane, "takes_s", 2.0)
        loop.call_later(5.5, setattr, lane, "takes_s", 0.001)
        tally = await run.run()
        # Due at 5.0, 5.1 … 6.9 while one answer takes until 7.0.
        assert tally.latencies.quantile(0.90) == pytest.approx(1.0, abs=0.15)
        assert tally.answered == 100

    async def test_a_generator_that_was_held_up_says_so_for_every_request_due_meanwhile(self):
        lanes = [FakeLane(0.001) for _ in range(2)]
        tally = await held_up(lanes, at_s=1.005, for_s=1.0, rate=100.0, duration_s=3.0).run()
        assert tally.answered == tally.lateness.count == 300
        assert tally.lateness.highest_s == pytest.approx(1.0, abs=0.02)
        # A third of all requests was due in that second.
        assert tally.lateness.quantile(0.8) == pytest.approx(0.4, abs=0.05)
        assert tally.latencies.quantile(0.8) == pytest.approx(0.4, abs=0.1)

    async def test_a_lane_that_is_free_when_requests_are_noticed_is_not_called_busy(self):
        # Held up while the first is on its way: when its answer is read, 0.1 s to 1.0 s are due.
        lane = FakeLane(0.05)
        tally = await held_up([lane], at_s=0.02, for_s=1.0, rate=10.0, duration_s=None, requests=11).run()
        assert tally.waited == 9
        assert tally.lateness.count == tally.answered == 11
        assert tally.lateness.highest_s == pytest.approx(0.95, abs=0.01)

    async def test_requests_are_sent_in_the_order_in_which_they_were_due(self):
        # One answer a second, one due each 0.3 s: the longer the run, the longer each waits.
        run = start([FakeLane(1.0)], rate=1 / 0.3, duration_s=None, requests=20)
        sent, send = [], run._send

        def remember(lane, began, now):
            sent.append(began)
            send(lane, began, now)

        run._send = remember
        await run.run()
        assert len(sent) == 20
        assert sent == sorted(sent)

    async def test_what_is_due_while_all_lanes_are_busy_is_noticed_within_a_millisecond(self):
        tally = await start([FakeLane(1.0)], rate=100.0, duration_s=10.0).run()
        assert tally.lateness.count == 1000
        assert tally.lateness.highest_s <= 0.00101

    async def test_what_is_due_and_never_sent_is_told(self):
        tally = await start([FakeLane(1.0)], rate=100.0, duration_s=10.0).run()
        assert tally.answered == 10
        assert tally.unsent == 990
        assert tally.answered + tally.unsent == 1000

    async def test_generators_that_share_a_rate_take_turns(self):
        lanes = [FakeLane(0.01), FakeLane(0.01)]
        whole = Load(2, rate=10.0, duration_s=1.0)
        clock = asyncio.get_running_loop().time
        began = clock()
        runs = [pace([lane], whole.share(index, 2), clock).run() for index, lane in enumerate(lanes)]
        await asyncio.gather(*runs)
        sent = sorted(instant - began for lane in lanes for instant in lane.sent)
        assert sent == pytest.approx([number / 10 for number in range(10)], abs=1e-3)

    async def test_stopping(self):
        lane = FakeLane(0.01)
        run = start([lane], rate=10.0, duration_s=100.0)
        asyncio.get_running_loop().call_later(3.0, run.stop)
        tally = await run.run()
        assert tally.answered == pytest.approx(30, abs=2)
        assert tally.window_s == pytest.approx(3.0, abs=0.1)
