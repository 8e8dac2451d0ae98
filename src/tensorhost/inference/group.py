"""What concerns a whole server, which may be several processes with the same models: control, readiness, numbers.

Front ends ask here instead of the manager, and need not know how many processes there are. What must stay true: one
process alone is asked directly and pays nothing.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Protocol

from tensorhost.models.manager import ModelManager
from tensorhost.telemetry.server_view import ServerView


class Group(Protocol):
    """All processes of one server, seen from one of them."""

    @property
    def ready(self) -> bool:
        """Whether the server as a whole has acted on what it found at its start."""

    async def load_model(self, name: str, source: Path | None = None, version: str | None = None) -> None:
        """``ModelManager.load_model``, in every process."""

    async def unload_model(self, name: str, version: str | None = None) -> None:
        """``ModelManager.unload_model``, in every process."""

    async def view(self) -> ServerView:
        """The metrics of all processes together."""


class Alone:
    """The group of a single process; see ``Group``."""

    def __init__(self, manager: ModelManager) -> None:
        self._manager = manager

    @property
    def ready(self) -> bool:
        """Whether the manager has settled."""
        return self._manager.settled

    async def load_model(self, name: str, source: Path | None = None, version: str | None = None) -> None:
        """The manager's."""
        await self._manager.load_model(name, source, version)

    async def unload_model(self, name: str, version: str | None = None) -> None:
        """The manager's."""
        await self._manager.unload_model(name, version)

    async def view(self) -> ServerView:
        """Of this process."""
        # Adding a thousand versions up takes milliseconds, which requests need not wait for.
        return await asyncio.to_thread(self._manager.metrics.view)
