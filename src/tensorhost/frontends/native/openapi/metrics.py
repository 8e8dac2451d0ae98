"""Schemas of the metrics' JSON form, as ``telemetry.snapshot`` writes it."""

from __future__ import annotations

from tensorhost.batching import CloseReason
from tensorhost.core.errors import ErrorCode
from tensorhost.frontends.native.openapi.schemas import (
    COUNT,
    NUMBER,
    Schema,
    answered,
    described,
    mapping,
    one_of,
    ref,
)
from tensorhost.models.states import VersionState
from tensorhost.telemetry.versions import STAGES

_ERRORS = described(mapping(COUNT, one_of(ErrorCode)), "Failed requests by code; codes that were not seen are absent.")
_BYTES = described(COUNT, "Bytes.")

_VERSION: dict[str, Schema] = {
    "requestCount": COUNT,
    "errorCount": COUNT,
    "errors": _ERRORS,
    "inFlight": COUNT,
    "queueRows": COUNT,
    "queueLimitRows": COUNT,
    "batchLimitRows": COUNT,
    "lateRequests": COUNT,
    "latency": answered({stage: ref("Latency") for stage in ("total", *STAGES, "execution")}),
    "batches": answered(
        {
            "count": COUNT,
            "averageRows": NUMBER,
            "p50Rows": NUMBER,
            "p95Rows": NUMBER,
            "p99Rows": NUMBER,
            "byRows": described(mapping(COUNT), "Model calls by their rows; `more` for those above the last bucket."),
            "closed": described(mapping(COUNT, one_of(CloseReason)), "Model calls by why their batch closed."),
        }
    ),
    "loadTimeMs": NUMBER,
    "warmupTimeMs": NUMBER,
    "weightsBytes": _BYTES,
    "memoryBytes": _BYTES,
}

_METRICS: dict[str, Schema] = {
    "requestCount": COUNT,
    "averageInferenceTimeMs": NUMBER,
    "errorCount": COUNT,
    "errorRate": described(NUMBER, "0 to 1."),
    "uptime": described(NUMBER, "Seconds."),
    "memoryUsage": answered(
        {
            "rss": _BYTES,
            "heapTotal": described(COUNT, "Bytes the C allocator holds from the system."),
            "heapUsed": described(COUNT, "Bytes the C allocator has handed out."),
            "external": described(COUNT, "Bytes of the loaded models' weights."),
        }
    ),
    "errors": _ERRORS,
    "unattributedErrors": _ERRORS,
    "inFlight": COUNT,
    "loads": described(mapping(COUNT), "Attempts at loading a version, by outcome."),
    "modelsByState": described(mapping(COUNT, one_of(VersionState)), "How many versions are in each state."),
    "workers": answered({"count": COUNT, "ready": COUNT, "restarts": COUNT}),
    "models": described(mapping(mapping(ref("VersionMetrics"))), "By model, then by version."),
}

SCHEMAS: dict[str, Schema] = {
    "Metrics": answered(_METRICS),
    "VersionMetrics": answered(_VERSION),
    "Latency": described(
        answered({"count": COUNT, "averageMs": NUMBER, "p50Ms": NUMBER, "p95Ms": NUMBER, "p99Ms": NUMBER}),
        "Milliseconds of one stage.",
    ),
}
