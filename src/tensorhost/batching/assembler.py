"""Decides which waiting requests run together. Pure: a function of what was offered and of ``now``.

It does not know what a tensor is, never waits and never runs anything; ``queue`` drives it. What stays true:
every entry offered leaves exactly once, by its last slice in a batch, by ``expired``, by ``abandon``, or by
``close``; rows of one entry keep their order; entries of different groups (inner shapes) never meet in a batch; a
request of many batches shares every turn with those that came after it; nobody waits for one of less urgent priority,
but for those that were told they are next. With a latency goal, ``pace`` says how many
rows a call takes, and entries that cannot be in time any more step aside for those that can (``latecomers``).
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Hashable
from typing import Generic

from tensorhost.batching.entries import NORMAL_PRIORITY, Batch, CloseReason, Entry, Payload, Slice
from tensorhost.batching.latecomers import Latecomers
from tensorhost.batching.pace import NEVER_CALM, Pace


class Assembler(Generic[Payload]):
    """Waiting entries by group, and the rule by which a free runtime takes from them.

    Args:
        max_batch_rows: most rows in one batch.
        batch_timeout_s: how long the oldest entry of a group may be held back for more to arrive; 0 never holds.
        max_queue_rows: most rows waiting; an entry of no rows counts as one.
        batched: False gives every entry a batch of its own, whole.
        pace: how many rows a call should have; None where there is no latency goal.
    """

    def __init__(
        self,
        *,
        max_batch_rows: int,
        batch_timeout_s: float,
        max_queue_rows: int,
        batched: bool = True,
        pace: Pace | None = None,
    ) -> None:
        self._max_batch_rows = max_batch_rows
        self._batch_timeout_s = batch_timeout_s if batched else 0.0
        self._max_queue_rows = max_queue_rows
        self._batched = batched
        # Groups in the order in which they take turns; an empty group is removed.
        self._groups: dict[Hashable, deque[Entry[Payload]]] = {}
        self._queue_rows = 0
        # As long as no more rows wait, and all in one group, they are the next batch.
        self._undivided_rows = max_batch_rows if batched and batch_timeout_s == 0 and pace is None else 0
        self._sure_rows = self._undivided_rows
        self.last_is_next = False
        """Whether the entry last taken in is certain to be in the next batch, whatever is offered until then; never
        where batches are held back, subject to a latency goal, or ordered by priority."""
        # Whether anybody who waits has another priority than most.
        self._ordered = False
        self._held = 0
        self._abandoned = 0
        self._latecomers = None if pace is None else Latecomers(pace)
        self._calm = NEVER_CALM if pace is None else pace.calm
        self._passed_rows = 0

    @property
    def queue_rows(self) -> int:
        """Rows waiting now; a request of no rows counts as one."""
        return self._queue_rows

    @property
    def waiting(self) -> int:
        """Requests waiting now; one of which a part has been taken is among them until all is."""
        return self._held - self._abandoned

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to take, not even an abandoned entry."""
        return not self._groups

    def offer(self, entry: Entry[Payload]) -> bool:
        """Take ``entry`` in, or return False at once when the queue is full.

        A single entry larger than the whole bound is taken when nothing else waits: it could never enter otherwise.
        """
        weight = entry.rows or 1
        rows = self._queue_rows
        if not rows:
            self._sure_rows = self._undivided_rows
            self._ordered = False
        elif rows + weight > self._max_queue_rows:
            self._passed_rows += weight
            return False
        if entry.max_batch_rows < self._sure_rows:
            # Those behind it may find no room, until all of them have left.
            self._sure_rows = entry.max_batch_rows
        group = self._groups.get(entry.group)
        if group is None:
            group = self._groups[entry.group] = deque()
        if self._ordered or entry.priority != NORMAL_PRIORITY:
            self._insert(group, entry)
        else:
            group.append(entry)
        self._held += 1
        self._queue_rows = rows = rows + weight
        self.last_is_next = rows <= self._sure_rows and len(self._groups) == 1 and not self._ordered
        return True

    def wait_until(self, now: float) -> float | None:
        """When a batch may be taken: ``now`` or earlier for at once, later to hold back, None if nothing waits."""
        if not self._groups:
            return None
        if self._batch_timeout_s == 0:
            return now
        return min(self._due_at(key, group) for key, group in self._groups.items())

    def take(self, now: float) -> Batch[Payload]:
        """The next batch, from the group whose turn it is. May hold no slices when all that was due had expired."""
        batch: Batch[Payload] = Batch()
        turn = self._next_group(now)
        if turn is None:
            return batch
        key, group = turn
        del self._groups[key]
        slice_rows = limit = self._paced(batch, key, group, now)
        while self._has_next(batch, group, now):
            entry = group[0]
            rows = entry.waiting_rows
            if not self._batched:
                if not batch.slices:
                    self._append(batch, entry, rows)
                    self._pop(group)
                break
            ceiling = min(limit, entry.max_batch_rows)
            room = ceiling - batch.rows
            if rows > room:
                # Only a request larger than a batch may be is split; any other goes whole or waits its turn. What is
                # left of it goes to the end, or those behind it would wait for all of its batches.
                most = slice_rows if entry.taken_rows else self._max_batch_rows
                whole = rows <= min(most, entry.max_batch_rows)
                if batch.slices and (room <= 0 or whole):
                    break
                if not whole:
                    limit = ceiling
                    self._append(batch, entry, room)
                    self._queue_rows -= room
                    entry.taken_rows += room
                    group.popleft()
                    entry.priority = entry.priority or NORMAL_PRIORITY  # its promise is kept
                    self._insert(group, entry)
                    break
            limit = ceiling
            self._append(batch, entry, rows)
            self._pop(group)
        waiting = bool(group) or (self._latecomers is not None and self._latecomers.waits(key))
        if waiting:
            # Last in turn: a group that never runs dry cannot starve the others.
            self._groups[key] = group
        self._passed_rows += batch.rows
        batch.reason = self._reason(waiting=waiting, rows=batch.rows, limit=limit)
        if waiting and slice_rows < self._max_batch_rows and batch.rows >= slice_rows:
            batch.reason = CloseReason.GOAL
        return batch

    def abandon(self, entry: Entry[Payload]) -> None:
        """Nobody waits for ``entry`` any more: it frees its place at once and will not run."""
        if entry.abandoned or entry.gone:
            return
        entry.abandoned = True
        weight = entry.waiting_rows or 1
        self._queue_rows -= weight
        self._passed_rows += weight
        self._abandoned += 1
        if 2 * self._abandoned > self._held:
            self._sweep()

    def close(self) -> list[Entry[Payload]]:
        """Give back everything still waiting, for the caller to refuse."""
        entries = [entry for group in self._groups.values() for entry in group]
        if self._latecomers is not None:
            entries.extend(self._latecomers.take_all())
        self._groups.clear()
        self._queue_rows = self._held = self._abandoned = 0
        for entry in entries:
            entry.gone = True
        return [entry for entry in entries if not entry.abandoned]

    def _paced(self, batch: Batch[Payload], key: Hashable, group: deque[Entry[Payload]], now: float) -> int:
        """Most rows of the batch. With a latency goal those that are late step aside first, unless all is calm."""
        if self._latecomers is None:
            return self._max_batch_rows
        calm = self._calm
        batch.calm = (
            self._queue_rows <= calm.rows
            and key == calm.group
            and bool(group)
            and group[0].offered_at >= now - calm.wait_s
        )
        if batch.calm:
            return self._max_batch_rows
        return self._latecomers.arrange(key, group, now, self._passed_rows + self._queue_rows)

    def _insert(self, group: deque[Entry[Payload]], entry: Entry[Payload]) -> None:
        """Put ``entry`` behind the last of its priority."""
        if not self._ordered and entry.priority != NORMAL_PRIORITY:
            self._ordered = True
            self._keep_promises()
        if not group or group[-1].priority <= entry.priority:
            group.append(entry)
            return
        group.insert(next(place for place, other in enumerate(group) if other.priority > entry.priority), entry)

    def _keep_promises(self) -> None:
        """Let nobody pass those who may have been told that they are next."""
        rows = 0
        for group in self._groups.values():
            for entry in group:
                rows += entry.waiting_rows or 1
                if rows > self._undivided_rows:
                    return
                entry.priority = 0

    def _has_next(self, batch: Batch[Payload], group: deque[Entry[Payload]], now: float) -> bool:
        """Whether somebody is in front who may run; those who left or whose deadline has passed leave the group."""
        while group:
            entry = group[0]
            if entry.abandoned:
                self._abandoned -= 1
                self._held -= 1
                group.popleft()
            elif entry.deadline <= now:
                batch.expired.append(entry)
                self._passed_rows += entry.waiting_rows or 1
                self._pop(group)
            else:
                return True
        return False

    @staticmethod
    def _append(batch: Batch[Payload], entry: Entry[Payload], rows: int) -> None:
        batch.slices.append(Slice(entry, entry.taken_rows, entry.taken_rows + rows))
        batch.rows += rows

    def _pop(self, group: deque[Entry[Payload]]) -> None:
        entry = group.popleft()
        self._held -= 1
        self._queue_rows -= entry.waiting_rows or 1
        entry.taken_rows = entry.rows
        entry.gone = True

    def _reason(self, *, waiting: bool, rows: int, limit: int) -> CloseReason:
        if not self._batched:
            return CloseReason.UNBATCHED
        if waiting or rows >= limit:
            return CloseReason.FULL
        return CloseReason.TIMEOUT if self._batch_timeout_s > 0 else CloseReason.DRAINED

    def _next_group(self, now: float) -> tuple[Hashable, deque[Entry[Payload]]] | None:
        if self._batch_timeout_s == 0 and not self._ordered:
            return next(iter(self._groups.items()), None)
        due = (item for item in self._groups.items() if self._batch_timeout_s == 0 or self._due_at(*item) <= now)
        return min(due, key=_most_urgent, default=None) if self._ordered else next(due, None)

    def _due_at(self, key: Hashable, group: deque[Entry[Payload]]) -> float:
        due_at = math.inf
        limit = self._max_batch_rows
        if self._latecomers is not None:
            if self._latecomers.waits(key):
                return -math.inf
            limit = self._latecomers.usual_rows
        rows = 0
        for entry in group:
            if entry.abandoned:
                continue
            due_at = min(due_at, entry.offered_at + self._batch_timeout_s)
            rows += entry.waiting_rows
            limit = min(limit, entry.max_batch_rows)
            if self._latecomers is not None:
                due_at = min(due_at, self._latecomers.due_at(entry, rows))
            # A full batch has nothing to wait for; a request that would expire while held back, or that has run in
            # part, must not be held.
            if rows >= limit or entry.deadline <= due_at or entry.taken_rows:
                return -math.inf
        # A group of none but abandoned entries is due for removal.
        return -math.inf if due_at == math.inf else due_at

    def _sweep(self) -> None:
        # Done when most of what is held was abandoned, so that abandoning stays cheap and memory stays bounded.
        if self._latecomers is not None:
            self._latecomers.sweep()
        for key, group in list(self._groups.items()):
            kept = deque(entry for entry in group if not entry.abandoned)
            if kept or (self._latecomers is not None and self._latecomers.waits(key)):
                self._groups[key] = kept
            else:
                del self._groups[key]
        self._held -= self._abandoned
        self._abandoned = 0


def _most_urgent(item: tuple[Hashable, deque[Entry[Payload]]]) -> int:
    _, group = item
    return group[0].priority if group else NORMAL_PRIORITY
