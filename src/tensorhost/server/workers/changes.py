"""Changes of all processes of a server besides those of models: each is made in all, or in none.

The supervisor has the state that all are to have, and makes each change in its own first: what cannot be is refused
there, once, and shared memory is opened there, once. A worker that starts is given that state, so that one which ends
meanwhile has not failed: the next has what it was told.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from tensorhost.core.errors import TensorhostError
from tensorhost.inference.process_state import ProcessState
from tensorhost.models.probe_messages import Failed
from tensorhost.server.workers.change_messages import Change, LogLevelMessage, Registration, Unregistration
from tensorhost.server.workers.messages import MakeChange
from tensorhost.server.workers.rounds import Outcome, Rounds
from tensorhost.server.workers.turns import OpenCalls
from tensorhost.telemetry import get_logger

log = get_logger(__name__)


class Changes:
    """Makes changes, one after another.

    Args:
        state: of the supervisor: what all processes have, or are about to.
        rounds: tells the workers.
    """

    def __init__(self, state: ProcessState, rounds: Rounds) -> None:
        self._state = state
        self._rounds = rounds
        self._turn = asyncio.Lock()
        self._open_calls = OpenCalls()

    async def make(self, change: Change) -> Failed | None:
        """Have all workers do what a client asked one of them for; why not, if they did not."""
        try:
            with self._open_calls.another():
                async with self._turn:
                    return await self._make(change)
        except TensorhostError as error:
            return Failed.of(error)

    async def _make(self, change: Change) -> Failed | None:
        match change:
            case Registration():
                file = self._state.regions.register(change.region())
                failures = _failures(await self._rounds.tell(_told(change), [file]))
                if failures:
                    log.error("a region of shared memory is taken back", region=change.name, failed_on=sorted(failures))
                    await self._make(Unregistration(name=change.name))
                return next(iter(failures.values()), None)
            case Unregistration():
                self._state.regions.unregister(change.name)
            case LogLevelMessage():
                self._state.log_level.set(change.level, change.verbosity)
        return next(iter(_failures(await self._rounds.tell(_told(change))).values()), None)


def _told(change: Change) -> Callable[[int, int], MakeChange]:
    return lambda _slot, number: MakeChange(id=number, change=change)


def _failures(outcomes: Mapping[int, Outcome]) -> dict[int, Failed]:
    """Why it was not done, by worker; one that has ended is followed by one that begins with the new state."""
    return {
        slot: outcome.failure for slot, outcome in outcomes.items() if outcome.failure is not None and not outcome.ended
    }
