"""What concerns a whole server, which may be several processes with the same models: control, readiness, numbers, and
what else clients may change of all.

Front ends ask here instead of the manager, and need not know how many processes there are. What must stay true: one
process alone is asked directly and pays nothing.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Protocol
from weakref import WeakValueDictionary

from tensorhost.inference.process_state import ProcessState
from tensorhost.inference.regions import Region
from tensorhost.models.adding import add_model
from tensorhost.models.listed import ModelList
from tensorhost.models.manager import ModelManager
from tensorhost.telemetry.history import History, Past
from tensorhost.telemetry.server_view import ServerView


class Group(Protocol):
    """All processes of one server, seen from one of them."""

    @property
    def ready(self) -> bool:
        """Whether the server as a whole has acted on what it found at its start."""

    @property
    def state(self) -> ProcessState:
        """What this process has of what is the same in every one. To be read; changed by the methods below."""

    async def load_model(self, name: str, source: Path | None = None, version: str | None = None) -> None:
        """``ModelManager.load_model``, in every process."""

    async def add_model(self, name: str, source: Path | None = None, version: str | None = None) -> None:
        """``adding.add_model``, in every process."""

    async def unload_model(self, name: str, version: str | None = None) -> None:
        """``ModelManager.unload_model``, in every process."""

    async def replace_models(self, models: ModelList, *, labels_may_wait: bool = False) -> None:
        """``ModelManager.replace_models``, in every process."""

    async def view(self) -> ServerView:
        """The metrics of all processes together."""

    async def label_version(self, name: str, label: str, version: str | None) -> None:
        """``ModelManager.label_version``, in every process."""

    async def past(self, fine_after: int = -1, coarse_after: int = -1) -> Past:
        """What happened lately in all processes together; see ``History.past``."""

    async def register_region(self, region: Region) -> None:
        """``Regions.register``, in every process or in none."""

    async def unregister_region(self, name: str) -> None:
        """``Regions.unregister``, in every process."""

    async def set_log_level(self, level: int, verbosity: int) -> None:
        """``LogLevel.set``, in every process."""


class Alone:
    """The group of a single process; see ``Group``."""

    def __init__(
        self, manager: ModelManager, history: History | None = None, state: ProcessState | None = None
    ) -> None:
        self._manager = manager
        self._history = history or History()
        self._tasks: set[asyncio.Task[None]] = set()
        self._adding: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self.state = state or ProcessState.of(manager.settings)

    @property
    def ready(self) -> bool:
        """Whether the manager has settled."""
        return self._manager.settled

    async def load_model(self, name: str, source: Path | None = None, version: str | None = None) -> None:
        """The manager's."""
        await self._manager.load_model(name, source, version)

    async def add_model(self, name: str, source: Path | None = None, version: str | None = None) -> None:
        """One after another for each model, as the supervisor of several processes has it."""
        turn = self._adding.setdefault(name, asyncio.Lock())
        await turn.acquire()
        # It goes on without who asked: what a failure leaves is to be cleared away before the next one's turn.
        adding = asyncio.create_task(add_model(self._manager, name, source, version), name=f"add {name}")
        self._tasks.add(adding)

        def end(task: asyncio.Task[None]) -> None:
            turn.release()
            self._tasks.discard(task)
            if not task.cancelled():
                task.exception()  # which nobody may be there to hear

        adding.add_done_callback(end)
        await asyncio.shield(adding)

    async def unload_model(self, name: str, version: str | None = None) -> None:
        """The manager's."""
        await self._manager.unload_model(name, version)

    async def replace_models(self, models: ModelList, *, labels_may_wait: bool = False) -> None:
        """The manager's."""
        await self._manager.replace_models(models, labels_may_wait=labels_may_wait)

    async def view(self) -> ServerView:
        """Of this process."""
        # Adding a thousand versions up takes milliseconds, which requests need not wait for.
        return await asyncio.to_thread(self._manager.metrics.view)

    async def label_version(self, name: str, label: str, version: str | None) -> None:
        """The manager's."""
        await self._manager.label_version(name, label, version)

    async def past(self, fine_after: int = -1, coarse_after: int = -1) -> Past:
        """Of this process; empty where nobody takes samples."""
        return self._history.past(fine_after, coarse_after)

    async def register_region(self, region: Region) -> None:
        """In this process."""
        self.state.regions.register(region)

    async def unregister_region(self, name: str) -> None:
        """In this process."""
        self.state.regions.unregister(name)

    async def set_log_level(self, level: int, verbosity: int) -> None:
        """Of this process."""
        self.state.log_level.set(level, verbosity)
