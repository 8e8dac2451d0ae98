"""The collector: which versions are measured, what they add up to, and how long they stay visible.

Recording happens in VersionMetrics, on the event loop's thread, without locks. The collector's own writers
(``version``, ``forget``, ``record_``) belong to that thread too; any thread may call ``snapshot`` and ``exposition``.
What must stay true: totals of the server never go down, whatever is unloaded; the number of label sets has a limit;
no string of a client becomes a label.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from tensorhost.core.errors import ErrorCode
from tensorhost.telemetry import exposition, snapshot
from tensorhost.telemetry.histograms import Histogram
from tensorhost.telemetry.memory import process_memory
from tensorhost.telemetry.recent_errors import RecentErrors
from tensorhost.telemetry.server_view import ServerView
from tensorhost.telemetry.serving_calls import ServingCalls
from tensorhost.telemetry.versions import VersionMetrics

__all__ = ["OTHER", "UNKNOWN", "Histogram", "MetricsCollector", "VersionMetrics"]

OTHER = "_other"
"""Label of the versions beyond the limit, together."""

UNKNOWN = "_unknown"
"""Label of failed requests that never reached a version."""

_Key = tuple[str, str]
_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True)
class _Table:
    """Versions being measured. Replaced as a whole, so that a reader on another thread never sees half a change.

    ``named`` have labels of their own, ``overflow`` share one. ``gone`` and ``gone_overflow`` hold the counters of
    those already dropped, ``forgotten_at`` when a version was unloaded.
    """

    named: Mapping[_Key, VersionMetrics] = field(default_factory=dict)
    overflow: Mapping[_Key, VersionMetrics] = field(default_factory=dict)
    gone: VersionMetrics = field(default_factory=lambda: VersionMetrics(OTHER, OTHER))
    gone_overflow: VersionMetrics = field(default_factory=lambda: VersionMetrics(OTHER, OTHER))
    forgotten_at: Mapping[_Key, float] = field(default_factory=dict)


class MetricsCollector:
    """Every metric of one server.

    Args:
        clock: seconds, never going back.
        max_versions: most versions with labels of their own; later ones are shown together under ``_other``.
        retention_s: how long an unloaded version stays visible, so that its last requests are still scraped.

    Attributes:
        models_by_state: says how many versions are in each state; called whenever the metrics are read.
        loads: attempts at loading a version, by outcome.
        recent_errors: what clients were last refused or failed with.
        serving_calls: calls by TensorFlow Serving's protocols.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        *,
        max_versions: int = 1000,
        retention_s: float = 300.0,
    ) -> None:
        self.models_by_state: Callable[[], Mapping[str, int]] = dict
        self.loads: dict[str, int] = {"succeeded": 0, "failed": 0}
        self.recent_errors = RecentErrors()
        self.serving_calls = ServingCalls()
        self._clock = clock
        self._max_versions = max_versions
        self._retention_s = retention_s
        self._started = clock()
        self._table = _Table()
        self._unattributed = VersionMetrics(UNKNOWN, UNKNOWN)

    def version(self, model: str, version: str) -> VersionMetrics:
        """The counters of a version, made at the first call; names must be those of a model that exists.

        A version that comes back within the retention time goes on counting where it stopped.
        """
        self._drop_expired()
        key = (model, version)
        table = self._table
        known = table.named.get(key) or table.overflow.get(key)
        if known is not None:
            if key in table.forgotten_at:
                self._table = replace(table, forgotten_at=_without(table.forgotten_at, key))
            return known
        metrics = VersionMetrics(model, version)
        if len(table.named) >= self._max_versions or model in (OTHER, UNKNOWN):
            self._table = replace(table, overflow={**table.overflow, key: metrics})
        else:
            self._table = replace(table, named={**table.named, key: metrics})
        return metrics

    def forget(self, model: str, version: str) -> None:
        """Note that a version was unloaded: its gauges fall to zero, its counters disappear after the retention time.

        Totals of the server keep what it counted. Unknown versions are ignored.
        """
        key = (model, version)
        table = self._table
        metrics = table.named.get(key) or table.overflow.get(key)
        if metrics is not None:
            metrics.clear_gauges()
            self._table = replace(table, forgotten_at={**table.forgotten_at, key: self._clock()})
        self._drop_expired()

    def record_unattributed_error(self, code: ErrorCode) -> None:
        """Count a finished inference request that failed before a version was known, such as an unknown model."""
        self._unattributed.requests += 1
        self._unattributed.record_error(code)

    def record_load(self, outcome: str) -> None:
        """Count an attempt at loading; ``outcome`` is ``succeeded``, ``failed`` or another fixed word."""
        self.loads[outcome] = self.loads.get(outcome, 0) + 1

    def snapshot(self) -> dict[str, Any]:
        """Every metric as JSON-ready objects; times in milliseconds, ``uptime`` in seconds, sizes in bytes."""
        return snapshot.render(self.view())

    def exposition(self, accept: str | None) -> tuple[bytes, str]:
        """Every metric for Prometheus, and its content type.

        Args:
            accept: the Accept header; OpenMetrics when it names ``application/openmetrics-text``, else the text form.
        """
        return exposition.render(self.view(), accept)

    def view(self) -> ServerView:
        """The numbers of this moment, from which ``snapshot`` and ``exposition`` are written."""
        table = self._table
        return ServerView(
            versions=self._visible(table),
            unattributed=self._unattributed,
            totals=self._totals(table),
            uptime_s=self._clock() - self._started,
            memory=process_memory(),
            loads=dict(self.loads),
            states=dict(self.models_by_state()),
            recent_errors=self.recent_errors.newest_first(),
            serving_calls=self.serving_calls.copy(),
        )

    def _visible(self, table: _Table) -> list[VersionMetrics]:
        visible = [metrics for key, metrics in table.named.items() if not self._expired(table, key)]
        if table.overflow or table.gone_overflow.requests:
            other = VersionMetrics(OTHER, OTHER)
            other.absorb(table.gone_overflow)
            for metrics in table.overflow.values():
                other.absorb(metrics)
                other.absorb_gauges(metrics)
            visible.append(other)
        return visible

    def _totals(self, table: _Table) -> VersionMetrics:
        totals = VersionMetrics(OTHER, OTHER)
        for gone in (table.gone, table.gone_overflow, self._unattributed):
            totals.absorb(gone)
        for metrics in (*table.named.values(), *table.overflow.values()):
            totals.absorb(metrics)
            totals.absorb_gauges(metrics)
        return totals

    def _expired(self, table: _Table, key: _Key) -> bool:
        return key in table.forgotten_at and self._clock() - table.forgotten_at[key] >= self._retention_s

    def _drop_expired(self) -> None:
        for key in [key for key in self._table.forgotten_at if self._expired(self._table, key)]:
            self._table = _fold(self._table, key)


def _fold(table: _Table, key: _Key) -> _Table:
    forgotten_at = _without(table.forgotten_at, key)
    if key in table.named:
        return replace(
            table,
            named=_without(table.named, key),
            gone=_sum(table.gone, table.named[key]),
            forgotten_at=forgotten_at,
        )
    return replace(
        table,
        overflow=_without(table.overflow, key),
        gone_overflow=_sum(table.gone_overflow, table.overflow[key]),
        forgotten_at=forgotten_at,
    )


def _sum(first: VersionMetrics, second: VersionMetrics) -> VersionMetrics:
    total = VersionMetrics(OTHER, OTHER)
    total.absorb(first)
    total.absorb(second)
    return total


def _without(mapping: Mapping[_Key, _Value], key: _Key) -> dict[_Key, _Value]:
    return {other: value for other, value in mapping.items() if other != key}
