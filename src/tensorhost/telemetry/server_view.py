"""The numbers of one moment, from which both forms of the metrics are written, so that they always agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tensorhost.telemetry.memory import MemoryUsage
from tensorhost.telemetry.recent_errors import RecentError
from tensorhost.telemetry.serving_calls import ServingCalls
from tensorhost.telemetry.versions import VersionMetrics


@dataclass(frozen=True, slots=True)
class Workers:
    """Serving processes: how many there should be, how many serve now, how often one was replaced.

    ``pids`` are all processes of the server; empty when it is the reading process alone.
    """

    count: int = 1
    ready: int = 1
    restarts: int = 0
    pids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class ServerView:
    """What a reader of the metrics is shown.

    ``totals`` sums every version since the start, visible or not, and ``unattributed``; its gauges describe the
    present. ``loads`` and ``states`` are counts by outcome and by state. ``recent_errors`` are the newest first.
    ``serving_calls`` are those by TensorFlow Serving's protocols since the start.
    """

    versions: Sequence[VersionMetrics]
    unattributed: VersionMetrics
    totals: VersionMetrics
    uptime_s: float
    memory: MemoryUsage
    loads: Mapping[str, int]
    states: Mapping[str, int]
    workers: Workers = Workers()
    recent_errors: Sequence[RecentError] = ()
    serving_calls: ServingCalls = field(default_factory=ServingCalls)
