"""Lanes into an engine that refuses, fails or answers at once, in virtual time."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter

import numpy as np
import pytest

from tensorhost.bench.model_lanes import EngineLane, LoadedModel, engine_settings
from tensorhost.bench.open_loop import pace
from tensorhost.bench.plan import Load
from tensorhost.core.dtypes import DType
from tensorhost.core.errors import ErrorCode, ModelFailedError, OverloadedError
from tensorhost.core.signatures import Signature
from tensorhost.core.tensors import TensorSpec

pytestmark = pytest.mark.looptime

SIGNATURE = Signature("serving_default", {"x": TensorSpec("x", DType.FLOAT32, (None, 2))}, {})
FAR_TOO_OFTEN = 1000


class FakeEngine:
    """Lets ``room`` requests in at a time, each for ``takes_s`` (0: no turn of the loop), and ends them as told."""

    def __init__(self, *, room=1, takes_s=1.0, failure=None):
        self.room = room
        self.takes_s = takes_s
        self.failure = failure
        self.asked = 0
        self._in_this_turn = 0

    def deadline(self, _timeout_s):
        return 1e9

    async def admit(self, *_asked):
        self.asked += 1
        if not self._in_this_turn:
            asyncio.get_running_loop().call_soon(self._next_turn)
        self._in_this_turn += 1
        if self._in_this_turn > FAR_TOO_OFTEN:
            raise RuntimeError("a lane keeps the event loop to itself")
        if not self.room:
            raise OverloadedError("Full.", retry_after_s=1.0)
        self.room -= 1
        return self._stay()

    @contextlib.contextmanager
    def _stay(self):
        try:
            yield
        finally:
            self.room += 1

    def _next_turn(self):
        self._in_this_turn = 0

    def prepare(self, *_asked):
        pass

    async def run(self, *_asked):
        if self.takes_s:
            await asyncio.sleep(self.takes_s)
        if self.failure is not None:
            raise self.failure


async def run_over(engine, lanes=2, rows=1, **load):
    model = LoadedModel(engine, "m", "1", SIGNATURE, {"x": np.zeros((rows, 2), np.float32)})
    opened = [EngineLane(model) for _ in range(lanes)]
    try:
        run = pace(opened, Load(lanes, **load), asyncio.get_running_loop().time)
        return await run.run()
    finally:
        for lane in opened:
            await lane.close()


async def test_requests_that_are_answered():
    engine = FakeEngine(room=2)
    tally = await run_over(engine, duration_s=10.0)
    assert (tally.answered, tally.errors) == (20, Counter())
    assert (tally.latencies.lowest_s, tally.latencies.highest_s) == pytest.approx((1.0, 1.0))


async def test_a_lane_that_is_refused_lets_the_others_work_and_is_no_hot_loop():
    engine = FakeEngine(room=1)
    tally = await run_over(engine, lanes=3, duration_s=10.0)
    assert tally.answered >= 9
    assert tally.errors.keys() == {ErrorCode.OVERLOADED.value}
    # Two lanes without room, ten times a second each.
    assert tally.failed == pytest.approx(200, abs=10)
    assert tally.elapsed_s == pytest.approx(10.0, abs=1.2)


async def test_a_run_of_refusals_can_be_stopped_and_ends():
    tally = await run_over(FakeEngine(room=0), duration_s=3.0)
    assert tally.answered == 0
    assert tally.elapsed_s == pytest.approx(3.0, abs=0.3)


@pytest.mark.parametrize(("failure", "rows"), [(ModelFailedError("It failed."), 1), (None, 0)])
async def test_what_ends_at_once_lets_the_event_loop_go_on(failure, rows):
    engine = FakeEngine(room=2, takes_s=0.0, failure=failure)
    tally = await run_over(engine, rows=rows, duration_s=None, requests=5 * FAR_TOO_OFTEN)
    assert engine.asked == tally.answered + tally.failed == 5 * FAR_TOO_OFTEN
    assert tally.errors == ({ErrorCode.MODEL_FAILED.value: engine.asked} if failure else {})


def test_limits_that_protect_a_server_from_its_clients_are_lifted_unless_somebody_set_them(monkeypatch):
    monkeypatch.delenv("TENSORHOST_MAX_IN_FLIGHT", raising=False)
    monkeypatch.setenv("TENSORHOST_MAX_QUEUE_ROWS", "7")
    settings = engine_settings({"max_batch_size": 3})
    assert settings.max_in_flight > 10**9
    assert (settings.max_queue_rows, settings.max_batch_size) == (7, 3)
    assert engine_settings({"max_in_flight": 5}).max_in_flight == 5
