"""The metrics of versions and of the machine under the names that Triton gives them, for dashboards made for it.

Durations are microseconds and only count up, as there. A counter whose name does not end in ``_total`` is none in
OpenMetrics, which has the type ``unknown`` for such.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from tensorhost.core.errors import ErrorCode
from tensorhost.telemetry.machine import Machine
from tensorhost.telemetry.server_view import ServerView
from tensorhost.telemetry.versions import VersionMetrics

FAILURE_REASONS: Mapping[ErrorCode, str] = {
    **dict.fromkeys(ErrorCode, "OTHER"),
    ErrorCode.OVERLOADED: "REJECTED",
    ErrorCode.SHUTTING_DOWN: "REJECTED",
    ErrorCode.DEADLINE_EXCEEDED: "REJECTED",
    ErrorCode.MODEL_NOT_READY: "REJECTED",
    ErrorCode.CANCELLED: "CANCELED",
    ErrorCode.MODEL_FAILED: "BACKEND",
    ErrorCode.OUT_OF_MEMORY: "BACKEND",
}
"""Why a request failed, in Triton's words; shed ones count as rejected, whatever had no room for them."""

_MICROSECONDS = 1e6
_END = b"# EOF\n"

_PENDING = "nv_inference_pending_request_count"
_FAILURES = "nv_inference_request_failure"
_COUNTERS: Mapping[str, Callable[[VersionMetrics], float]] = {
    "nv_inference_request_success": lambda each: each.total.count,
    "nv_inference_count": lambda each: each.answered_rows,
    "nv_inference_exec_count": lambda each: each.execution.count,
    "nv_inference_request_duration_us": lambda each: _microseconds(each.total.sum),
    "nv_inference_queue_duration_us": lambda each: _microseconds(each.queue.sum),
    "nv_inference_compute_input_duration_us": lambda each: _microseconds(each.compute_input_s),
    "nv_inference_compute_infer_duration_us": lambda each: _microseconds(each.compute_infer_s),
    "nv_inference_compute_output_duration_us": lambda each: _microseconds(each.compute_output_s),
}


def add_to(body: bytes, view: ServerView, machine: Machine) -> bytes:
    """The Prometheus text ``body``, in either of its forms, with what ``view`` and ``machine`` say behind it."""
    is_open = body.endswith(_END)
    kind = "unknown" if is_open else "counter"
    lines = "".join(f"{line}\n" for line in (*_of_versions(view, kind), *_of_the_machine(machine))).encode()
    return body.removesuffix(_END) + lines + (_END if is_open else b"")


def _of_versions(view: ServerView, kind: str) -> Iterator[str]:
    labelled = [(f'model="{_escaped(each.model)}",version="{_escaped(each.version)}"', each) for each in view.versions]
    for name, read in _COUNTERS.items():
        yield f"# TYPE {name} {kind}"
        for labels, each in labelled:
            yield f"{name}{{{labels}}} {read(each):.15g}"
    yield f"# TYPE {_FAILURES} {kind}"
    for labels, each in labelled:
        counts = dict.fromkeys(sorted(set(FAILURE_REASONS.values())), 0)
        for code, count in each.errors.items():
            counts[FAILURE_REASONS[code]] += count
        for reason, count in counts.items():
            yield f'{_FAILURES}{{{labels},reason="{reason}"}} {count}'
    yield f"# TYPE {_PENDING} gauge"
    for labels, each in labelled:
        yield f"{_PENDING}{{{labels}}} {each.pending_requests}"


def _of_the_machine(machine: Machine) -> Iterator[str]:
    total_bytes, used_bytes = machine.memory_bytes()
    for name, value in (
        ("nv_cpu_utilization", machine.cpu_utilization()),
        ("nv_cpu_memory_total_bytes", total_bytes),
        ("nv_cpu_memory_used_bytes", used_bytes),
    ):
        yield f"# TYPE {name} gauge"
        yield f"{name} {value:.15g}"


def _microseconds(seconds: float) -> int:
    return round(seconds * _MICROSECONDS)


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
