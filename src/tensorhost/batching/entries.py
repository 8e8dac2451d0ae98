"""What waits and what runs: the nouns of this room. Pure."""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Generic, NamedTuple, TypeVar

from tensorhost.core.requests import MergeTimes

Payload = TypeVar("Payload")


NORMAL_PRIORITY = 2
"""Of requests that ask for none; 1 goes before it, 3 after it."""


class CloseReason(StrEnum):
    """Why a batch stopped growing."""

    FULL = "full"
    """No more rows fit, or the next request would not fit whole."""
    DRAINED = "drained"
    """Everything that waited was taken and nothing held the batch back."""
    TIMEOUT = "timeout"
    """It was held back for ``batch_timeout`` and the time was up."""
    GOAL = "goal"
    """More waited and would have fitted, but the latency goal asks for calls of fewer rows now."""
    UNBATCHED = "unbatched"
    """The signature is served one request a call."""


@dataclass(slots=True, eq=False)
class Entry(Generic[Payload]):
    """One request waiting. ``max_batch_rows``, at least 1, is its own ceiling for calls it takes part in; those of a
    lower ``priority`` go first.

    ``taken_rows``, ``abandoned`` and ``gone`` (has left the queue whole) belong to the assembler.
    """

    payload: Payload
    rows: int
    group: Hashable
    offered_at: float
    deadline: float = math.inf
    max_batch_rows: int = 2**31
    priority: int = NORMAL_PRIORITY
    taken_rows: int = 0
    abandoned: bool = False
    gone: bool = False

    @property
    def waiting_rows(self) -> int:
        """Rows not yet given to a batch."""
        return self.rows - self.taken_rows


class Slice(NamedTuple, Generic[Payload]):
    """Rows ``start`` to ``stop`` of one entry."""

    entry: Entry[Payload]
    start: int
    stop: int


@dataclass(slots=True)
class Batch(Generic[Payload]):
    """What runs in one call. ``expired`` are entries whose deadline passed while they waited; they run nowhere.

    ``calm``: all of it is within the latency goal unless the call takes longer than the pace believes. ``merging`` is
    written by whoever makes the call; None where there was nothing to merge, or it failed.
    """

    slices: list[Slice[Payload]] = field(default_factory=list)
    rows: int = 0
    reason: CloseReason = CloseReason.DRAINED
    expired: list[Entry[Payload]] = field(default_factory=list)
    calm: bool = False
    merging: MergeTimes | None = None
