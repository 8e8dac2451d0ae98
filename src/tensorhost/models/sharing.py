"""What the managers of several processes on one machine keep to while they load the same models.

Alone there is nobody to wait for, and ``Unshared`` costs nothing. What one has found out about a model the others find
on disk, see ``kept_trials.py``; here is only who does what when.
"""

from __future__ import annotations

import contextlib
from contextlib import AbstractAsyncContextManager
from typing import Protocol


class LoadSharing(Protocol):
    """How a manager gets on with those of other processes."""

    def trial(self) -> AbstractAsyncContextManager[None]:
        """Held while a version is tried in a child process: by one manager at a time, for as many as it has to try."""

    def turn(self) -> AbstractAsyncContextManager[None]:
        """Held while a version is loaded and warmed up, so that what is measured then is not measured in a crowd."""


class Unshared:
    """One process alone; see ``LoadSharing``."""

    def trial(self) -> AbstractAsyncContextManager[None]:
        """Always one's own."""
        return contextlib.nullcontext()

    def turn(self) -> AbstractAsyncContextManager[None]:
        """Always one's own."""
        return contextlib.nullcontext()
