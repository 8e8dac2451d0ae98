"""Requests that can no longer be answered within the latency goal step aside for those that can. Pure.

In a queue that is served strictly in order, more requests than can be served make everybody late: each is answered
just after its time. So one that cannot be in time any more waits apart. It fills up calls that have room, and one call
in eight begins with those who wait apart, so that all are answered even if the load never falls. None is dropped,
unless its deadline passes. What must stay true: among themselves they keep the order in which they came, so that one
that needs much room is not passed by smaller ones for ever.

The assembler owns the entries and their counts; nothing here ends an entry's life.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from tensorhost.batching.entries import Entry
from tensorhost.batching.pace import Pace

_OWN_TURN = 8

Entries: TypeAlias = deque[Entry[Any]]


@dataclass(slots=True)
class _Aside:
    entries: Entries = field(default_factory=deque)
    turns: int = 0


class Latecomers:
    """Entries waiting apart, by group.

    Args:
        pace: knows the goal and what calls cost.
    """

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._groups: dict[Hashable, _Aside] = {}

    @property
    def usual_rows(self) -> int:
        """Most rows of a call as long as requests are in time."""
        return self._pace.usual_rows

    def waits(self, group: Hashable) -> bool:
        """Whether any of ``group`` waits apart."""
        return group in self._groups

    def due_at(self, entry: Entry[Any], rows: int) -> float:
        """Until when ``entry`` may be held back, and be in time in a call of ``rows`` rows."""
        return entry.offered_at + self._pace.goal_s - self._pace.call_s(max(rows, 1), entry.group)

    def arrange(self, group: Hashable, entries: Entries, now: float, arrived_rows: int) -> int:
        """Put ``entries``, a group whose turn it is, in the order in which they should run.

        ``arrived_rows`` have come since the beginning. Returns the most rows the call should have.
        """
        pace = self._pace
        pace.arrived(arrived_rows, now)
        aside = self._groups.get(group)
        in_time_from = pace.in_time_from(group, now)
        limit = pace.limit(group, late=aside is not None)
        if aside is None and (not entries or entries[0].offered_at >= in_time_from):
            pace.calm_down(group)
            return limit
        pace.calm.rows = 0
        rows = _count(entries, limit)
        if in_time_from != -math.inf:
            in_time_from = now + pace.call_s(max(rows, 1), group) - pace.goal_s
            if entries and entries[0].offered_at < in_time_from:
                if aside is None:
                    aside = self._groups[group] = _Aside()
                    limit = pace.limit(group, late=True)
                _step_aside(entries, aside.entries, in_time_from)
            rows = _count(entries, limit)
        if aside is not None:
            self._admit(group, aside, entries, limit, rows)
        return limit

    def take_all(self) -> Iterator[Entry[Any]]:
        """Every entry that waits apart; afterwards none does."""
        for aside in self._groups.values():
            yield from aside.entries
        self._groups.clear()

    def sweep(self) -> None:
        """Let go of entries that were abandoned."""
        for group, aside in list(self._groups.items()):
            aside.entries = deque(entry for entry in aside.entries if not entry.abandoned)
            if not aside.entries:
                del self._groups[group]

    def _admit(self, group: Hashable, aside: _Aside, entries: Entries, limit: int, rows: int) -> None:
        """Let those who wait apart into the call: before the others when it is their turn, else where there is room."""
        aside.turns += 1
        first = aside.turns % _OWN_TURN == 0
        if first:
            rows = 0
        admitted: list[Entry[Any]] = []
        while aside.entries and rows < limit:
            entry = aside.entries[0]
            if not entry.abandoned:
                if rows and not self._fits(entry, limit, rows):
                    break
                rows += entry.waiting_rows
                limit = min(limit, entry.max_batch_rows)
            admitted.append(aside.entries.popleft())
        if first:
            entries.extendleft(reversed(admitted))
        else:
            entries.extend(admitted)
        if not aside.entries:
            del self._groups[group]

    def _fits(self, entry: Entry[Any], limit: int, rows: int) -> bool:
        """Whether ``entry`` finds room in a call of ``limit`` that has ``rows``, as ``Assembler.take`` will see it."""
        waiting, own = entry.waiting_rows, entry.max_batch_rows
        if rows + waiting <= min(limit, own):
            return True
        is_split = waiting > min(limit if entry.taken_rows else self._pace.max_rows, own)
        return is_split and rows < own


def _step_aside(entries: Entries, aside: Entries, in_time_from: float) -> None:
    """Move those at the head of ``entries`` that were offered before ``in_time_from``."""
    oldest_at = aside[0].offered_at if aside else math.inf
    returning: list[Entry[Any]] = []
    while entries and entries[0].offered_at < in_time_from:
        entry = entries.popleft()
        # One that was in a call with a slice only, or found no room after all, was aside before: its place is in front.
        (returning if entry.offered_at <= oldest_at else aside).append(entry)
    aside.extendleft(reversed(returning))


def _count(entries: Entries, limit: int) -> int:
    """Rows waiting, as far as ``limit``; an estimate, since requests of no rows count for one where many wait."""
    if len(entries) >= limit:
        return limit
    return min(sum([entry.rows - entry.taken_rows for entry in entries]), limit)
