"""The event loops of a generator: the fastest there is, or one whose timers are exact.

uvloop and asyncio wait whole milliseconds, more than a small model takes; an open loop would begin its requests in
bursts. ``select`` waits microseconds, on the one descriptor that stands for all connections.
"""

from __future__ import annotations

import asyncio
import select
import selectors
from collections.abc import Callable
from typing import Any


class ExactSelector(selectors.DefaultSelector):
    """Waits for events as the system's best selector does, but no longer than asked."""

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Events that are there within ``timeout`` seconds; None waits for ever."""
        if timeout is not None and timeout > 0 and hasattr(self, "fileno"):
            select.select([self.fileno()], [], [], timeout)
            timeout = 0
        return super().select(timeout)


def loop_factory(*, exact_timers: bool) -> Callable[[], asyncio.AbstractEventLoop]:
    """Makes the loop for a run: with exact timers for an open loop, else the fastest."""
    if exact_timers:
        return lambda: asyncio.SelectorEventLoop(ExactSelector())
    try:
        import uvloop
    except ImportError:  # not packaged for Windows
        return asyncio.new_event_loop
    made: Any = uvloop.new_event_loop
    return made  # type: ignore[no-any-return]  # uvloop's own type of loop
