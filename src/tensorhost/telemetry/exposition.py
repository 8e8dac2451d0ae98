"""The metrics in the two forms Prometheus reads: its own text form and OpenMetrics.

Metric families are made from one view of the server for each scrape; prometheus_client writes them out. Its global
registry is never used, so several servers may live in one process.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from importlib import metadata

from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    SummaryMetricFamily,
)
from prometheus_client.core import (
    Metric as Family,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector

from tensorhost.core.errors import ErrorCode
from tensorhost.core.version import __version__
from tensorhost.telemetry import definitions as table
from tensorhost.telemetry.histograms import Histogram
from tensorhost.telemetry.process_families import ProcessFamilies
from tensorhost.telemetry.server_view import ServerView
from tensorhost.telemetry.versions import STAGES, VersionMetrics

_OPENMETRICS = "application/openmetrics-text"
_TENSORFLOW_PACKAGES = ("tensorflow", "tensorflow-cpu", "tf-nightly")

_Rows = list[tuple[tuple[str, ...], float]]
_HistogramRows = list[tuple[tuple[str, ...], Histogram]]

_VERSION_GAUGES: Mapping[table.Metric, Callable[[VersionMetrics], float]] = {
    table.IN_FLIGHT: lambda metrics: metrics.in_flight,
    table.QUEUE_ROWS: lambda metrics: metrics.queued_rows,
    table.QUEUE_LIMIT: lambda metrics: metrics.queue_limit_rows,
    table.BATCH_LIMIT: lambda metrics: metrics.most_batch_rows,
    table.LOAD_DURATION: lambda metrics: metrics.load_s,
    table.WARMUP_DURATION: lambda metrics: metrics.warmup_s,
    table.MODEL_WEIGHTS: lambda metrics: metrics.weights_bytes,
    table.MODEL_MEMORY: lambda metrics: metrics.memory_bytes,
}


def render(view: ServerView, accept: str | None) -> tuple[bytes, str]:
    """The metrics of ``view`` as bytes, and their content type; ``accept`` is the client's Accept header.

    Nothing of ``accept`` is repeated in the content type.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_ViewCollector(view))
    if view.workers.pids:
        registry.register(ProcessFamilies(view.workers.pids))
    else:
        ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    if _wants_openmetrics(accept):
        body: bytes = openmetrics.generate_latest(registry)  # type: ignore[no-untyped-call]  # prometheus_client has no types here
        return body, openmetrics.CONTENT_TYPE_LATEST
    return generate_latest(registry), CONTENT_TYPE_PLAIN_0_0_4


def _wants_openmetrics(accept: str | None) -> bool:
    choices = (choice.partition(";")[0].strip().lower() for choice in (accept or "").split(","))
    return _OPENMETRICS in choices


class _ViewCollector(Collector):
    def __init__(self, view: ServerView) -> None:
        self._view = view

    def collect(self) -> Iterator[Family]:
        yield from _server_families(self._view)
        yield from _version_families(self._view)


def _server_families(view: ServerView) -> Iterator[Family]:
    totals = view.totals
    build = InfoMetricFamily(table.BUILD.name.removesuffix("_info"), table.BUILD.help)
    build.add_metric(
        (), {"version": __version__, "python": platform.python_version(), "tensorflow": tensorflow_version()}
    )
    yield build
    yield _gauge(table.UPTIME, [((), view.uptime_s)])
    yield _gauge(table.MEMORY_RSS, [((), view.memory.rss)])
    yield _gauge(table.MEMORY_HEAP_TOTAL, [((), view.memory.heap_total)])
    yield _gauge(table.MEMORY_HEAP_USED, [((), view.memory.heap_used)])
    yield _gauge(table.MEMORY_WEIGHTS, [((), totals.weights_bytes)])
    yield _counter(table.SERVER_REQUESTS, [((), totals.requests)])
    yield _counter(table.SERVER_ERRORS, [((code.value,), totals.errors[code]) for code in ErrorCode])
    inference = SummaryMetricFamily(
        table.SERVER_INFERENCE.name, table.SERVER_INFERENCE.help, labels=(), unit=table.SERVER_INFERENCE.unit
    )
    inference.add_metric((), totals.inference.count, totals.inference.sum)
    yield inference
    yield _counter(table.LOADS, [((outcome,), count) for outcome, count in view.loads.items()])
    yield _counter(table.REQUEST_LOG_RECORDS, list(view.serving_calls.logged.items()))
    yield _gauge(table.MODEL_VERSIONS, [((state,), count) for state, count in view.states.items()])
    yield _gauge(table.WORKERS, [((), view.workers.count)])
    yield _gauge(table.WORKERS_READY, [((), view.workers.ready)])
    yield _counter(table.WORKER_RESTARTS, [((), view.workers.restarts)])


def _version_families(view: ServerView) -> Iterator[Family]:
    versions = [((metrics.model, metrics.version), metrics) for metrics in view.versions]
    counted = [*versions, ((view.unattributed.model, view.unattributed.version), view.unattributed)]
    yield _counter(table.REQUESTS, [(labels, metrics.requests) for labels, metrics in counted])
    yield _counter(
        table.ERRORS,
        [((*labels, code.value), metrics.errors[code]) for labels, metrics in counted for code in ErrorCode],
    )
    yield _histogram(table.REQUEST_DURATION, [(labels, metrics.total) for labels, metrics in versions])
    yield _histogram(
        table.STAGE_DURATION,
        [((*labels, stage), getattr(metrics, stage)) for labels, metrics in versions for stage in STAGES],
    )
    yield _histogram(table.EXECUTION_DURATION, [(labels, metrics.execution) for labels, metrics in versions])
    yield _histogram(table.BATCH_ROWS, [(labels, metrics.batch_rows) for labels, metrics in versions])
    yield _counter(
        table.BATCHES,
        [
            ((*labels, reason), count)
            for labels, metrics in versions
            for reason, count in list(metrics.batches_closed.items())
        ],
    )
    yield _counter(table.LATE_REQUESTS, [(labels, metrics.late) for labels, metrics in versions])
    for metric, read in _VERSION_GAUGES.items():
        yield _gauge(metric, [(labels, read(metrics)) for labels, metrics in versions])


def _counter(metric: table.Metric, rows: _Rows) -> Family:
    family = CounterMetricFamily(metric.name, metric.help, labels=metric.labels, unit=metric.unit)
    for labels, value in rows:
        family.add_metric(labels, value)
    return family


def _gauge(metric: table.Metric, rows: _Rows) -> Family:
    family = GaugeMetricFamily(metric.name, metric.help, labels=metric.labels, unit=metric.unit)
    for labels, value in rows:
        family.add_metric(labels, value)
    return family


def _histogram(metric: table.Metric, rows: _HistogramRows) -> Family:
    family = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels, unit=metric.unit)
    for labels, histogram in rows:
        family.add_metric(labels, _buckets(histogram), histogram.sum)
    return family


def _buckets(histogram: Histogram) -> Sequence[tuple[str, float]]:
    bounds = [*map(str, histogram.bounds), "+Inf"]
    return list(zip(bounds, histogram.cumulative(), strict=True))


@cache
def tensorflow_version() -> str:
    """Version of the installed TensorFlow, read from its package metadata; ``none`` without one."""
    for package in _TENSORFLOW_PACKAGES:
        try:
            return metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return "none"
