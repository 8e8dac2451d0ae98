"""A model of the generator's own process as the target of a load."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from tensorhost.bench.bare_runtime import BareRuntime
from tensorhost.bench.model_lanes import EngineLane, LoadedModel, loaded
from tensorhost.bench.open_loop import OpenLoop, pace
from tensorhost.bench.pacing import ClosedLoop
from tensorhost.bench.plan import Load, ModelTarget
from tensorhost.bench.tally import Tally
from tensorhost.telemetry import configure_logging


class _Counting:
    """A run that also notes the model calls made meanwhile."""

    def __init__(self, run: ClosedLoop | OpenLoop, model: LoadedModel) -> None:
        self._run = run
        self._model = model
        self.tally = run.tally

    @property
    def elapsed_s(self) -> float:
        return self._run.elapsed_s

    def stop(self) -> None:
        self._run.stop()

    async def run(self) -> Tally:
        before = self._model.batch_rows()
        tally = await self._run.run()
        self._model.count_batches(tally, before)
        return tally


class LoadedTarget:
    """A loaded model, asked through the engine or, ``bare``, through its runtime alone."""

    def __init__(self, model: LoadedModel, *, bare: bool) -> None:
        self._model = model
        self._bare = bare

    def facts(self) -> dict[str, Any]:
        """What was loaded and is asked, JSON-ready."""
        return self._model.facts()

    @asynccontextmanager
    async def begin(self, load: Load) -> AsyncIterator[Callable[[Load], _Counting | BareRuntime]]:
        """Callers for ``load``, ended on leaving; gives a function from a load to its run."""
        model = self._model
        if self._bare:
            yield lambda part: BareRuntime(model, part)
            return
        lanes = [EngineLane(model) for _ in range(load.concurrency)]
        try:
            yield lambda part: _Counting(pace(lanes, part), model)
        finally:
            await asyncio.gather(*(lane.close() for lane in lanes))


@asynccontextmanager
async def opened(target: ModelTarget, body: bytes) -> AsyncIterator[LoadedTarget]:
    """Load the model; unloaded on leaving. Raises TensorhostError: why that cannot be done."""
    configure_logging("error")
    async with loaded(target, body) as model:
        yield LoadedTarget(model, bare=target.bare)
