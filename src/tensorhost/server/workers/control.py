"""Control calls of a server with several workers: each is carried out by all, or by none.

Calls about one model run one after another, in the order in which they came, on every worker; one about all models
runs alone. A load that fails on
every worker is that failure; one that fails on some is taken back on the others. What must stay true: whoever asked is
answered once, after the last worker; and workers that differ do not go on running.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from tensorhost.core.errors import (
    AlreadyLoadedError,
    InvalidRequestError,
    LabelNotReadyError,
    ModelNotFoundError,
    OverloadedError,
    VersionNotFoundError,
)
from tensorhost.models.probe_messages import Failed
from tensorhost.models.wishes import Action, Wish
from tensorhost.server.workers.journal import Journal, undo
from tensorhost.server.workers.messages import CarryOut, WishMessage
from tensorhost.server.workers.process import WorkerProcess
from tensorhost.server.workers.rounds import Outcome, Rounds
from tensorhost.server.workers.turns import OpenCalls, Turns
from tensorhost.telemetry import get_logger

_MOST_TEXT = 2000
_REFUSALS = frozenset({InvalidRequestError.__name__, LabelNotReadyError.__name__})
"""Why a list of models is not taken over at all."""
_ALREADY = AlreadyLoadedError.__name__
_NOT_THERE = frozenset({ModelNotFoundError.__name__, VersionNotFoundError.__name__})

log = get_logger(__name__)


class ControlCalls:
    """Carries out control calls.

    Args:
        workers: the running workers by slot, as they are whenever this is read.
        rounds: tells them.
        serves: whether a slot's worker has loaded what it is to serve.
    """

    def __init__(
        self,
        workers: Mapping[int, WorkerProcess],
        rounds: Rounds,
        serves: Callable[[int], bool] = lambda _slot: True,
    ) -> None:
        self.journal = Journal()
        self._workers = workers
        self._rounds = rounds
        self._serves = serves
        self._turns = Turns()
        self._open_calls = OpenCalls()

    async def carry_out(self, wish: Wish) -> Failed | None:
        """Have all workers do what an operator asked one of them for; why not, if they did not."""
        try:
            with self._open_calls.another():
                if wish.action is Action.REPLACE:
                    async with self._turns.alone():
                        return await self._replace_models(wish)
                async with self._turns.of(wish.name):
                    return await self._in_turn(wish)
        except OverloadedError as error:
            return Failed.of(error)

    async def _in_turn(self, wish: Wish) -> Failed | None:
        earlier = self.journal.wishes()
        outcomes = await self._everywhere(wish)
        failures = {worker: outcome.failure for worker, outcome in outcomes.items() if outcome.failure is not None}
        if not failures:
            return None
        if len(failures) == len(outcomes):
            if wish.action is Action.ADD:
                self.journal.take_back(wish, earlier)
            if wish.action is Action.LABEL:
                # A worker that started meanwhile has it from the journal.
                for each in undo(wish, earlier, ()):
                    await self._restore(each)
            return next(iter(failures.values()))
        if wish.action is Action.UNLOAD:
            return await self._unloaded(failures)
        already = next((failure for failure in failures.values() if failure.kind == _ALREADY), None)
        if already is not None:
            # A worker that has just begun had yet to load it; what it loaded now may be something else.
            self.journal.take_back(wish, earlier)
            for worker in outcomes.keys() - failures.keys():
                self._replace(worker, already)
            return already
        added = {version for outcome in outcomes.values() for version in outcome.added}
        for each in undo(wish, earlier, added):
            await self._restore(each)
        worker, failure = next(iter(failures.items()))
        log.error("a control call was taken back", model=wish.name, failed_on=sorted(failures), reason=failure.message)
        taken_back = "; what the others had loaded was unloaded again" if added else ""
        text = f"{failure.message[:_MOST_TEXT]} This happened on worker {worker} of {len(outcomes)}{taken_back}."
        return failure.model_copy(update={"message": text})

    async def _replace_models(self, wish: Wish) -> Failed | None:
        """A list stays what all serve whatever fails to load; one that all refuse changes nothing anywhere."""
        before, told = self.journal.state(), dict(self._workers)
        outcomes = await self._everywhere(wish)
        failures = {worker: outcome.failure for worker, outcome in outcomes.items() if outcome.failure is not None}
        refusals = {worker: failure for worker, failure in failures.items() if failure.kind in _REFUSALS}
        if refusals and len(refusals) == len(outcomes):
            self.journal.restore(before)
            failure = next(iter(refusals.values()))
            for slot, worker in list(self._workers.items()):
                if told.get(slot) is not worker:  # it began with the new list
                    self._replace(slot, failure)
            return failure
        for slot, failure in refusals.items():
            self._replace(slot, failure)
        return next((failure for slot, failure in failures.items() if slot not in refusals), None)

    async def _unloaded(self, failures: Mapping[int, Failed]) -> Failed | None:
        """An unload that some workers could not do: nothing to be unloaded there is as good as done."""
        for worker, failure in failures.items():
            if failure.kind not in _NOT_THERE:
                self._replace(worker, failure)
        return None

    async def _restore(self, wish: Wish) -> None:
        for worker, outcome in (await self._everywhere(wish)).items():
            if outcome.failure is not None and outcome.failure.kind not in _NOT_THERE:
                self._replace(worker, outcome.failure)

    def _replace(self, worker: int, failure: Failed) -> None:
        """End a worker that is not as the others are; the next one takes up the journal."""
        if worker in self._workers:
            log.error("a worker differs from the others and is replaced", of_worker=worker, reason=failure.message)
            self._workers[worker].kill()

    async def _everywhere(self, wish: Wish) -> dict[int, Outcome]:
        """Tell all workers, and wait for all. One that starts later finds the wish in the journal."""
        self.journal.add(wish)
        return await self._rounds.tell(
            lambda slot, number: CarryOut(id=number, wish=WishMessage.of(self._wish_for(slot, wish)))
        )

    def _wish_for(self, slot: int, wish: Wish) -> Wish:
        """What the worker is told: one that still loads will serve what has a label before it is sent requests."""
        if wish.action is Action.LABEL and not self._serves(slot):
            return replace(wish, action=Action.RELABEL)
        return wish
