"""How much memory the process uses, how much it may use, and giving freed memory back to the system.

The C allocator is asked through ctypes where it is glibc's; elsewhere every question has an honest, coarser answer.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import ClassVar, NamedTuple

import psutil

from tensorhost.telemetry.control_groups import MOUNT, memory_left_bytes


class MemoryUsage(NamedTuple):
    """Bytes of the process.

    ``rss`` is resident memory. ``heap_total`` is what the C allocator holds from the system, ``heap_used`` what it has
    handed out; both equal ``rss`` where the allocator cannot be asked.
    """

    rss: int
    heap_total: int
    heap_used: int


class _MallocInfo(ctypes.Structure):
    """glibc's ``struct mallinfo2``: ten sizes."""

    _fields_: ClassVar = [
        (name, ctypes.c_size_t)
        for name in (
            "arena",
            "ordblks",
            "smblks",
            "hblks",
            "hblkhd",
            "usmblks",
            "fsmblks",
            "uordblks",
            "fordblks",
            "keepcost",
        )
    ]


def process_memory() -> MemoryUsage:
    """Memory of this process now."""
    rss = psutil.Process(os.getpid()).memory_info().rss
    query = _allocator_query()
    if query is None:
        return MemoryUsage(rss, rss, rss)
    info = query()
    return MemoryUsage(rss, info.arena + info.hblkhd, info.uordblks + info.hblkhd)


def trim() -> None:
    """Give freed memory back to the system, where the C allocator offers that; does nothing elsewhere."""
    release = _allocator_trim()
    if release is not None:
        release(0)


def available_memory_bytes(control_groups: Path = MOUNT) -> int:
    """Bytes that can still be allocated before the machine or the container's limit is reached, never negative.

    Args:
        control_groups: where they are mounted.
    """
    available = int(psutil.virtual_memory().available)
    left = memory_left_bytes(control_groups)
    return max(0, available if left is None else min(available, left))


@cache
def _allocator_query() -> Callable[[], _MallocInfo] | None:
    try:
        function = ctypes.CDLL(None).mallinfo2
    except (AttributeError, OSError, TypeError):  # another C library, an older glibc, or Windows
        return None
    function.argtypes = []
    function.restype = _MallocInfo
    return function


@cache
def _allocator_trim() -> Callable[[int], int] | None:
    try:
        function = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):
        return None
    function.argtypes = [ctypes.c_size_t]
    function.restype = ctypes.c_int
    return function
