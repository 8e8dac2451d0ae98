"""A runtime called from threads, which does what the test says at each call."""

from __future__ import annotations

import asyncio
import threading
from types import SimpleNamespace

import numpy as np
import pytest

from tensorhost.bench import bare_runtime
from tensorhost.bench.bare_runtime import BareRuntime
from tensorhost.bench.model_lanes import LoadedModel
from tensorhost.bench.plan import Load
from tensorhost.core.errors import ModelFailedError
from tensorhost.core.signatures import Signature


class FakeEngine:
    """Admits to a runtime whose every call is ``call`` with the call's number, from 1."""

    def __init__(self, call):
        self._call = call
        self._lock = threading.Lock()
        self._calls = 0
        self.servable = SimpleNamespace(loaded=SimpleNamespace(runtime=self))

    def deadline(self, _timeout_s):
        return 1e9

    async def admit(self, *_asked):
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_exception):
        pass

    def prepare(self, *_asked):
        return SimpleNamespace(preprocessing=SimpleNamespace(apply=lambda inputs: inputs))

    def run(self, _signature, _inputs):
        with self._lock:
            self._calls += 1
            number = self._calls
        self._call(number)


def run_of(call, concurrency=2, **load):
    inputs = {"x": np.zeros((1, 2), np.float32)}
    model = LoadedModel(FakeEngine(call), "m", "1", Signature("serving_default", {}, {}), inputs)
    return BareRuntime(model, Load(concurrency, **load))


@pytest.mark.parametrize("every_s", [0.0, 3600.0])
async def test_every_call_is_counted_once(monkeypatch, every_s):
    monkeypatch.setattr(bare_runtime, "_HAND_OVER_EVERY_S", every_s)

    def fail_each_fourth(number):
        if number % 4 == 0:
            raise ModelFailedError("It failed.")

    run = run_of(fail_each_fourth, concurrency=3, duration_s=None, requests=1000)
    tally = await run.run()
    assert tally is run.tally
    assert (tally.answered, tally.answered_in_time, tally.errors) == (750, 750, {"MODEL_FAILED": 250})
    assert tally.window_s == tally.elapsed_s > 0


async def test_what_is_done_can_be_seen_before_the_end(monkeypatch):
    monkeypatch.setattr(bare_runtime, "_HAND_OVER_EVERY_S", 0.0)
    loop = asyncio.get_running_loop()
    seen, looked = [], threading.Event()

    def look():
        seen.append((run.tally.answered, run.tally.latencies.quantile(0.5) > 0))
        looked.set()

    def call(number):
        if number == 10:
            loop.call_soon_threadsafe(look)
        if number >= 10:
            looked.wait()

    run = run_of(call, duration_s=None, requests=20)
    tally = await run.run()
    assert seen == [(pytest.approx(8, abs=1), True)]
    assert tally.answered == 20


async def test_stopping():
    run = run_of(lambda number: run.stop() if number == 50 else None, duration_s=None, requests=10_000)
    tally = await run.run()
    assert tally.answered == pytest.approx(50, abs=1)
