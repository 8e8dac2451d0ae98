"""Server-sent events: what a page that is open is told as it happens.

What must stay true: a stream ends when its client leaves or the server drains; their number has a limit; a page costs
the server nothing once it is closed.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator

from tensorhost.core.errors import OverloadedError
from tensorhost.frontends.dashboard.state import errors_json, models_json, models_signature
from tensorhost.inference import Group
from tensorhost.models.manager import ModelManager
from tensorhost.telemetry.history import FINE_S

MAX_STREAMS = 64
_RETRY_MS = 2000
_MODELS_EVERY = 5
"""Rounds after which models are looked at though no state changed: their times and sizes may have."""


class Events:
    """The streams of all open pages.

    Args:
        manager: knows the models.
        group: knows what happens.
    """

    def __init__(self, manager: ModelManager, group: Group) -> None:
        self._manager = manager
        self._group = group
        self._draining = asyncio.Event()
        self._streams = 0

    def begin_drain(self) -> None:
        """End all streams, and each new one at once."""
        self._draining.set()

    def stream(self) -> AsyncGenerator[bytes]:
        """One page's events, until it leaves. Raises OverloadedError where there are too many."""
        if self._streams >= MAX_STREAMS:
            raise OverloadedError(f"{MAX_STREAMS} dashboards are open, the most there may be.", retry_after_s=10)
        return self._stream()

    async def _stream(self) -> AsyncGenerator[bytes]:
        self._streams += 1
        try:
            yield b"retry: %d\n\n" % _RETRY_MS
            watch = _Watch(self._manager, self._group)
            while not self._draining.is_set():
                yield await watch.news()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(FINE_S):
                        await self._draining.wait()
            yield _event("bye", b"{}")
        finally:
            self._streams -= 1


class _Watch:
    """What one page has been told."""

    def __init__(self, manager: ModelManager, group: Group) -> None:
        self._manager = manager
        self._group = group
        self._fine = self._coarse = -1
        self._signature: int | None = None
        self._rounds = 0
        self._models = self._errors = b""

    async def news(self) -> bytes:
        """The events since the last call; at the first the present only, as the page asks for the past itself."""
        parts = [*await self._models_news()]
        past = await self._group.past(self._fine, self._coarse)
        first = self._fine < 0
        for name, samples in (("coarse", past.coarse), ("sample", past.fine)):
            told = samples[-1:] if first else samples
            parts.extend(_event(name, sample.json, sample.sequence) for sample in told)
        self._fine = past.fine[-1].sequence if past.fine else self._fine
        self._coarse = past.coarse[-1].sequence if past.coarse else self._coarse
        errors = errors_json(past)
        if errors != self._errors:
            self._errors = errors
            parts.append(_event("errors", errors))
        # A comment keeps proxies from taking a quiet stream for a dead one.
        return b"".join(parts) or b": \n\n"

    async def _models_news(self) -> list[bytes]:
        signature = models_signature(self._manager)
        due = self._rounds % _MODELS_EVERY == 0
        self._rounds += 1
        if signature == self._signature and not due:
            return []
        self._signature = signature
        models = await models_json(self._manager)
        if models == self._models:
            return []
        self._models = models
        return [_event("models", models)]


def _event(name: str, data: bytes, number: int | None = None) -> bytes:
    """One event. ``data`` is JSON without line breaks, as ours is."""
    identity = b"" if number is None else b"id: %d\n" % number
    return b"event: %b\n%bdata: %b\n\n" % (name.encode(), identity, data)
