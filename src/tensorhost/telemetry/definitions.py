"""Every metric's name, kind, unit, labels and meaning, once. Exposition and documentation follow this table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["counter", "gauge", "histogram", "summary", "info"]

_VERSION = ("model", "version")


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric. ``unit`` is a base unit at the end of the name (before ``_total``), or empty for plain counts."""

    name: str
    kind: Kind
    unit: str
    labels: tuple[str, ...]
    help: str


BUILD = Metric(
    "tensorhost_build_info",
    "info",
    "",
    ("version", "python", "tensorflow"),
    "Versions of tensorhost, Python and TensorFlow (none when it is not installed); always 1.",
)
UPTIME = Metric("tensorhost_uptime_seconds", "gauge", "seconds", (), "Time since the metrics collector was made.")
MEMORY_RSS = Metric("tensorhost_memory_rss_bytes", "gauge", "bytes", (), "Resident memory of the process.")
MEMORY_HEAP_TOTAL = Metric(
    "tensorhost_memory_heap_total_bytes", "gauge", "bytes", (), "What the C allocator holds from the system."
)
MEMORY_HEAP_USED = Metric(
    "tensorhost_memory_heap_used_bytes", "gauge", "bytes", (), "What the C allocator has handed out."
)
MEMORY_WEIGHTS = Metric(
    "tensorhost_memory_weights_bytes", "gauge", "bytes", (), "Parameters of all loaded versions together."
)
SERVER_REQUESTS = Metric(
    "tensorhost_server_requests_total",
    "counter",
    "",
    (),
    "Finished inference requests since the start, good and bad, and other requests that failed.",
)
SERVER_ERRORS = Metric(
    "tensorhost_server_errors_total", "counter", "", ("code",), "Failed requests since the start, by code."
)
SERVER_INFERENCE = Metric(
    "tensorhost_server_inference_seconds",
    "summary",
    "seconds",
    (),
    "Inference time of successful requests since the start.",
)
REQUEST_LOG_RECORDS = Metric(
    "tensorhost_request_log_records_total",
    "counter",
    "",
    ("model", "outcome"),
    "Records of request logs: written, failed where the disk took none, dropped where too many waited for it.",
)
LOADS = Metric("tensorhost_loads_total", "counter", "", ("outcome",), "Attempts at loading a version, by outcome.")
MODEL_VERSIONS = Metric("tensorhost_model_versions", "gauge", "", ("state",), "Versions of models in each state.")
WORKERS = Metric("tensorhost_workers", "gauge", "", (), "Serving processes, as set.")
WORKERS_READY = Metric("tensorhost_workers_ready", "gauge", "", (), "Serving processes that are sent requests.")
WORKER_RESTARTS = Metric(
    "tensorhost_worker_restarts_total",
    "counter",
    "",
    (),
    "Serving processes that ended by themselves and were replaced.",
)
REQUESTS = Metric(
    "tensorhost_requests_total", "counter", "", _VERSION, "Finished inference requests of a version, good and bad."
)
ERRORS = Metric(
    "tensorhost_errors_total", "counter", "", (*_VERSION, "code"), "Failed inference requests of a version, by code."
)
IN_FLIGHT = Metric("tensorhost_requests_in_flight", "gauge", "", _VERSION, "Inference requests being worked on.")
REQUEST_DURATION = Metric(
    "tensorhost_request_duration_seconds",
    "histogram",
    "seconds",
    _VERSION,
    "Time of a successful request in the engine, all stages.",
)
STAGE_DURATION = Metric(
    "tensorhost_request_stage_duration_seconds",
    "histogram",
    "seconds",
    (*_VERSION, "stage"),
    "Time of a successful request in one stage: queue, preprocessing, inference, postprocessing.",
)
EXECUTION_DURATION = Metric(
    "tensorhost_execution_duration_seconds", "histogram", "seconds", _VERSION, "Time of one model call."
)
BATCH_ROWS = Metric("tensorhost_batch_rows", "histogram", "rows", _VERSION, "Rows in one model call.")
BATCHES = Metric(
    "tensorhost_batches_total", "counter", "", (*_VERSION, "reason"), "Model calls, by why their batch closed."
)
QUEUE_ROWS = Metric("tensorhost_queue_rows", "gauge", "rows", _VERSION, "Rows waiting for a model call.")
QUEUE_LIMIT = Metric(
    "tensorhost_queue_limit_rows",
    "gauge",
    "rows",
    _VERSION,
    "Most rows that may wait for one signature; requests beyond are refused.",
)
BATCH_LIMIT = Metric(
    "tensorhost_batch_limit_rows",
    "gauge",
    "rows",
    _VERSION,
    "Most rows that a call of the default signature takes now; a latency goal may lower it.",
)
LATE_REQUESTS = Metric(
    "tensorhost_late_requests_total",
    "counter",
    "",
    _VERSION,
    "Requests answered with outputs whose wait for a call and the call took longer than the latency goal.",
)
LOAD_DURATION = Metric("tensorhost_load_duration_seconds", "gauge", "seconds", _VERSION, "Time loading took.")
WARMUP_DURATION = Metric("tensorhost_warmup_duration_seconds", "gauge", "seconds", _VERSION, "Time warm-up took.")
MODEL_WEIGHTS = Metric("tensorhost_model_weights_bytes", "gauge", "bytes", _VERSION, "Parameters of a loaded version.")
MODEL_MEMORY = Metric(
    "tensorhost_model_memory_bytes", "gauge", "bytes", _VERSION, "Memory a loaded version takes in all."
)

METRICS: tuple[Metric, ...] = (
    BUILD,
    UPTIME,
    MEMORY_RSS,
    MEMORY_HEAP_TOTAL,
    MEMORY_HEAP_USED,
    MEMORY_WEIGHTS,
    SERVER_REQUESTS,
    SERVER_ERRORS,
    SERVER_INFERENCE,
    LOADS,
    REQUEST_LOG_RECORDS,
    MODEL_VERSIONS,
    WORKERS,
    WORKERS_READY,
    WORKER_RESTARTS,
    REQUESTS,
    ERRORS,
    IN_FLIGHT,
    REQUEST_DURATION,
    STAGE_DURATION,
    EXECUTION_DURATION,
    BATCH_ROWS,
    BATCHES,
    QUEUE_ROWS,
    QUEUE_LIMIT,
    BATCH_LIMIT,
    LATE_REQUESTS,
    LOAD_DURATION,
    WARMUP_DURATION,
    MODEL_WEIGHTS,
    MODEL_MEMORY,
)
"""In the order of the exposition."""
