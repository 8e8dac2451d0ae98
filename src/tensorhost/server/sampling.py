"""Looks at the metrics every two seconds and keeps what happened in between."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from tensorhost.telemetry import get_logger
from tensorhost.telemetry.history import FINE_S, History
from tensorhost.telemetry.server_view import ServerView

log = get_logger(__name__)


async def sample(history: History, look: Callable[[], Awaitable[ServerView]]) -> None:
    """Fill ``history`` with what ``look`` shows, until cancelled."""
    loop = asyncio.get_running_loop()
    last = next_at = loop.time()
    while True:
        # From the plan, not from the last look: else each sample would be late by what all before it took.
        next_at = max(next_at + FINE_S, loop.time())
        await asyncio.sleep(next_at - loop.time())
        try:
            view = await look()
            now = loop.time()
            difference = await asyncio.to_thread(history.difference, view, at=time.time(), seconds=now - last)
            history.keep(difference, view.recent_errors)
            last = now
        except Exception:  # a fault of ours in one sample must not end all later ones
            log.exception("the metrics could not be sampled")
