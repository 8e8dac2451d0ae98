"""What the managers of several processes on one machine share while they load the same models.

Alone there is nothing to share, and this module's ``Unshared`` costs nothing. What must stay true: a report that was
shared is one that trying the same files in the same way would have given.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from tensorhost.models.probe import ProbeReport
from tensorhost.models.probe_messages import ProbeRequest

Probe = Callable[[], Awaitable[ProbeReport]]


class LoadSharing(Protocol):
    """How a manager gets on with those of other processes."""

    async def probe(self, key: str, probe: Probe) -> ProbeReport:
        """What ``probe`` returns or raises, or what it did for another process that asked with the same ``key``."""

    def turn(self) -> AbstractAsyncContextManager[None]:
        """Held while a version is loaded and warmed up, so that what is measured then is not measured in a crowd."""


class Unshared:
    """One process alone; see ``LoadSharing``."""

    async def probe(self, key: str, probe: Probe) -> ProbeReport:  # noqa: ARG002 - there is nobody to tell the key
        """What ``probe`` returns or raises."""
        return await probe()

    def turn(self) -> AbstractAsyncContextManager[None]:
        """Always one's own."""
        return contextlib.nullcontext()


def probe_key(request: ProbeRequest, fingerprint: object) -> str:
    """The same for two requests if trying one shows what trying the other would."""
    return hashlib.sha256(request.to_line() + repr(fingerprint).encode()).hexdigest()
