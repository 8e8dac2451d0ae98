"""The metrics under TensorFlow Serving's names, with ours behind them, in Prometheus' text form.

What TensorFlow Serving counts per call is counted here the same way; what it says of batches and loads is taken from
our own counters of all versions, whoever called. Times are microseconds, as their dashboards expect. What must stay
true: no string of a client becomes a label.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from tensorhost.telemetry import exposition
from tensorhost.telemetry.histograms import Histogram
from tensorhost.telemetry.server_view import ServerView

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"

_SERVING = ":tensorflow:serving:"
_BATCHING = f"{_SERVING}batching_session:"
_SAVED_MODEL = ":tensorflow:cc:saved_model:"
_RUNTIME = "TF1"
_LOG_STATUSES = {"written": "OK", "dropped": "RESOURCE_EXHAUSTED", "failed": "UNKNOWN"}
_LOAD_STATUSES = {"succeeded": "success", "failed": "fail"}
_MICROSECONDS = 1e6

_Labels = Sequence[tuple[str, str]]


def render(view: ServerView) -> bytes:
    """Every metric of ``view``; takes milliseconds where there are a thousand versions."""
    lines = [*_calls(view), *_batches(view), *_loads(view)]
    ours, _ = exposition.render(view, None)
    return "\n".join(lines).encode() + b"\n" + ours


def counters(view: ServerView) -> dict[str, int]:
    """The counters under TensorFlow Serving's names, the rows of each added up."""
    found: Counter[str] = Counter()
    counter = ""
    for line in (*_calls(view), *_batches(view), *_loads(view)):
        if line.startswith("#"):
            _, _, name, kind = line.split(" ")
            counter = name if kind == "counter" else ""
        elif counter:
            found[counter] += int(line.rsplit(" ", 1)[1])
    return found


def _calls(view: ServerView) -> Iterator[str]:
    calls = view.serving_calls
    yield from _counter(
        f"{_SERVING}request_count",
        [((("model_name", model), ("status", status)), count) for (model, status), count in calls.requests.items()],
    )
    yield from _counter(
        f"{_SERVING}request_log_count",
        [
            ((("model_name", model), ("status_code", _LOG_STATUSES.get(outcome, outcome))), count)
            for (model, outcome), count in calls.logged.items()
        ],
    )
    yield from _histogram(
        f"{_SERVING}request_latency",
        [
            ((("model_name", model), ("API", api), ("entrypoint", entrypoint)), histogram)
            for (model, api, entrypoint), histogram in calls.latency.items()
        ],
    )
    yield from _histogram(
        f"{_SERVING}runtime_latency",
        [
            ((("model_name", model), ("API", api), ("runtime", _RUNTIME)), histogram)
            for (model, api), histogram in calls.runtime.items()
        ],
    )
    yield from _histogram(
        f"{_SERVING}request_example_counts",
        [((("model", model),), histogram) for model, histogram in calls.examples.items()],
    )
    yield from _counter(
        f"{_SERVING}request_example_count_total",
        [((("model", model),), int(histogram.sum)) for model, histogram in calls.examples.items()],
    )


def _batches(view: ServerView) -> Iterator[str]:
    totals = view.totals
    yield from _histogram(f"{_BATCHING}queuing_latency", [((("thread_pool_name", ""),), totals.queue)], _MICROSECONDS)
    yield from _counter(f"{_BATCHING}wrapped_run_count", [((), totals.execution.count)])
    yield from _histogram(f"{_BATCHING}processed_batch_size", [((), totals.batch_rows)])


def _loads(view: ServerView) -> Iterator[str]:
    """Attempts at all models together: the path of one, which TensorFlow Serving's label has, is nobody's business."""
    yield from _counter(
        f"{_SAVED_MODEL}load_attempt_count",
        [
            ((("model_path", ""), ("status", _LOAD_STATUSES.get(outcome, outcome))), count)
            for outcome, count in view.loads.items()
        ],
    )
    yield from _counter(
        f"{_SAVED_MODEL}load_latency",
        [
            ((("model_path", f"{each.model}/{each.version}"),), round(each.load_s * _MICROSECONDS))
            for each in view.versions
            if each.load_s
        ],
    )


def _counter(name: str, rows: Iterable[tuple[_Labels, int]]) -> Iterator[str]:
    yield f"# TYPE {name} counter"
    for labels, count in rows:
        yield f"{name}{_braces(labels)} {count}"


def _histogram(name: str, rows: Iterable[tuple[_Labels, Histogram]], unit: float = 1.0) -> Iterator[str]:
    yield f"# TYPE {name} histogram"
    for labels, histogram in rows:
        bounds = [*(f"{bound * unit:g}" for bound in histogram.bounds), "+Inf"]
        cumulative = histogram.cumulative()
        for bound, count in zip(bounds, cumulative, strict=True):
            yield f"{name}_bucket{_braces((*labels, ('le', bound)))} {count}"
        yield f"{name}_sum{_braces(labels)} {histogram.sum * unit:.12g}"
        yield f"{name}_count{_braces(labels)} {cumulative[-1]}"


def _braces(labels: _Labels) -> str:
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
