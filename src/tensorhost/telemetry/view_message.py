"""One process's metrics on their way to another: plain values, checked where they arrive.

It carries numbers and decides nothing. What must stay true: reading what was written gives the same metrics.
"""

from __future__ import annotations

from dataclasses import asdict, astuple
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tensorhost.core.errors import ErrorCode
from tensorhost.telemetry.histograms import ROWS_BOUNDS, SECONDS_BOUNDS, Histogram
from tensorhost.telemetry.memory import MemoryUsage
from tensorhost.telemetry.recent_errors import MAX_ERRORS, RecentError
from tensorhost.telemetry.server_view import ServerView, Workers
from tensorhost.telemetry.serving_calls import EXAMPLES_BOUNDS, MAX_MODELS, MICROSECONDS_BOUNDS, ServingCalls
from tensorhost.telemetry.versions import MOST_CALL_SIZES, STAGES, CallsOfSize, VersionMetrics

_HISTOGRAMS = {**dict.fromkeys(("total", *STAGES, "execution"), SECONDS_BOUNDS), "batch_rows": ROWS_BOUNDS}
_MAX_VERSIONS = 100_000
_MAX_WORDS = 1_000
_MAX_SERVING_CALLS = 32 * MAX_MODELS

_Count = Annotated[int, Field(ge=0)]
_Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
_Name = Annotated[str, Field(max_length=1024)]


class _Plain(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _HistogramMessage(_Plain):
    counts: tuple[_Count, ...] = Field(max_length=64)
    sum: _Amount


class _VersionMessage(_Plain):
    model: _Name
    version: _Name
    requests: _Count
    errors: dict[ErrorCode, _Count]
    failed_s: _Amount
    answered_rows: _Count
    merge_s: _Amount
    split_s: _Amount
    calls_by_rows: dict[_Count, tuple[_Count, _Amount, _Amount, _Amount]] = Field(max_length=MOST_CALL_SIZES)
    last_call_at: _Amount
    in_flight: int
    queue_rows: _Count
    waiting_requests: _Count
    queue_limit_rows: _Count
    batch_limit_rows: _Count
    late: _Count
    load_s: _Amount
    warmup_s: _Amount
    weights_bytes: _Count
    memory_bytes: _Count
    batches_closed: dict[_Name, _Count] = Field(max_length=_MAX_WORDS)
    histograms: dict[str, _HistogramMessage]

    @model_validator(mode="after")
    def _buckets_are_ours(self) -> Self:
        sizes = {name: len(histogram.counts) for name, histogram in self.histograms.items()}
        if sizes != {name: len(bounds) + 1 for name, bounds in _HISTOGRAMS.items()}:
            raise ValueError("histograms or buckets that are not known here")
        return self

    @classmethod
    def of(cls, metrics: VersionMetrics) -> Self:
        return cls(
            model=metrics.model,
            version=metrics.version,
            requests=metrics.requests,
            errors={code: count for code, count in metrics.errors.items() if count},
            failed_s=metrics.failed_s,
            answered_rows=metrics.answered_rows,
            merge_s=metrics.merge_s,
            split_s=metrics.split_s,
            calls_by_rows={rows: astuple(calls) for rows, calls in list(metrics.calls_by_rows.items())},
            last_call_at=metrics.last_call_at,
            in_flight=metrics.in_flight,
            queue_rows=metrics.queued_rows,
            waiting_requests=metrics.pending_requests,
            queue_limit_rows=metrics.queue_limit_rows,
            batch_limit_rows=metrics.most_batch_rows,
            late=metrics.late,
            load_s=metrics.load_s,
            warmup_s=metrics.warmup_s,
            weights_bytes=metrics.weights_bytes,
            memory_bytes=metrics.memory_bytes,
            batches_closed=dict(metrics.batches_closed),
            histograms={name: _histogram_message(getattr(metrics, name)) for name in _HISTOGRAMS},
        )

    def metrics(self) -> VersionMetrics:
        metrics = VersionMetrics(self.model, self.version)
        metrics.requests = self.requests
        metrics.errors.update(self.errors)
        metrics.failed_s, metrics.answered_rows = self.failed_s, self.answered_rows
        metrics.merge_s, metrics.split_s = self.merge_s, self.split_s
        metrics.calls_by_rows = {rows: CallsOfSize(*calls) for rows, calls in self.calls_by_rows.items()}
        metrics.last_call_at = self.last_call_at
        metrics.in_flight = self.in_flight
        metrics.queue_rows, metrics.batch_limit_rows = self.queue_rows, self.batch_limit_rows
        metrics.waiting_requests, metrics.queue_limit_rows = self.waiting_requests, self.queue_limit_rows
        metrics.late = self.late
        metrics.load_s, metrics.warmup_s = self.load_s, self.warmup_s
        metrics.weights_bytes, metrics.memory_bytes = self.weights_bytes, self.memory_bytes
        metrics.batches_closed = dict(self.batches_closed)
        for name, bounds in _HISTOGRAMS.items():
            setattr(metrics, name, _histogram(self.histograms[name], bounds))
        return metrics


class ErrorMessage(_Plain):
    """A ``RecentError`` that can be sent."""

    at: _Amount
    request_id: _Name
    method: _Name
    path: _Name
    status: _Count
    code: _Name
    message: _Name
    model: _Name | None
    version: _Name | None

    @classmethod
    def of(cls, error: RecentError) -> Self:
        """The message about ``error``."""
        return cls(**asdict(error))

    def error(self) -> RecentError:
        """The error that was sent."""
        return RecentError(**self.model_dump())


class _WorkersMessage(_Plain):
    count: _Count
    ready: _Count
    restarts: _Count
    pids: tuple[_Count, ...] = Field(max_length=4096)


class _ServingCallsMessage(_Plain):
    requests: tuple[tuple[_Name, _Name, _Count], ...] = Field(max_length=_MAX_SERVING_CALLS)
    latency: tuple[tuple[_Name, _Name, _Name, _HistogramMessage], ...] = Field(max_length=_MAX_SERVING_CALLS)
    runtime: tuple[tuple[_Name, _Name, _HistogramMessage], ...] = Field(max_length=_MAX_SERVING_CALLS)
    examples: tuple[tuple[_Name, _HistogramMessage], ...] = Field(max_length=_MAX_SERVING_CALLS)
    logged: tuple[tuple[_Name, _Name, _Count], ...] = Field(max_length=_MAX_SERVING_CALLS)

    @model_validator(mode="after")
    def _buckets_are_ours(self) -> Self:
        durations = [*(row[3] for row in self.latency), *(row[2] for row in self.runtime)]
        if any(len(histogram.counts) != len(MICROSECONDS_BOUNDS) + 1 for histogram in durations) or any(
            len(histogram.counts) != len(EXAMPLES_BOUNDS) + 1 for _, histogram in self.examples
        ):
            raise ValueError("buckets that are not known here")
        return self

    @classmethod
    def of(cls, calls: ServingCalls) -> Self:
        return cls(
            requests=tuple((*key, count) for key, count in calls.requests.items()),
            latency=tuple((*key, _histogram_message(each)) for key, each in calls.latency.items()),
            runtime=tuple((*key, _histogram_message(each)) for key, each in calls.runtime.items()),
            examples=tuple((model, _histogram_message(each)) for model, each in calls.examples.items()),
            logged=tuple((*key, count) for key, count in calls.logged.items()),
        )

    def calls(self) -> ServingCalls:
        calls = ServingCalls()
        calls.requests = {(model, status): count for model, status, count in self.requests}
        calls.latency = {
            (model, api, entrypoint): _histogram(each, MICROSECONDS_BOUNDS)
            for model, api, entrypoint, each in self.latency
        }
        calls.runtime = {(model, api): _histogram(each, MICROSECONDS_BOUNDS) for model, api, each in self.runtime}
        calls.examples = {model: _histogram(each, EXAMPLES_BOUNDS) for model, each in self.examples}
        calls.logged = {(model, outcome): count for model, outcome, count in self.logged}
        return calls


class ViewMessage(_Plain):
    """A ``ServerView`` that can be sent."""

    versions: tuple[_VersionMessage, ...] = Field(max_length=_MAX_VERSIONS)
    unattributed: _VersionMessage
    totals: _VersionMessage
    uptime_s: _Amount
    memory: tuple[_Count, _Count, _Count]
    loads: dict[_Name, _Count] = Field(max_length=_MAX_WORDS)
    states: dict[_Name, _Count] = Field(max_length=_MAX_WORDS)
    workers: _WorkersMessage
    recent_errors: tuple[ErrorMessage, ...] = Field(max_length=MAX_ERRORS)
    serving_calls: _ServingCallsMessage

    @classmethod
    def of(cls, view: ServerView) -> Self:
        """The message about ``view``."""
        workers: dict[str, Any] = {name: getattr(view.workers, name) for name in ("count", "ready", "restarts", "pids")}
        return cls(
            versions=tuple(map(_VersionMessage.of, view.versions)),
            unattributed=_VersionMessage.of(view.unattributed),
            totals=_VersionMessage.of(view.totals),
            uptime_s=view.uptime_s,
            memory=tuple(view.memory),
            loads=dict(view.loads),
            states=dict(view.states),
            workers=_WorkersMessage(**workers),
            recent_errors=tuple(map(ErrorMessage.of, view.recent_errors)),
            serving_calls=_ServingCallsMessage.of(view.serving_calls),
        )

    def view(self) -> ServerView:
        """The view that was sent."""
        return ServerView(
            versions=[each.metrics() for each in self.versions],
            unattributed=self.unattributed.metrics(),
            totals=self.totals.metrics(),
            uptime_s=self.uptime_s,
            memory=MemoryUsage(*self.memory),
            loads=self.loads,
            states=self.states,
            workers=Workers(**self.workers.model_dump()),
            recent_errors=tuple(each.error() for each in self.recent_errors),
            serving_calls=self.serving_calls.calls(),
        )


def _histogram_message(histogram: Histogram) -> _HistogramMessage:
    return _HistogramMessage(counts=tuple(histogram.counts), sum=histogram.sum)


def _histogram(message: _HistogramMessage, bounds: tuple[float, ...]) -> Histogram:
    histogram = Histogram(bounds)
    histogram.counts = list(message.counts)
    histogram.sum = message.sum
    return histogram
