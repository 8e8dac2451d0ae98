"""Model calls of several servables that share a number of slots: no more of them run on threads at once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


class CallSlots:
    """So many calls may run at once.

    Args:
        count: how many; at least 1.
    """

    def __init__(self, count: int) -> None:
        self._slots = threading.BoundedSemaphore(count)

    def of(self, executor: Executor) -> Executor:
        """What runs on ``executor``, each call as soon as there is a slot. Whoever waits for one holds a thread.

        ``executor`` is the caller's to shut down.
        """
        return _InSlots(executor, self._slots)


class _InSlots(Executor):
    def __init__(self, executor: Executor, slots: threading.BoundedSemaphore) -> None:
        self._executor = executor
        self._slots = slots

    def submit(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        """See ``Executor.submit``."""

        def in_slot() -> R:
            with self._slots:
                return fn(*args, **kwargs)

        return self._executor.submit(in_slot)
