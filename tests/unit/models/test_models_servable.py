from __future__ import annotations

import asyncio
import math

import numpy as np
import pytest
from model_fakes import FakeRuntime, signature

from tensorhost.batching import QueueOptions
from tensorhost.core.errors import ModelNotReadyError, SignatureNotFoundError
from tensorhost.core.ids import ModelId
from tensorhost.core.requests import Timings
from tensorhost.models.config import ModelConfig
from tensorhost.models.loading import LoadedVersion
from tensorhost.models.servable import Servable
from tensorhost.telemetry import VersionMetrics

OPTIONS = QueueOptions(batched=True, max_batch_rows=4, batch_timeout_s=0, max_queue_rows=8, inline_rows=4)


@pytest.fixture
async def servable():
    runtime = FakeRuntime(lambda x: x, signature(), signature(name="other"))
    loaded = LoadedVersion(runtime, ModelConfig(), {}, {}, {}, 0.0, 0.0, 1)
    times = iter(range(1, 1000))
    options = dict.fromkeys(runtime.signatures, OPTIONS)
    return Servable(ModelId("m", "1"), loaded, VersionMetrics("m", "1"), options, lambda: float(next(times)))


async def test_signatures_by_name(servable):
    assert servable.signature(None).name == "serving_default"
    assert servable.signature("other").name == "other"
    with pytest.raises(SignatureNotFoundError, match="has no signature 'x'; it has: serving_default, other"):
        servable.signature("x")


async def test_a_lease_is_given_back_once(servable):
    first, second = servable.lease(), servable.lease()
    first.release()
    first.release()
    assert servable.leases == 1
    with second:
        pass
    assert servable.leases == 0


async def test_giving_back_is_use(servable):
    before = servable.last_used
    servable.lease().release()
    assert servable.last_used > before


async def test_nothing_lent_needs_no_waiting(servable):
    assert await servable.drain(0)


async def test_draining_ends_with_the_last_lease(servable):
    leases = [servable.lease(), servable.lease()]
    draining = asyncio.create_task(servable.drain(20))
    for lease in leases:
        await asyncio.sleep(0)
        assert not draining.done()
        lease.release()
    assert await draining


async def test_draining_ends_with_its_time(servable):
    servable.lease()
    assert not await servable.drain(0.01)


async def test_after_refusing_nothing_is_queued_any_more(servable):
    def call():
        inputs = {"x": np.zeros(1, np.float32)}
        return servable.queue("serving_default").call(inputs, rows=1, deadline=math.inf, timings=Timings())

    waiting = asyncio.create_task(call())
    while not servable.queue_rows():
        await asyncio.sleep(0)
        assert not waiting.done(), "it was not made to wait"
    servable.refuse_all()
    with pytest.raises(ModelNotReadyError, match="'m' version '1' was unloaded"):
        await waiting
    with pytest.raises(ModelNotReadyError):
        await call()
    await asyncio.to_thread(servable.close)
    assert servable.loaded.runtime.closed
