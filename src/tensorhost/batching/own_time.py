"""How long a call took of its own accord, without what the system's scheduler took from it.

On a busy machine, or one that limits a container's processor time, any thread is stopped for some tens of milliseconds
now and then. That says nothing of the model that happened to be called. The system counts how often it stopped a
thread, and how often the thread stopped by itself, to wait for a file, a lock or other threads' work. Only where it
never did the latter is it known that all the time without a processor was taken from it.
"""

from __future__ import annotations

import sys
import time
from typing import NamedTuple


class Use(NamedTuple):
    """What a thread has had so far: seconds on a processor, times it waited by itself, times it was stopped."""

    processor_s: float
    waits: int
    stops: int


if sys.platform == "linux":
    from resource import RUSAGE_THREAD, getrusage

    def use_of_this_thread() -> Use:
        """Read now; some microseconds."""
        counted = getrusage(RUSAGE_THREAD)
        return Use(time.thread_time(), counted.ru_nvcsw, counted.ru_nivcsw)

else:

    def use_of_this_thread() -> Use:
        """Not told apart here: no thread is ever known to have been stopped."""
        return Use(0.0, 0, 0)


class OwnTime:
    """Begins with what it is made for, on the same thread."""

    def __init__(self) -> None:
        self._before = use_of_this_thread()

    def of(self, seconds: float) -> float:
        """Of ``seconds`` that have passed since, those not taken from the thread; all of them if that is not known."""
        before, now = self._before, use_of_this_thread()
        if now.waits > before.waits or now.stops == before.stops:
            return seconds
        return min(now.processor_s - before.processor_s, seconds)
