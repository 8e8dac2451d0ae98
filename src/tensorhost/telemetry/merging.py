"""Several processes' metrics as those of one server, and what an ended process has counted kept.

Counters and histograms add up, so do requests in flight, waiting rows and memory; times of loading are the longest;
the versions' states are those of the serving process that is furthest behind. Pure. What must stay true: no total of
the server goes down because a process ends, as far as its numbers had been seen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tensorhost.telemetry.memory import MemoryUsage
from tensorhost.telemetry.metrics import OTHER, UNKNOWN
from tensorhost.telemetry.recent_errors import RecentError, newest
from tensorhost.telemetry.server_view import ServerView, Workers
from tensorhost.telemetry.serving_calls import ServingCalls
from tensorhost.telemetry.versions import VersionMetrics

_SERVING_STATE = "AVAILABLE"

_Key = tuple[str, str]


class Retired:
    """What processes that have ended had counted when they were last asked."""

    def __init__(self) -> None:
        self.totals = VersionMetrics(OTHER, OTHER)
        self.unattributed = VersionMetrics(UNKNOWN, UNKNOWN)
        self.versions: dict[_Key, VersionMetrics] = {}
        self.loads: dict[str, int] = {}
        self.recent_errors: Sequence[RecentError] = ()
        self.serving_calls = ServingCalls()

    def add(self, view: ServerView) -> None:
        """Keep the counters of ``view``; what it said of its present is past."""
        self.totals.absorb(view.totals)
        self.unattributed.absorb(view.unattributed)
        for metrics in view.versions:
            _row(self.versions, metrics).absorb(metrics)
        _add_counts(self.loads, view.loads)
        self.recent_errors = newest((*self.recent_errors, *view.recent_errors))
        self.serving_calls.absorb(view.serving_calls)


def merge(
    views: Sequence[ServerView],
    retired: Retired,
    *,
    serving: Sequence[ServerView],
    own_memory: MemoryUsage,
    uptime_s: float,
    workers: Workers,
) -> ServerView:
    """One view of the whole server.

    Args:
        views: of every process that has models.
        retired: of those that have ended.
        serving: those of ``views`` whose processes are sent requests.
        own_memory: of the process that watches them.
        uptime_s: since the server started.
        workers: how many there are.
    """
    totals = VersionMetrics(OTHER, OTHER)
    totals.absorb(retired.totals)
    unattributed = VersionMetrics(UNKNOWN, UNKNOWN)
    unattributed.absorb(retired.unattributed)
    versions: dict[_Key, VersionMetrics] = {}
    loads = dict(retired.loads)
    for view in views:
        totals.absorb(view.totals)
        totals.absorb_gauges(view.totals)
        unattributed.absorb(view.unattributed)
        _add_counts(loads, view.loads)
        for metrics in view.versions:
            _add(_row(versions, metrics), metrics)
    for key, past in retired.versions.items():
        # What no process knows any more was unloaded; its counters live on in the totals.
        if key in versions:
            versions[key].absorb(past)
    serving_calls = retired.serving_calls.copy()
    for view in views:
        serving_calls.absorb(view.serving_calls)
    states = [view.states for view in serving or views]
    return ServerView(
        versions=list(versions.values()),
        unattributed=unattributed,
        totals=totals,
        uptime_s=uptime_s,
        memory=MemoryUsage(*map(sum, zip(own_memory, *(view.memory for view in views), strict=True))),
        loads=loads,
        states=min(states, key=lambda counts: counts.get(_SERVING_STATE, 0), default={}),
        workers=workers,
        recent_errors=newest((*retired.recent_errors, *(error for view in views for error in view.recent_errors))),
        serving_calls=serving_calls,
    )


def _row(rows: dict[_Key, VersionMetrics], metrics: VersionMetrics) -> VersionMetrics:
    return rows.setdefault((metrics.model, metrics.version), VersionMetrics(metrics.model, metrics.version))


def _add(row: VersionMetrics, metrics: VersionMetrics) -> None:
    load_s, warmup_s = max(row.load_s, metrics.load_s), max(row.warmup_s, metrics.warmup_s)
    row.absorb(metrics)
    row.absorb_gauges(metrics)
    row.load_s, row.warmup_s = load_s, warmup_s


def _add_counts(into: dict[str, int], counts: Mapping[str, int]) -> None:
    for key, count in counts.items():
        into[key] = into.get(key, 0) + count
