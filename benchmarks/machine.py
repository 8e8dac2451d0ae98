"""What a saved figure must say about where it comes from: processor, cores, date, versions, and who else was busy."""

from __future__ import annotations

import contextlib
import os
import platform
import resource
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

PACKAGES = ("tensorhost", "tensorflow-cpu", "keras", "numpy", "uvicorn", "uvloop", "httptools", "orjson", "pysimdjson")


def describe(packages: Sequence[str] = PACKAGES) -> dict[str, Any]:
    """Date (UTC), processor, cores, system and the versions of Python and of ``packages``."""
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": {"cpu": cpu_name(), "cores": os.cpu_count(), "system": platform.system()},
        "versions": {"python": platform.python_version(), **{name: version(name) for name in packages}},
    }


def cpu_name() -> str:
    """The processor's name as Linux tells it, or the architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


@dataclass(frozen=True, slots=True)
class CpuSeconds:
    """Processor time used so far, in seconds: by everybody, by one server's processes, by ended children."""

    everybody: float
    server: float
    generator: float

    @classmethod
    def now(cls, server_pid: int) -> CpuSeconds:
        """Read the counters; ``server_pid`` leads the server's session."""
        total = psutil.cpu_times()
        busy = total.user + total.nice + total.system + getattr(total, "irq", 0.0) + getattr(total, "softirq", 0.0)
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        return cls(busy, _family_seconds(server_pid), ended.ru_utime + ended.ru_stime)

    def cores_since(self, before: CpuSeconds, elapsed_s: float) -> dict[str, float]:
        """Cores kept busy since ``before`` by the server, by the load generator, and by programs of others."""
        server = self.server - before.server
        generator = self.generator - before.generator
        others = self.everybody - before.everybody - server - generator
        named = {"server_cores": server, "generator_cores": generator, "other_cores": max(0.0, others)}
        return {name: round(seconds / elapsed_s, 2) for name, seconds in named.items()}


def family(pid: int) -> set[int]:
    """A server's processes: the session that ``pid`` leads, and all descendants: some lead sessions of their own."""
    parents, found = {}, set()
    for process in psutil.process_iter(["ppid"]):
        parents[process.pid] = process.info["ppid"]
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if os.getsid(process.pid) == pid:
                found.add(process.pid)
    while grown := {child for child, parent in parents.items() if parent in found} - found:
        found |= grown
    return found


def _family_seconds(pid: int) -> float:
    total = 0.0
    for member in family(pid):
        with contextlib.suppress(psutil.NoSuchProcess):
            times = psutil.Process(member).cpu_times()
            total += times.user + times.system
    return total
