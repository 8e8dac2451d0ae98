"""How busy the machine is, of which this server may be one program among others: all processors, and their memory.

A container sees the machine it runs on, not its own share.
"""

from __future__ import annotations

from typing import NamedTuple

import psutil


class _ProcessorTime(NamedTuple):
    """Seconds of all processors since the machine started."""

    busy_s: float
    total_s: float


class Machine:
    """What can be asked of the machine, by any thread."""

    def __init__(self) -> None:
        self._seen = _ProcessorTime(0.0, 0.0)

    def cpu_utilization(self) -> float:
        """The share of all processors' time that was spent, from 0 to 1: since this was last asked, and the first time
        since the machine started. 0 where the system does not say."""
        before, now = self._seen, _processor_time()
        self._seen = now
        passed_s = now.total_s - before.total_s
        return min(max((now.busy_s - before.busy_s) / passed_s, 0.0), 1.0) if passed_s > 0 else 0.0

    def memory_bytes(self) -> tuple[int, int]:
        """Bytes of memory in all, and those that could not be had for a new program."""
        memory = psutil.virtual_memory()
        return memory.total, memory.total - memory.available


def _processor_time() -> _ProcessorTime:
    times = psutil.cpu_times()._asdict()
    # Virtual machines that run on this one: their time is also among the rest.
    total_s = sum(times.values()) - times.get("guest", 0.0) - times.get("guest_nice", 0.0)
    return _ProcessorTime(total_s - times["idle"] - times.get("iowait", 0.0), total_s)
