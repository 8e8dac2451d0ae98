"""Telling all workers the same, and waiting for what becomes of it on each.

What must stay true: each worker told is waited for until it has answered or ended, and no longer.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tensorhost.core.errors import ModelFailedError
from tensorhost.models.probe_messages import Failed
from tensorhost.server.workers.message_base import Message
from tensorhost.server.workers.messages import Done
from tensorhost.server.workers.process import WorkerProcess


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of it on one worker.

    Attributes:
        failure: why it was not done.
        added: versions of models that serve now and did not before.
        ended: whether the worker has ended before it answered, which is a failure, too.
    """

    failure: Failed | None = None
    added: tuple[str, ...] = ()
    ended: bool = False


class Rounds:
    """Tells workers, and hears their answers.

    Args:
        workers: the running workers by slot, as they are whenever this is read.
    """

    def __init__(self, workers: Mapping[int, WorkerProcess]) -> None:
        self._workers = workers
        self._numbers = itertools.count()
        self._expected: dict[tuple[int, int], asyncio.Future[Outcome]] = {}

    async def tell(self, message: Callable[[int, int], Message], files: Sequence[int] = ()) -> dict[int, Outcome]:
        """Tell every worker that runs now.

        Args:
            message: for the worker of a slot, the first argument; the second is the number to be answered.
            files: what goes with it.

        Returns:
            What became of it, by slot.
        """
        number = next(self._numbers)
        expected: dict[int, asyncio.Future[Outcome]] = {}
        for slot, worker in self._workers.items():
            expected[slot] = self._expected[slot, number] = asyncio.get_running_loop().create_future()
            worker.send(message(slot, number), files)
        return {slot: await future for slot, future in expected.items()}

    def done(self, worker: int, message: Done) -> None:
        """A worker has done what it was told, or not."""
        self._settle((worker, message.id), Outcome(message.failure, message.added))

    def lost(self, worker: int) -> None:
        """A worker has ended; what it was to do, it does not."""
        failure = Failed.of(ModelFailedError("A worker process ended meanwhile."))
        for key in [key for key in self._expected if key[0] == worker]:
            self._settle(key, Outcome(failure, ended=True))

    def _settle(self, key: tuple[int, int], outcome: Outcome) -> None:
        future = self._expected.pop(key, None)
        if future is not None and not future.done():
            future.set_result(outcome)
