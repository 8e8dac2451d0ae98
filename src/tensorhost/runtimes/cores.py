"""How many cores this process may use, and threads in words."""

from __future__ import annotations

import os

from tensorhost.telemetry import processor_quota


def usable_cores() -> int:
    """Cores this process may use: those it may run on, or fewer where a container's quota is worth fewer.

    A quota of 1.6 cores counts as 2: threads of which some wait for the next period beat a core that idles.
    """
    cores = _cores()
    quota = processor_quota()
    return cores if quota is None else max(min(cores, round(quota)), 1)


def threads_within_quota(threads: int) -> int:
    """What to ask of a library that takes 0 for one thread per core and does not know quotas: ``threads``, but for 0,
    where a quota is worth fewer cores, that many."""
    if threads:
        return threads
    cores = usable_cores()
    return cores if cores < _cores() else 0


def described_threads(threads: int) -> str:
    """``2 threads``; 0 stands for one per core."""
    return f"{threads} threads" if threads else "one thread per core"


def _cores() -> int:
    affinity = getattr(os, "sched_getaffinity", None)  # not everywhere
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1
