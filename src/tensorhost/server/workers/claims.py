"""What of several workers only some may do at a time. Pure.

A claim is granted to as many at once as its kind allows, in the order of asking. An exclusive kind is for one worker at
a time, however many claims that one has, so that what it has prepared for the first serves the others. What must stay
true: a claim is granted at most once, and what an ended worker held is granted to others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum


class ClaimKind(StrEnum):
    """What is claimed."""

    LOAD = "load"
    """To load a version and warm it up."""
    TRIAL = "trial"
    """To try a model in a child process. Exclusive: the child has imported the framework already."""


@dataclass(frozen=True, slots=True)
class ClaimId:
    """One claim: whose, and its number there."""

    worker: int
    number: int


@dataclass(slots=True)
class _Queue:
    may_hold: Callable[[set[ClaimId], ClaimId], bool]
    holding: set[ClaimId] = field(default_factory=set)
    waiting: list[ClaimId] = field(default_factory=list)


class Claims:
    """Claims of several workers.

    Args:
        loads: how many loads may go on at once.
    """

    def __init__(self, loads: int) -> None:
        self._queues = {
            ClaimKind.LOAD: _Queue(lambda holding, _: len(holding) < loads),
            ClaimKind.TRIAL: _Queue(lambda holding, claim: all(other.worker == claim.worker for other in holding)),
        }

    def claim(self, kind: ClaimKind, claim: ClaimId) -> list[ClaimId]:
        """Claim something; what is granted now, this claim or nothing."""
        self._queues[kind].waiting.append(claim)
        return self._next(self._queues[kind])

    def release(self, claim: ClaimId) -> list[ClaimId]:
        """Give a claim back, held or waiting; what is granted now. An unknown one is ignored."""
        return self._drop(lambda other: other == claim)

    def lost(self, worker: int) -> list[ClaimId]:
        """Drop all claims of a worker that has ended; what is granted now."""
        return self._drop(lambda other: other.worker == worker)

    def _drop(self, gone: Callable[[ClaimId], bool]) -> list[ClaimId]:
        granted: list[ClaimId] = []
        for queue in self._queues.values():
            queue.holding = set(_without(queue.holding, gone))
            queue.waiting = _without(queue.waiting, gone)
            granted += self._next(queue)
        return granted

    def _next(self, queue: _Queue) -> list[ClaimId]:
        granted: list[ClaimId] = []
        for claim in list(queue.waiting):
            if queue.may_hold(queue.holding, claim):
                queue.waiting.remove(claim)
                queue.holding.add(claim)
                granted.append(claim)
        return granted


def _without(claims: Iterable[ClaimId], gone: Callable[[ClaimId], bool]) -> list[ClaimId]:
    return [claim for claim in claims if not gone(claim)]
