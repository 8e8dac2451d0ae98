"""The metrics of all workers, asked for when somebody reads them, and kept of those that have ended.

What must stay true: a worker that does not answer in time is shown as it was last seen, and nobody waits for it longer.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from collections.abc import Mapping, Sequence

from tensorhost.server.workers.messages import Report, Reported
from tensorhost.server.workers.process import WorkerProcess
from tensorhost.server.workers.slots import Phase, Slot
from tensorhost.telemetry import process_memory
from tensorhost.telemetry.merging import Retired, merge
from tensorhost.telemetry.server_view import ServerView, Workers

_ANSWER_S = 2.0


class Figures:
    """Collects metrics.

    Args:
        slots: what is known of the workers.
        workers: the running ones by slot, as they are whenever this is read.
    """

    def __init__(self, slots: Sequence[Slot], workers: Mapping[int, WorkerProcess]) -> None:
        self._slots = slots
        self._workers = workers
        self._numbers = itertools.count()
        self._views: dict[int, ServerView] = {}
        self._retired = Retired()
        self._expected: dict[int, asyncio.Future[None]] = {}
        self._asking = asyncio.Lock()
        self._asked_at = float("-inf")
        self._started_at = time.monotonic()

    async def collect(self) -> ServerView:
        """The metrics of the whole server, none of them older than this call if its worker answers in time."""
        called_at = time.monotonic()
        async with self._asking:
            # Whoever waited while others were answered may find that all were asked after he came.
            if self._asked_at <= called_at:
                await self._ask()
        serving = [self._views[slot] for slot in self._views if self._slots[slot].phase is Phase.READY]
        return merge(
            list(self._views.values()),
            self._retired,
            serving=serving,
            own_memory=process_memory(),
            uptime_s=time.monotonic() - self._started_at,
            workers=Workers(
                count=len(self._slots),
                ready=sum(slot.phase is Phase.READY for slot in self._slots),
                restarts=sum(slot.deaths for slot in self._slots),
                pids=(os.getpid(), *(worker.pid for worker in self._workers.values())),
            ),
        )

    def reported(self, worker: int, message: Reported) -> None:
        """A worker has answered."""
        self._views[worker] = message.view.view()
        expected = self._expected.pop(worker, None)
        if expected is not None and not expected.done():
            expected.set_result(None)

    def lost(self, worker: int) -> None:
        """A worker has ended."""
        if worker in self._views:
            self._retired.add(self._views.pop(worker))
        expected = self._expected.pop(worker, None)
        if expected is not None and not expected.done():
            expected.set_result(None)

    async def _ask(self) -> None:
        self._asked_at = time.monotonic()
        for slot, worker in self._workers.items():
            # One that still owes an answer is not asked again.
            if self._slots[slot].phase is not Phase.DOWN and slot not in self._expected:
                self._expected[slot] = asyncio.get_running_loop().create_future()
                worker.send(Report(id=next(self._numbers)))
        if self._expected:
            await asyncio.wait(self._expected.values(), timeout=_ANSWER_S)
