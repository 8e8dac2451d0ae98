"""Prometheus's usual metrics of the process, for a server of several: added up, whichever of them is asked.

The processor time of those that have ended is kept by the system for the process that waited for them, so the counter
does not go down. Linux only, as several processes are.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import psutil
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.core import Metric as Family
from prometheus_client.registry import Collector


class ProcessFamilies(Collector):
    """The families ``process_…``.

    Args:
        pids: of the server's processes, first the one that started the others.
    """

    def __init__(self, pids: Sequence[int]) -> None:
        self._pids = pids

    def collect(self) -> Iterator[Family]:
        """One family each, read now. A process that has just ended is left out."""
        virtual = resident = cpu_s = 0.0
        open_files = most_files = 0
        started: list[float] = []
        for pid in self._pids:
            with contextlib.suppress(psutil.Error):
                process = psutil.Process(pid)
                with process.oneshot():
                    memory, times = process.memory_info(), process.cpu_times()
                    started.append(process.create_time())
                    open_files += process.num_fds()
                    most_files += process.rlimit(psutil.RLIMIT_NOFILE)[0]
                virtual, resident = virtual + memory.vms, resident + memory.rss
                cpu_s += times.user + times.system
                if pid == self._pids[0]:
                    cpu_s += times.children_user + times.children_system
        yield GaugeMetricFamily("process_virtual_memory_bytes", "Virtual memory of all processes.", virtual)
        yield GaugeMetricFamily("process_resident_memory_bytes", "Resident memory of all processes.", resident)
        yield GaugeMetricFamily(
            "process_start_time_seconds", "When the first process started, since the epoch.", min(started, default=0.0)
        )
        yield CounterMetricFamily("process_cpu_seconds", "Processor time of all processes.", cpu_s)
        yield GaugeMetricFamily("process_open_fds", "Open files of all processes.", open_files)
        yield GaugeMetricFamily("process_max_fds", "Files that all processes may open.", most_files)
