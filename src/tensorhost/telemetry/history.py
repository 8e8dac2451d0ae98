"""The last hour of the metrics: what happened in each two seconds, and in each twenty.

A sample is the difference between two looks at the counters, kept as JSON. Versions in which nothing happened are left
out, so that idle models cost nothing. ``difference`` and ``keep`` are apart because the first takes its time with very
many versions and may run on a thread, while the second belongs to whoever reads. What must stay true: memory has a
limit, whatever is loaded and asked; samples are numbered without gaps, also across a reader's visits.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from tensorhost.telemetry.histograms import Histogram
from tensorhost.telemetry.metrics import OTHER
from tensorhost.telemetry.recent_errors import RecentError
from tensorhost.telemetry.server_view import ServerView
from tensorhost.telemetry.versions import STAGES, VersionMetrics

FINE_S = 2.0
FINE_SAMPLES = 150
"""Five minutes."""
FINE_IN_COARSE = 10
COARSE_SAMPLES = 180
"""An hour."""

_LATENCIES = ("total", *STAGES)
_MAX_KNOWN = 10_000
"""Versions whose last counters are remembered, also of those that nobody shows any more."""
_MAX_VERSIONS = 32
"""Versions shown by themselves in one sample, the busiest; what happened in others is summed up."""

LATEST = -2
"""Instead of a number: only the newest sample."""
NOTHING = 2**62 - 1
"""Instead of a number: no sample at all."""

_Key = tuple[str, str]
_Fields = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Sample:
    """One sample: its number, counted from the first, and its JSON text."""

    sequence: int
    json: bytes


@dataclass(frozen=True, slots=True)
class Past:
    """What a reader has not seen yet, the oldest first, and the errors kept, the newest first."""

    fine: Sequence[Sample]
    coarse: Sequence[Sample]
    errors: Sequence[RecentError]


@dataclass(slots=True)
class _Counters:
    """A version's counters at the last look."""

    requests: int
    errors: dict[str, int]
    histograms: dict[str, tuple[list[int], float]]


@dataclass(slots=True)
class _Ring:
    samples: deque[Sample]
    next_sequence: int = 0

    def add(self, fields: _Fields) -> None:
        text = orjson.dumps({"sequence": self.next_sequence, **fields})
        self.samples.append(Sample(self.next_sequence, text))
        self.next_sequence += 1

    def after(self, sequence: int) -> tuple[Sample, ...]:
        if sequence == LATEST:
            return (self.samples[-1],) if self.samples else ()
        return tuple(sample for sample in self.samples if sample.sequence > sequence)


@dataclass(slots=True)
class History:
    """Samples of the last hour. Start it when the counters do: what they hold at the first look counts as new."""

    _before: dict[_Key, _Counters] = field(default_factory=dict)
    _fine: _Ring = field(default_factory=lambda: _Ring(deque(maxlen=FINE_SAMPLES)))
    _coarse: _Ring = field(default_factory=lambda: _Ring(deque(maxlen=COARSE_SAMPLES)))
    _pending: list[_Fields] = field(default_factory=list)
    _errors: Sequence[RecentError] = ()

    def difference(self, view: ServerView, *, at: float, seconds: float) -> _Fields:
        """What happened since the last call, ``seconds`` ago; ``at`` is Unix time. One call at a time."""
        rows: list[_Fields] = []
        for metrics in (*view.versions, view.unattributed):
            key = metrics.model, metrics.version
            before = self._before.get(key)
            happened = before is None or metrics.requests != before.requests or metrics.in_flight or metrics.queued_rows
            if before is not None and not happened:
                continue
            now = self._before[key] = _counters(metrics)
            row = _row(metrics, now, before)
            if row["requests"] or row["batchRows"]["sum"] or row["inFlight"] or row["queueRows"]:
                rows.append(row)
        if len(self._before) > _MAX_KNOWN:
            # Until then versions that nobody shows stay known, since those who count them may come back.
            shown = {(metrics.model, metrics.version) for metrics in (*view.versions, view.unattributed)}
            self._before = {key: counters for key, counters in self._before.items() if key in shown}
        totals = view.totals
        return {
            "at": at,
            "seconds": round(seconds, 3),
            "server": {
                "rssBytes": view.memory.rss,
                "heapUsedBytes": view.memory.heap_used,
                "weightsBytes": totals.weights_bytes,
                "inFlight": totals.in_flight,
                "queueRows": totals.queued_rows,
                "uptimeSeconds": round(view.uptime_s, 3),
                "workersReady": view.workers.ready,
            },
            "versions": _busiest(rows),
        }

    def keep(self, sample: _Fields, errors: Sequence[RecentError]) -> None:
        """Take in a sample that ``difference`` made, and the errors there are by now."""
        self._errors = errors
        self._fine.add(sample)
        self._pending.append(sample)
        if len(self._pending) == FINE_IN_COARSE:
            self._coarse.add(_sum(self._pending))
            self._pending = []

    def past(self, fine_after: int = -1, coarse_after: int = -1) -> Past:
        """The samples kept whose numbers are above those given; LATEST and NOTHING stand for numbers."""
        return Past(self._fine.after(fine_after), self._coarse.after(coarse_after), self._errors)


def _counters(metrics: VersionMetrics) -> _Counters:
    return _Counters(
        metrics.requests,
        {code.value: count for code, count in metrics.errors.items() if count},
        {
            name: (histogram.counts.copy(), histogram.sum)
            for name in (*_LATENCIES, "batch_rows")
            for histogram in (_histogram(metrics, name),)
        },
    )


def _histogram(metrics: VersionMetrics, name: str) -> Histogram:
    histogram: Histogram = getattr(metrics, name)
    return histogram


def _row(metrics: VersionMetrics, now: _Counters, before: _Counters | None) -> _Fields:
    if before is None:
        before = _Counters(0, {}, {})
    elif now.requests < before.requests:
        # Somebody who counted is gone. What the others had counted before is not new, so nothing is.
        before = now
    latency = {name: _happened(now.histograms[name], before.histograms.get(name)) for name in _LATENCIES}
    errors = {code: count - before.errors.get(code, 0) for code, count in now.errors.items()}
    return {
        "model": metrics.model,
        "version": metrics.version,
        "requests": now.requests - before.requests,
        "errors": {code: count for code, count in errors.items() if count},
        "inFlight": metrics.in_flight,
        "queueRows": metrics.queued_rows,
        "latency": latency,
        "batchRows": _happened(now.histograms["batch_rows"], before.histograms.get("batch_rows")),
    }


def _happened(now: tuple[list[int], float], before: tuple[list[int], float] | None) -> _Fields:
    """Observations by bucket, empty ones left out, and their sum."""
    counts, total = now
    earlier, earlier_total = before or ([0] * len(counts), 0.0)
    pairs = enumerate(zip(counts, earlier, strict=True))
    return {
        "buckets": {str(bucket): count - past for bucket, (count, past) in pairs if count != past},
        "sum": max(total - earlier_total, 0.0),
    }


def _busiest(rows: list[_Fields]) -> list[_Fields]:
    named = sorted((row for row in rows if row["model"] != OTHER), key=lambda row: row["requests"], reverse=True)
    rest = [*named[_MAX_VERSIONS:], *(row for row in rows if row["model"] == OTHER)]
    shown = named[:_MAX_VERSIONS]
    return [*shown, {**_sum_rows(rest, latest=rest), "model": OTHER, "version": OTHER}] if rest else shown


def _sum(samples: Sequence[_Fields]) -> _Fields:
    """Samples that follow one another as one: counters add up, what describes the present is the last one's."""
    last = samples[-1]
    by_version: dict[_Key, list[_Fields]] = {}
    for sample in samples:
        for row in sample["versions"]:
            by_version.setdefault((row["model"], row["version"]), []).append(row)
    present = {(row["model"], row["version"]): row for row in last["versions"]}
    rows = [
        {**_sum_rows(rows, latest=[present[key]] if key in present else []), "model": key[0], "version": key[1]}
        for key, rows in by_version.items()
    ]
    return {**last, "seconds": round(sum(sample["seconds"] for sample in samples), 3), "versions": _busiest(rows)}


def _sum_rows(rows: Sequence[_Fields], *, latest: Sequence[_Fields]) -> _Fields:
    """Counters of ``rows`` and gauges of ``latest``, added up."""
    return {
        "requests": sum(row["requests"] for row in rows),
        "errors": _add_counts(row["errors"] for row in rows),
        "inFlight": sum(row["inFlight"] for row in latest),
        "queueRows": sum(row["queueRows"] for row in latest),
        "latency": {name: _add_histograms([row["latency"][name] for row in rows]) for name in _LATENCIES},
        "batchRows": _add_histograms([row["batchRows"] for row in rows]),
    }


def _add_histograms(histograms: Sequence[_Fields]) -> _Fields:
    return {
        "buckets": _add_counts(histogram["buckets"] for histogram in histograms),
        "sum": sum(histogram["sum"] for histogram in histograms),
    }


def _add_counts(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for each in counts:
        for key, count in each.items():
            total[key] = total.get(key, 0) + count
    return total
