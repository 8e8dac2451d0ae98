"""Server-sent events: what a page that is open is told as it happens.

What must stay true: a stream ends when its client leaves or the server drains; their number has a limit; a page costs
the server nothing once it is closed.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Sequence

from tensorhost.core.errors import OverloadedError
from tensorhost.frontends.dashboard.state import errors_json, models_json, models_signature
from tensorhost.inference import Group
from tensorhost.models.manager import ModelManager
from tensorhost.telemetry.history import FINE_S, LATEST
from tensorhost.telemetry.recent_errors import RecentError

MAX_STREAMS = 64
_RETRY_MS = 2000
MODELS_AGE_S = 10.0
"""How old the models' description may be while no state changes: their times and sizes may have."""


class SharedModels:
    """The description of all models, made once for all pages that are open."""

    def __init__(self, manager: ModelManager) -> None:
        self._manager = manager
        self._making = asyncio.Lock()
        self._signature: int | None = None
        self._made_at = float("-inf")
        self._models = b""

    async def current(self, max_age_s: float = MODELS_AGE_S) -> bytes:
        """The description: as it is now where a state or label has changed, else at most that old."""
        async with self._making:
            now = asyncio.get_running_loop().time()
            signature = models_signature(self._manager)
            if signature != self._signature or now - self._made_at >= max_age_s:
                self._models = await models_json(self._manager)
                self._signature, self._made_at = signature, now
            return self._models


class Events:
    """The streams of all open pages.

    Args:
        manager: knows the models.
        group: knows what happens.

    Attributes:
        models: what all pages are told of the models.
    """

    def __init__(self, manager: ModelManager, group: Group) -> None:
        self.models = SharedModels(manager)
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
            watch = _Watch(self.models, self._group)
            while not self._draining.is_set():
                yield await watch.news()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(FINE_S):
                        await self._draining.wait()
            yield _event("bye", b"{}")
        finally:
            self._streams -= 1


class _Watch:
    """What one page has been told: at first the present only, as it asks for the past itself."""

    def __init__(self, models: SharedModels, group: Group) -> None:
        self._shared_models = models
        self._group = group
        self._fine = self._coarse = LATEST
        self._models = b""
        self._errors: Sequence[RecentError] | None = None

    async def news(self) -> bytes:
        """The events since the last call."""
        parts: list[bytes] = []
        models = await self._shared_models.current()
        if models != self._models:
            self._models = models
            parts.append(_event("models", models))
        past = await self._group.past(self._fine, self._coarse)
        parts.extend(_event("coarse", sample.json, sample.sequence) for sample in past.coarse)
        parts.extend(_event("sample", sample.json, sample.sequence) for sample in past.fine)
        self._fine = past.fine[-1].sequence if past.fine else self._fine
        self._coarse = past.coarse[-1].sequence if past.coarse else self._coarse
        if past.errors != self._errors:
            self._errors = past.errors
            parts.append(_event("errors", errors_json(past)))
        # A comment keeps proxies from taking a quiet stream for a dead one.
        return b"".join(parts) or b": \n\n"


def _event(name: str, data: bytes, number: int | None = None) -> bytes:
    """One event. ``data`` is JSON without line breaks, as ours is."""
    identity = b"" if number is None else b"id: %d\n" % number
    return b"event: %b\n%bdata: %b\n\n" % (name.encode(), identity, data)
