"""A model called back to back from threads, without engine, queue or event loop: what the runtime alone can do."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from tensorhost.bench.model_lanes import LoadedModel
from tensorhost.bench.plan import Load
from tensorhost.bench.tally import Tally
from tensorhost.core.errors import TensorhostError


class BareRuntime:
    """Threads that call the runtime back to back, without engine, queue, pre- and postprocessing."""

    def __init__(self, model: LoadedModel, load: Load) -> None:
        self._model = model
        self._load = load
        self._stopped = threading.Event()
        self._started_at = 0.0
        self._parts = [Tally() for _ in range(load.concurrency)]
        self.tally = Tally()

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
            parts = zip(self._parts, shares, strict=True)
            await asyncio.gather(*(loop.run_in_executor(threads, self._repeat, call, *part) for part in parts))
            elapsed_s = self.elapsed_s
        self.tally = Tally(elapsed_s=elapsed_s, window_s=elapsed_s, cpu_s=time.process_time() - cpu_s)
        for part in self._parts:
            self.tally.absorb(part)
        self.tally.answered_in_time = self.tally.answered
        return self.tally

    def _repeat(self, call: Callable[[], object], tally: Tally, requests: int | None) -> None:
        ends_at = math.inf if self._load.duration_s is None else self._started_at + self._load.duration_s
        left = math.inf if requests is None else requests
        while left > 0 and not self._stopped.is_set() and (began := time.monotonic()) < ends_at:
            left -= 1
            try:
                call()
            except TensorhostError as error:
                tally.errors[error.code.value] += 1
            else:
                tally.latencies.add(time.monotonic() - began)
