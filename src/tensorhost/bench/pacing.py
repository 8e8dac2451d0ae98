"""When requests are begun, over lanes that carry one request each at a time; here, a closed loop.

A lane is a connection or a caller of the engine; this module knows neither sockets nor models. What stays true: every
request begun is counted once, as a latency, as an error, or as unanswered; nothing begins after the end; a run ends
even when answers never come.
"""

from __future__ import annotations

import asyncio
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Protocol

from tensorhost.bench.plan import Load
from tensorhost.bench.tally import Tally

UNREACHABLE = "UNREACHABLE"
"""Counted when no connection could be made."""

BROKEN = "CONNECTION_BROKEN"
"""Counted when the connection ended before the answer."""

NO_ANSWER = "NO_ANSWER_IN_TIME"
"""Counted when the answer took longer than the load's ``timeout_s``."""

GIVE_UP_S = 2.0
"""When nobody could be reached for so long, the server has gone and the run is over."""

_LAST_WAIT_S = 1.0
"""How long answers are waited for after an interrupt."""

_LOOK_S = 0.1

Finished = Callable[["Lane", str | None], None]


class Lane(Protocol):
    """Carries one request at a time."""

    def send(self, finished: Finished) -> None:
        """Begin a request. ``finished`` is called once, later or at once, with an error code or None."""

    def abandon(self) -> None:
        """Give the request up: ``finished`` is not called any more, and the next ``send`` finds a lane in order."""


class Pace(ABC):
    """One run over ``lanes``; ``run`` returns when the last request is answered or given up.

    Args:
        lanes: free ones; left free.
        load: how hard, and how long.
        clock: seconds.
    """

    def __init__(self, lanes: Sequence[Lane], load: Load, clock: Callable[[], float] = time.monotonic) -> None:
        self.tally = Tally()
        self._lanes = lanes
        self._load = load
        self._clock = clock
        self._began: dict[Lane, float] = {}
        self._sent_at: dict[Lane, float] = {}
        self._left = math.inf if load.requests is None else load.requests
        self._ends_at = self._started_at = 0.0
        self._give_up_at = math.inf
        self._unreachable_since: float | None = None
        self._closed_at: float | None = None
        self._all_done = asyncio.Event()

    async def run(self) -> Tally:
        """Carry the load out."""
        cpu_s = time.process_time()
        self._started_at = self._clock()
        self._ends_at = math.inf if self._load.duration_s is None else self._started_at + self._load.duration_s
        self._begin()
        while not self._all_done.is_set():
            try:
                async with asyncio.timeout(_LOOK_S):
                    await self._all_done.wait()
            except TimeoutError:
                self._look()
        self.tally.elapsed_s = self._clock() - self._started_at
        self.tally.window_s = self.tally.elapsed_s if self._closed_at is None else self._closed_at - self._started_at
        self.tally.cpu_s = time.process_time() - cpu_s
        return self.tally

    def stop(self) -> None:
        """Begin nothing more, and give up soon what is not answered."""
        self._give_up_at = min(self._give_up_at, self._clock() + _LAST_WAIT_S)
        self._close()

    @property
    def elapsed_s(self) -> float:
        """Seconds since the first request."""
        return self._clock() - self._started_at

    @abstractmethod
    def _begin(self) -> None:
        """Begin the first requests."""

    @abstractmethod
    def _next(self, lane: Lane, now: float) -> None:
        """``lane`` is free again."""

    def _send(self, lane: Lane, began: float, now: float) -> None:
        self._began[lane] = began
        self._sent_at[lane] = now
        lane.send(self._finished)

    def _finished(self, lane: Lane, error: str | None) -> None:
        now = self._clock()
        began = self._began.pop(lane)
        del self._sent_at[lane]
        if error is None:
            self.tally.latencies.add(max(now - began, 0.0))
            if now <= (self._ends_at if self._closed_at is None else self._closed_at):
                self.tally.answered_in_time += 1
        else:
            self.tally.errors[error] += 1
        if error == UNREACHABLE:
            self._unreachable_since = self._unreachable_since or now
        else:
            self._unreachable_since = None
        self._next(lane, now)
        self._end_when_done()

    def _look(self) -> None:
        """What must happen even when no answer comes."""
        now = self._clock()
        if now >= self._ends_at:
            self._close()
        if self._nobody_there(now):
            self.tally.gone = True
            self._closed_at = self._unreachable_since
            self.stop()
        for lane, sent_at in list(self._sent_at.items()):
            if now >= self._give_up_at:
                lane.abandon()
                del self._began[lane], self._sent_at[lane]
                self.tally.unanswered += 1
            elif now - sent_at >= self._load.timeout_s:
                lane.abandon()
                self._finished(lane, NO_ANSWER)
        self._end_when_done()

    def _nobody_there(self, now: float) -> bool:
        since = self._unreachable_since
        if since is None or now - since < GIVE_UP_S:
            return False
        # A request sent before that may still be answered by a server that only takes no new connections.
        return not any(sent_at < since for sent_at in self._sent_at.values())

    def _close(self) -> None:
        """No more requests from now on."""
        if self._closed_at is None:
            self._closed_at = min(self._clock(), self._ends_at)

    def _is_open(self, now: float) -> bool:
        if now >= self._ends_at:
            self._close()
        return self._closed_at is None

    def _end_when_done(self) -> None:
        if not self._began and (self._closed_at is not None or self._left <= 0):
            self._all_done.set()


class ClosedLoop(Pace):
    """Each lane begins its next request when it has its answer."""

    def _begin(self) -> None:
        for lane in self._lanes:
            self._next(lane, self._clock())
        self._end_when_done()

    def _next(self, lane: Lane, now: float) -> None:
        if self._left > 0 and self._is_open(now):
            self._left -= 1
            self._send(lane, now, now)
