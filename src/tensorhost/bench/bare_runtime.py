"""A model called back to back from threads, without engine, queue or event loop: what the runtime alone can do.

What stays true: a tally belongs to one thread. Each calling thread counts in one of its own and hands it over ten times
a second; the event loop's adds up what it was given.
"""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from queue import SimpleQueue

from tensorhost.bench.model_lanes import LoadedModel
from tensorhost.bench.plan import Load
from tensorhost.bench.tally import Tally
from tensorhost.core.errors import TensorhostError

_HAND_OVER_EVERY_S = 0.1


class BareRuntime:
    """Threads that call the runtime back to back, without engine, queue, pre- and postprocessing."""

    def __init__(self, model: LoadedModel, load: Load) -> None:
        self._model = model
        self._load = load
        self._stopped = threading.Event()
        self._started_at = 0.0
        self._parts: SimpleQueue[Tally] = SimpleQueue()
        self._total = Tally()

    @property
    def tally(self) -> Tally:
        """What is known by now. For the event loop's thread only."""
        for _ in range(self._parts.qsize()):
            self._total.absorb(self._parts.get_nowait())
        return self._total

    @property
    def elapsed_s(self) -> float:
        """Seconds since the first call."""
        return time.monotonic() - self._started_at

    def stop(self) -> None:
        """Begin no more calls."""
        self._stopped.set()

    async def run(self) -> Tally:
        """Call the model from ``concurrency`` threads until the time is up or the requests are made."""
        model, load = self._model, self._load
        loop = asyncio.get_running_loop()
        with (
            await model.engine.admit(model.name, model.version, model.engine.deadline(None)) as admission,
            ThreadPoolExecutor(load.concurrency) as threads,
        ):
            inputs = model.engine.prepare(admission, model.signature.name).preprocessing.apply(model.inputs)
            call = partial(admission.servable.loaded.runtime.run, model.signature.name, inputs)
            cpu_s, self._started_at = time.process_time(), time.monotonic()
            shares = [load.share(index, load.concurrency).requests for index in range(load.concurrency)]
            await asyncio.gather(*(loop.run_in_executor(threads, self._repeat, call, share) for share in shares))
            elapsed_s = self.elapsed_s
        tally = self.tally
        tally.elapsed_s = tally.window_s = elapsed_s
        tally.cpu_s = time.process_time() - cpu_s
        tally.answered_in_time = tally.answered
        return tally

    def _repeat(self, call: Callable[[], object], requests: int | None) -> None:
        part, hand_over_at = Tally(), self._started_at + _HAND_OVER_EVERY_S
        ends_at = math.inf if self._load.duration_s is None else self._started_at + self._load.duration_s
        left = math.inf if requests is None else requests
        while left > 0 and not self._stopped.is_set() and (began := time.monotonic()) < ends_at:
            left -= 1
            try:
                call()
            except TensorhostError as error:
                part.errors[error.code.value] += 1
                ended = time.monotonic()
            else:
                ended = time.monotonic()
                part.latencies.add(ended - began)
            if ended >= hand_over_at:
                self._parts.put(part)
                part, hand_over_at = Tally(), ended + _HAND_OVER_EVERY_S
        self._parts.put(part)
