"""What is measured about one version of one model.

Plain counters, written by the event loop's thread only and read by any. Nothing here formats, exports or forgets:
that is the collector's work.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass

from tensorhost.core.errors import ErrorCode
from tensorhost.core.requests import MergeTimes, Timings
from tensorhost.telemetry.histograms import ROWS_BOUNDS, SECONDS_BOUNDS, Histogram

STAGES = ("queue", "preprocessing", "inference", "postprocessing")
"""The stages of a request, in the order of the metrics; also the names of their histograms."""

_DURATIONS = ("total", *STAGES, "execution")

MOST_CALL_SIZES = 1024
"""How many different numbers of rows calls are counted by; a signature that is not batched may be sent any."""


@dataclass(slots=True)
class CallsOfSize:
    """Model calls of one number of rows: how many, their seconds, and those of them for merging inputs and splitting
    outputs."""

    count: int = 0
    seconds: float = 0.0
    merge_s: float = 0.0
    split_s: float = 0.0

    @property
    def model_s(self) -> float:
        """Seconds of the calls in the model itself."""
        return max(self.seconds - self.merge_s - self.split_s, 0.0)


class VersionMetrics:
    """Counters of one version. Everything is public; the engine and the manager write, the collector reads.

    Attributes:
        requests: finished requests, good and bad. The engine adds one when a request ends; the ``record_`` methods
            do not touch it.
        errors: failed requests by code; every code is present.
        failed_s: seconds that failed requests spent in the engine; those refused at once took none.
        answered_rows: rows of successful requests.
        in_flight: requests in the engine now; the engine adds and subtracts.
        total, queue, preprocessing, inference, postprocessing: seconds per successful request.
        merge_s, split_s: seconds of ``inference`` in which inputs were merged and outputs split.
        execution: seconds per model call.
        batch_rows: rows per model call.
        calls_by_rows: calls of exactly so many rows, and their seconds, for the first ``MOST_CALL_SIZES`` different
            numbers of rows.
        last_call_at: when the last call ended, in seconds since the epoch; 0 before the first.
        batches_closed: model calls by why their batch closed.
        queue_rows: rows waiting now, or a function that says so, called from whichever thread reads the metrics.
        waiting_requests: requests waiting for a model call now, or a function that says so.
        queue_limit_rows: most rows that may wait for one signature.
        batch_limit_rows: most rows that a call takes now, or a function that says so.
        late: requests answered after the latency goal.
        load_s, warmup_s: seconds that loading and warming took.
        weights_bytes, memory_bytes: bytes of the parameters; bytes the loaded version takes in all.
    """

    __slots__ = (
        "answered_rows",
        "batch_limit_rows",
        "batch_rows",
        "batches_closed",
        "calls_by_rows",
        "errors",
        "execution",
        "failed_s",
        "in_flight",
        "inference",
        "last_call_at",
        "late",
        "load_s",
        "memory_bytes",
        "merge_s",
        "model",
        "postprocessing",
        "preprocessing",
        "queue",
        "queue_limit_rows",
        "queue_rows",
        "requests",
        "split_s",
        "total",
        "version",
        "waiting_requests",
        "warmup_s",
        "weights_bytes",
    )

    def __init__(self, model: str, version: str) -> None:
        self.model = model
        self.version = version
        self.requests = 0
        self.errors: dict[ErrorCode, int] = dict.fromkeys(ErrorCode, 0)
        self.failed_s = 0.0
        self.answered_rows = 0
        self.in_flight = 0
        self.total = Histogram()
        self.queue = Histogram()
        self.preprocessing = Histogram()
        self.inference = Histogram()
        self.postprocessing = Histogram()
        self.merge_s = 0.0
        self.split_s = 0.0
        self.execution = Histogram()
        self.batch_rows = Histogram(ROWS_BOUNDS)
        self.calls_by_rows: dict[int, CallsOfSize] = {}
        self.last_call_at = 0.0
        self.batches_closed: dict[str, int] = {}
        self.queue_rows: Callable[[], int] | int = 0
        self.waiting_requests: Callable[[], int] | int = 0
        self.queue_limit_rows = 0
        self.batch_limit_rows: Callable[[], int] | int = 0
        self.late = 0
        self.load_s = 0.0
        self.warmup_s = 0.0
        self.weights_bytes = 0
        self.memory_bytes = 0

    def record_request(self, timings: Timings, total_s: float) -> None:
        """Add a successful request's durations, in seconds, to the five latency histograms.

        Written out instead of calling ``observe`` five times: this runs for every request.
        """
        histogram = self.total
        histogram.counts[bisect_left(SECONDS_BOUNDS, total_s)] += 1
        histogram.sum += total_s
        histogram = self.queue
        histogram.counts[bisect_left(SECONDS_BOUNDS, value := timings.queue_s)] += 1
        histogram.sum += value
        histogram = self.preprocessing
        histogram.counts[bisect_left(SECONDS_BOUNDS, value := timings.preprocessing_s)] += 1
        histogram.sum += value
        histogram = self.inference
        histogram.counts[bisect_left(SECONDS_BOUNDS, value := timings.inference_s)] += 1
        histogram.sum += value
        histogram = self.postprocessing
        histogram.counts[bisect_left(SECONDS_BOUNDS, value := timings.postprocessing_s)] += 1
        histogram.sum += value
        merging = timings.merging
        if merging is not None:
            self.merge_s += merging.merge_s
            self.split_s += merging.split_s

    def record_error(self, code: ErrorCode, seconds: float = 0.0) -> None:
        """Count one failed request, and how long it was in the engine."""
        self.errors[code] += 1
        self.failed_s += seconds

    def record_batch(self, rows: int, reason: str, execution_s: float, merging: MergeTimes | None = None) -> None:
        """Count one model call of ``rows`` rows that took ``execution_s`` seconds, ``merging`` among them. Written out,
        as above.

        ``reason`` says why the batch closed and becomes a label: a word of the batching room, never of a client.
        """
        histogram = self.batch_rows
        histogram.counts[bisect_left(ROWS_BOUNDS, rows)] += 1
        histogram.sum += rows
        histogram = self.execution
        histogram.counts[bisect_left(SECONDS_BOUNDS, execution_s)] += 1
        histogram.sum += execution_s
        calls = self.calls_by_rows.get(rows)
        if calls is not None or (calls := self._calls_of(rows)) is not None:
            calls.count += 1
            calls.seconds += execution_s
            if merging is not None:
                calls.merge_s += merging.merge_s
                calls.split_s += merging.split_s
        self.last_call_at = time.time()
        self.batches_closed[reason] = self.batches_closed.get(reason, 0) + 1

    def record_late(self, count: int) -> None:
        """Count requests answered after the latency goal."""
        self.late += count

    @property
    def error_count(self) -> int:
        """Failed requests of every code."""
        return sum(self.errors.values())

    @property
    def compute_input_s(self) -> float:
        """Seconds in which inputs of successful requests were made into what the model takes."""
        return self.preprocessing.sum + self.merge_s

    @property
    def compute_infer_s(self) -> float:
        """Seconds that successful requests spent in the model itself; of a call that several share, each has all."""
        return max(self.inference.sum - self.merge_s - self.split_s, 0.0)

    @property
    def compute_output_s(self) -> float:
        """Seconds in which what the model returned was made into outputs of successful requests."""
        return self.split_s + self.postprocessing.sum

    @property
    def queued_rows(self) -> int:
        """Rows waiting now."""
        return self.queue_rows() if callable(self.queue_rows) else self.queue_rows

    @property
    def pending_requests(self) -> int:
        """Requests waiting for a model call now."""
        return self.waiting_requests() if callable(self.waiting_requests) else self.waiting_requests

    @property
    def most_batch_rows(self) -> int:
        """Most rows that a call takes now."""
        return self.batch_limit_rows() if callable(self.batch_limit_rows) else self.batch_limit_rows

    def clear_gauges(self) -> None:
        """Set what describes the present to zero: the version is no longer loaded."""
        self.queue_rows = 0
        self.waiting_requests = 0
        self.queue_limit_rows = 0
        self.batch_limit_rows = 0
        self.weights_bytes = 0
        self.memory_bytes = 0

    def absorb(self, other: VersionMetrics) -> None:
        """Add another version's counters; what describes the present is left alone."""
        self.requests += other.requests
        self.failed_s += other.failed_s
        self.answered_rows += other.answered_rows
        self.merge_s += other.merge_s
        self.split_s += other.split_s
        self.last_call_at = max(self.last_call_at, other.last_call_at)
        self.late += other.late
        for rows, more in list(other.calls_by_rows.items()):
            calls = self.calls_by_rows.get(rows) or self._calls_of(rows)
            if calls is not None:
                calls.count += more.count
                calls.seconds += more.seconds
                calls.merge_s += more.merge_s
                calls.split_s += more.split_s
        for code, count in other.errors.items():
            self.errors[code] += count
        for name in (*_DURATIONS, "batch_rows"):
            getattr(self, name).absorb(getattr(other, name))
        for reason, count in list(other.batches_closed.items()):
            self.batches_closed[reason] = self.batches_closed.get(reason, 0) + count

    def _calls_of(self, rows: int) -> CallsOfSize | None:
        if len(self.calls_by_rows) >= MOST_CALL_SIZES:
            return None
        calls = self.calls_by_rows[rows] = CallsOfSize()
        return calls

    def absorb_gauges(self, other: VersionMetrics) -> None:
        """Add another version's present state, for a row that stands for several versions."""
        self.in_flight += other.in_flight
        self.queue_rows = self.queued_rows + other.queued_rows
        self.waiting_requests = self.pending_requests + other.pending_requests
        self.queue_limit_rows += other.queue_limit_rows
        self.batch_limit_rows = max(self.most_batch_rows, other.most_batch_rows)
        self.load_s += other.load_s
        self.warmup_s += other.warmup_s
        self.weights_bytes += other.weights_bytes
        self.memory_bytes += other.memory_bytes
