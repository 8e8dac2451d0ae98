"""Waiting for a change of what is managed: of a state, of what is wanted, or that the manager closes."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

from tensorhost.core.errors import DeadlineExceededError, ShuttingDownError


class Changes:
    """Wakes those who wait for something to become true.

    Args:
        clock: seconds, on the event loop's time base.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._changed = asyncio.Event()
        self._closing = False

    def announce(self) -> None:
        """Something has changed."""
        # Waiters hold the old event; each change gets a new one.
        self._changed.set()
        self._changed = asyncio.Event()

    def close(self) -> None:
        """Nothing more will change: refuse who still waits, and who comes later."""
        self._closing = True
        self.announce()

    async def until(self, condition: Callable[[], bool], deadline: float = math.inf) -> None:
        """Return when ``condition`` holds.

        Raises:
            DeadlineExceededError: the deadline, an instant on the clock, passed before.
            ShuttingDownError: it will not come to hold, since the manager closes.
        """
        while not condition():
            if self._closing:
                raise ShuttingDownError("The server is shutting down.")
            timeout_s = None if deadline == math.inf else max(deadline - self._clock(), 0.0)
            try:
                async with asyncio.timeout(timeout_s):
                    await self._changed.wait()
            except TimeoutError:
                raise DeadlineExceededError("The deadline passed while the model was loading.") from None
