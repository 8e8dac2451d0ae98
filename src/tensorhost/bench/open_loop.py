"""An open loop: requests are due at even intervals, whether or not earlier ones are answered.

A request for which no lane is free waits, and its latency counts from when it was due: a server that falls behind
cannot slow down the clients that would show it.

Every due request is counted in the lateness, with a lane or without: a generator that was held up shows there, and what
it did to the latencies is not blamed on the server. While every lane is busy due requests are noticed up to
``_BUSY_PAUSE_S`` late, which delays none of them, for none could be sent.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence

from tensorhost.bench.pacing import ClosedLoop, Lane, Pace
from tensorhost.bench.plan import Load

_BUSY_PAUSE_S = 0.001


class OpenLoop(Pace):
    """Requests are due at even intervals; one for which no lane is free waits for it, and its latency counts that."""

    def _begin(self) -> None:
        self._free = list(self._lanes)
        self._waiting: deque[float] = deque()
        self._number = 0
        self._tick()

    def _due_at(self) -> float:
        return self._started_at + self._load.first_s + self._number / (self._load.rate or 1.0)

    def _tick(self) -> None:
        now = self._clock()
        self._take_due(now)
        if self._left > 0 and self._is_open(now):
            # With every lane busy nothing can be sent: the first that is free looks itself.
            pause_s = max(self._due_at() - now, 0.0 if self._free else _BUSY_PAUSE_S)
            asyncio.get_running_loop().call_later(pause_s, self._tick)
        else:
            self._end_when_done()

    def _take_due(self, now: float) -> None:
        while (
            self._closed_at is None and self._left > 0 and (due_at := self._due_at()) <= now and due_at < self._ends_at
        ):
            self._left -= 1
            self._number += 1
            self.tally.lateness.add(now - due_at)
            if self._free:
                self._send(self._free.pop(), due_at, now)
            else:
                self.tally.waited += 1
                self._waiting.append(due_at)

    def _next(self, lane: Lane, now: float) -> None:
        # Those that wait were due before those not noticed yet.
        if self._waiting and self._is_open(now):
            self._send(lane, self._waiting.popleft(), now)
        else:
            self._free.append(lane)
        self._take_due(now)

    def _end_when_done(self) -> None:
        # With a number of requests instead of a time, those that wait are sent, too.
        if self._left <= 0 and self._waiting and self._closed_at is None:
            return
        super()._end_when_done()
        if self._all_done.is_set():
            self.tally.unsent += len(self._waiting)
            self._waiting.clear()


def pace(lanes: Sequence[Lane], load: Load, clock: Callable[[], float] = time.monotonic) -> ClosedLoop | OpenLoop:
    """The loop ``load`` asks for."""
    return (ClosedLoop if load.rate is None else OpenLoop)(lanes, load, clock)
