"""Which calls run on the event loop: those that were quick at warm-up, for as long as they are. Pure.

A call on the event loop holds up everything else in the process; one on a thread costs a hand-over there and back.
Warm-up times a few calls. How long later ones take may depend on the values in them, or on what else the machine does,
so every size of calls runs up a debt: what its calls took beyond the budget. A call within the budget pays some of it
back, at most what a hand-over costs. A size with too much debt moves to the thread, where its calls are watched in the
same way, and returns when its debt is paid.

Sizes are rows rounded down to a power of two. What a call tells of others: more rows take no less, so where a size has
moved, larger ones have; and fewer take at least their share, which smaller sizes are charged. Only calls that can pay a
size's debt add to it, or stalls of small calls would add up against large ones that nobody makes.

What must stay true: over any number of calls, those of one size that ran on the event loop have taken at most
``BURST_S`` from it beyond the budget, a hand-over's cost for each call that was made, and what the last of them took;
up to ``MOST_DEBT_S``. So of calls that are slow throughout the second runs on the thread, while no single stall moves
anything that the system's scheduler may cause.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

HAND_OVER_S = 0.0001
"""About what it costs to have a thread make a call. An event loop that loses no more for each call keeps it."""

BURST_S = 0.1
"""Debt that a size may have. Schedulers, and limits on a container's processor time, stop calls for less than that."""

MOST_DEBT_S = 10.0
"""No debt is larger: a process that was stopped for an hour does not have slow models for ever."""


@dataclass(slots=True)
class _Size:
    debt_s: float = 0.0
    has_moved: bool = False


class Inlining:
    """The sizes of calls of one queue that run on the event loop.

    Args:
        rows: calls of at most so many rows were quick at warm-up; 0 for none.
        budget_s: what a call on the event loop should take at most.

    Attributes:
        limit_rows: calls of at most so many rows run on the event loop now; at most ``rows``.
        debt_rows: of calls within the budget, those of so many rows or more have a debt to pay back.
    """

    def __init__(self, rows: int, budget_s: float) -> None:
        self.rows = rows
        self.budget_s = budget_s
        self.limit_rows = rows
        self.debt_rows = math.inf
        self._sizes = [_Size() for _ in range(rows.bit_length())]

    def observe(self, rows: int, seconds: float) -> None:
        """Learn from a call of at most ``self.rows`` rows; none count as one.

        One within the budget and of fewer rows than ``debt_rows`` changes nothing. ``seconds`` are the call's own,
        without its way to a thread and back, and as far as is known without what the system's scheduler took from it.
        """
        own = max(rows, 1).bit_length() - 1
        for size, state in enumerate(self._sizes[: own + 1]):
            if seconds > self.budget_s:
                beyond_s = seconds * 2.0 ** (size - own) - self.budget_s
                state.debt_s = min(state.debt_s + max(beyond_s, 0.0), MOST_DEBT_S)
            else:
                state.debt_s = max(state.debt_s - min(self.budget_s - seconds, HAND_OVER_S), 0.0)
            state.has_moved = state.debt_s > (0.0 if state.has_moved else BURST_S)
        self.limit_rows = next((2**size - 1 for size, state in enumerate(self._sizes) if state.has_moved), self.rows)
        self.debt_rows = next((2**size for size, state in enumerate(self._sizes) if state.debt_s), math.inf)
