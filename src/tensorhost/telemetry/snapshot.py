"""The metrics as JSON-ready objects. Key names are part of the API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tensorhost.core.errors import ErrorCode
from tensorhost.telemetry.histograms import Histogram
from tensorhost.telemetry.server_view import ServerView
from tensorhost.telemetry.versions import STAGES, VersionMetrics

_MS = 1000.0


def render(view: ServerView) -> dict[str, Any]:
    """The body of the JSON metrics; times in milliseconds, ``uptime`` in seconds, sizes in bytes."""
    totals = view.totals
    return {
        "requestCount": totals.requests,
        "averageInferenceTimeMs": totals.inference.mean * _MS,
        "errorCount": totals.error_count,
        "errorRate": totals.error_count / totals.requests if totals.requests else 0.0,
        "uptime": view.uptime_s,
        "memoryUsage": {
            "rss": view.memory.rss,
            "heapTotal": view.memory.heap_total,
            "heapUsed": view.memory.heap_used,
            "external": totals.weights_bytes,
        },
        "errors": _seen(totals.errors),
        "unattributedErrors": _seen(view.unattributed.errors),
        "inFlight": totals.in_flight,
        "loads": dict(view.loads),
        "modelsByState": dict(view.states),
        "workers": {
            "count": view.workers.count,
            "ready": view.workers.ready,
            "restarts": view.workers.restarts,
        },
        "models": _models(view),
    }


def _models(view: ServerView) -> dict[str, dict[str, Any]]:
    models: dict[str, dict[str, Any]] = {}
    for metrics in view.versions:
        models.setdefault(metrics.model, {})[metrics.version] = _version(metrics)
    return models


def _version(metrics: VersionMetrics) -> dict[str, Any]:
    return {
        "requestCount": metrics.requests,
        "errorCount": metrics.error_count,
        "errors": _seen(metrics.errors),
        "inFlight": metrics.in_flight,
        "queueRows": metrics.queued_rows,
        "queueLimitRows": metrics.queue_limit_rows,
        "batchLimitRows": metrics.most_batch_rows,
        "lateRequests": metrics.late,
        "latency": {stage: _latency(getattr(metrics, stage)) for stage in ("total", *STAGES, "execution")},
        "batches": {
            "count": metrics.batch_rows.count,
            "averageRows": metrics.batch_rows.mean,
            "p50Rows": metrics.batch_rows.quantile(0.5),
            "p95Rows": metrics.batch_rows.quantile(0.95),
            "p99Rows": metrics.batch_rows.quantile(0.99),
            "byRows": _by_rows(metrics.batch_rows),
            "closed": dict(metrics.batches_closed),
        },
        "loadTimeMs": metrics.load_s * _MS,
        "warmupTimeMs": metrics.warmup_s * _MS,
        "weightsBytes": metrics.weights_bytes,
        "memoryBytes": metrics.memory_bytes,
    }


def _latency(histogram: Histogram) -> dict[str, float]:
    return {
        "count": histogram.count,
        "averageMs": histogram.mean * _MS,
        "p50Ms": histogram.quantile(0.5) * _MS,
        "p95Ms": histogram.quantile(0.95) * _MS,
        "p99Ms": histogram.quantile(0.99) * _MS,
    }


def _by_rows(histogram: Histogram) -> dict[str, int]:
    """Model calls by the most rows of their bucket; ``more`` for those above the last. Empty buckets are left out."""
    names = [*(f"{bound:.0f}" for bound in histogram.bounds), "more"]
    return {name: count for name, count in zip(names, histogram.counts, strict=True) if count}


def _seen(errors: Mapping[ErrorCode, int]) -> dict[str, int]:
    return {code.value: count for code, count in errors.items() if count}
