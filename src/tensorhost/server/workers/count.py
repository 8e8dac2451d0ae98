"""How many workers there are: what the settings say, or what pays on this machine."""

from __future__ import annotations

import os
import sys

from tensorhost.core.errors import InvalidRequestError
from tensorhost.settings import Settings

SUPPORTED = sys.platform == "linux"
"""Elsewhere the system does not spread connections over the sockets of a port, nor end workers with their parent."""


def worker_count(settings: Settings) -> int:
    """How many workers to run. Raises InvalidRequestError for several where the system cannot have them."""
    if settings.workers == "auto":
        return usable_cores() if SUPPORTED else 1
    if settings.workers > 1 and not SUPPORTED:
        raise InvalidRequestError("Several workers need Linux; here the setting 'workers' must be 1 or auto.")
    return settings.workers


def usable_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
