"""Which worker takes connections from which socket, when the server is ready, when an ended worker starts again. Pure.

There is one slot for each worker that should run, with listening sockets of its own that outlive the worker. What
must stay true: once a worker is ready, no connection waits for one that is not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto

_HEALTHY_S = 60.0
_LONGEST_WAIT_S = 60.0
_HOPELESS_DEATHS = 3


class Phase(Enum):
    """Where the worker of a slot is."""

    DOWN = auto()
    """There is none, or it has not said anything yet."""
    LOADING = auto()
    """It could answer, but has not loaded what it should."""
    READY = auto()


@dataclass(slots=True)
class Slot:
    """What is known of the worker of one slot.

    Attributes:
        deaths: how often it ended by itself.
        quick_deaths: how often in a row that was soon after its start.
        started_at: when the present one started, on the monotonic clock.
        served: whether one was ready at any time.
    """

    phase: Phase = Phase.DOWN
    deaths: int = 0
    quick_deaths: int = 0
    started_at: float = 0.0
    served: bool = False

    def died(self, now: float) -> None:
        """Note that the worker ended by itself."""
        quick = self.phase is not Phase.READY or now - self.started_at < _HEALTHY_S
        self.phase = Phase.DOWN
        self.deaths += 1
        self.quick_deaths = self.quick_deaths + 1 if quick else 0

    @property
    def restart_after_s(self) -> float:
        """How long to wait before the next one: not at all the first time, then 1, 2, 4 seconds and so on."""
        return 0.0 if self.quick_deaths < 2 else min(2.0 ** min(self.quick_deaths - 2, 30), _LONGEST_WAIT_S)


def assign(slots: Sequence[Slot]) -> list[frozenset[int]]:
    """For each slot, the slots whose sockets its worker takes connections from.

    Ready workers share the sockets of all; while there are none, those that load do, to say that they do.
    """
    able = [index for index, slot in enumerate(slots) if slot.phase is Phase.READY] or [
        index for index, slot in enumerate(slots) if slot.phase is Phase.LOADING
    ]
    taken: list[set[int]] = [set() for _ in slots]
    for index in range(len(slots)):
        if able:
            taken[index if index in able else able[index % len(able)]].add(index)
    return [frozenset(each) for each in taken]


def is_ready(slots: Sequence[Slot]) -> bool:
    """Whether the server is ready: one worker is, and none is still on its first attempt to become so."""
    return any(slot.phase is Phase.READY for slot in slots) and all(
        slot.phase is Phase.READY or slot.deaths > 0 for slot in slots
    )


def is_hopeless(slots: Sequence[Slot]) -> bool:
    """Whether the workers do not even start: none was ever ready, and each has ended several times."""
    return all(not slot.served and slot.deaths >= _HOPELESS_DEATHS for slot in slots)
