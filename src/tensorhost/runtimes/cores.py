"""How many cores this process may use, and threads in words."""

from __future__ import annotations

import os


def usable_cores() -> int:
    """Cores this process may run on, which may be fewer than the machine has."""
    affinity = getattr(os, "sched_getaffinity", None)  # not everywhere
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1


def described_threads(threads: int) -> str:
    """``2 threads``; 0 stands for one per core."""
    return f"{threads} threads" if threads else "one thread per core"
