"""Figures of one load, JSON-ready: what ``--json`` prints and the tables are made from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tensorhost.bench.latencies import Latencies
from tensorhost.bench.plan import Load
from tensorhost.bench.tally import Tally

PERCENTILES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p999": 0.999}
_BARS = 16


def report(load: Load, tally: Tally, *, rows: int, interrupted: bool) -> dict[str, Any]:
    """Rates, latencies in milliseconds, errors by code, batches, and what the generator itself did.

    Args:
        load: what was asked for.
        tally: what came of it.
        rows: of each request.
        interrupted: whether the user ended it.
    """
    finished = tally.answered + tally.failed
    return {
        "concurrency": load.concurrency,
        "rate": load.rate,
        "requests": tally.answered,
        "failed": tally.failed,
        "errors": dict(tally.errors.most_common()),
        "unanswered": tally.unanswered,
        "elapsedS": round(tally.elapsed_s, 3),
        "requestsPerS": round(tally.requests_per_s, 2),
        "rowsPerS": round(tally.requests_per_s * rows, 2),
        "latencyMs": latency_ms(tally.latencies),
        "histogram": [{"upToMs": _ms(bound), "requests": count} for bound, count in tally.latencies.bars(_BARS)],
        "batches": batches(tally.batch_rows, tally.rows),
        "generator": {
            "cpuCores": round(tally.cpu_s / tally.elapsed_s, 3) if tally.elapsed_s else 0.0,
            "cpuUsPerRequest": round(tally.cpu_s / finished * 1e6, 1) if finished else None,
            "latenessMs": latency_ms(tally.lateness) if load.rate is not None else None,
            "waitedForConnection": tally.waited if load.rate is not None else None,
            "unsent": tally.unsent if load.rate is not None else None,
        },
        "serverGone": tally.gone,
        "interrupted": interrupted,
    }


def latency_ms(latencies: Latencies) -> dict[str, float | None]:
    """Mean, percentiles and extremes in milliseconds; None throughout where nothing was observed."""
    if not latencies.count:
        return dict.fromkeys(("mean", "min", *PERCENTILES, "max"))
    return {
        "mean": _ms(latencies.mean_s),
        "min": _ms(latencies.lowest_s),
        **{name: _ms(latencies.quantile(fraction)) for name, fraction in PERCENTILES.items()},
        "max": _ms(latencies.highest_s),
    }


def batches(calls_by_rows: Mapping[str, int], rows: float) -> dict[str, Any] | None:
    """Model calls, their mean rows, and how many had at most so many rows; None where that is not known."""
    calls = sum(calls_by_rows.values())
    if not calls:
        return None
    return {"count": calls, "averageRows": round(rows / calls, 2), "byRows": dict(calls_by_rows)}


def batches_between(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> tuple[dict[str, int], float]:
    """Model calls by rows, and the rows in them, from the server's own counters (``batches`` in its metrics)."""
    if before is None or after is None:
        return {}, 0.0
    then, now = before.get("byRows", {}), after.get("byRows", {})
    counts = {rows: count - then.get(rows, 0) for rows, count in now.items() if count > then.get(rows, 0)}
    return counts, after["count"] * after["averageRows"] - before["count"] * before["averageRows"]


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 4)
