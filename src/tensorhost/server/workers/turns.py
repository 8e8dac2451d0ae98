"""Whose turn it is, and how many may wait: calls about one model come one after another, those about all alone."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from weakref import WeakValueDictionary

from tensorhost.core.errors import OverloadedError

_MOST_CALLS = 64


class OpenCalls:
    """How many calls of one kind wait for their turn or have it: at most 64."""

    def __init__(self) -> None:
        self._count = 0

    @contextlib.contextmanager
    def another(self) -> Iterator[None]:
        """Counts one. Raises OverloadedError where there are too many."""
        if self._count >= _MOST_CALLS:
            raise OverloadedError("Too many control calls at once; try again later.")
        self._count += 1
        try:
            yield
        finally:
            self._count -= 1


class Turns:
    """Turns in the order in which they are asked for. A call about all models waits for those before it, and those
    after it wait for that."""

    def __init__(self) -> None:
        self._gate = asyncio.Lock()
        self._running = 0
        self._none_runs = asyncio.Event()
        self._models: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @contextlib.asynccontextmanager
    async def of(self, name: str) -> AsyncIterator[None]:
        """The turn of a call about one model."""
        async with self._models.setdefault(name, asyncio.Lock()):
            async with self._gate:
                self._running += 1
            try:
                yield
            finally:
                self._running -= 1
                if not self._running:
                    self._none_runs.set()

    @contextlib.asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """The turn of a call about all models."""
        async with self._gate:
            while self._running:
                self._none_runs.clear()
                await self._none_runs.wait()
            yield
