"""Where a request's time goes: marks between the rooms, set from outside, so that the server knows nothing of them.

One connection, one request at a time, so that every request passes the same marks in the same order. A mark costs time
itself; what two marks in a row show is taken off every stage. Medians, since the machine may do other things meanwhile.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.hot_path_server import Load, Transport
from tensorhost.batching.execution import Execution
from tensorhost.batching.queue import BatchQueue
from tensorhost.codecs import JsonObject
from tensorhost.frontends.http.exchange import Exchange
from tensorhost.frontends.native import predictions
from tensorhost.inference import InferenceEngine
from tensorhost.pipelines import PostprocessingPipeline, PreprocessingPipeline
from tensorhost.server.connections import Connection

STAGES = (
    "HTTP: parse, limits, scope",
    "start of the application's task",
    "route, headers, body",
    "JSON: parse and fields",
    "admission and lease",
    "JSON: shape proof and numbers",
    "preprocessing",
    "queue: enter and take",
    "queue: assemble",
    "model call",
    "queue: split, answer, wake",
    "postprocessing and metrics",
    "JSON: encode",
    "HTTP: head and write",
    "end of the exchange",
)
"""In the order in which a request passes them; the last ends where the next request's first begins."""


class Marks:
    """The instants at which one request after another entered each stage, in nanoseconds."""

    def __init__(self) -> None:
        self.instants: list[list[int]] = [[] for _ in STAGES]

    def before(self, stage: int, function: Callable[..., Any]) -> Callable[..., Any]:
        """``function``, with ``stage`` beginning where it is called."""
        append, now = self.instants[stage].append, time.perf_counter_ns

        def marked(*args: Any, **kwargs: Any) -> Any:
            append(now())
            return function(*args, **kwargs)

        return marked

    def after(self, stage: int, function: Callable[..., Any]) -> Callable[..., Any]:
        """``function``, with ``stage`` beginning where it returns."""
        append, now = self.instants[stage].append, time.perf_counter_ns

        def marked(*args: Any, **kwargs: Any) -> Any:
            result = function(*args, **kwargs)
            append(now())
            return result

        return marked

    def medians_us(self) -> dict[str, float]:
        """Microseconds in each stage, without what the mark itself takes."""
        cost_ns = _cost_of_a_mark_ns()
        medians = {}
        for index, name in enumerate(STAGES):
            begun = self.instants[index]
            ended = self.instants[index + 1] if index + 1 < len(STAGES) else self.instants[0][1:]
            spent = [end - start for start, end in zip(begun, ended, strict=False)]
            medians[name] = round(max(0.0, statistics.median(spent) - cost_ns) / 1000, 2)
        return medians


@contextmanager
def marked(load: Load) -> Iterator[Marks]:
    """Marks on the path of every request while the block runs."""
    marks = Marks()
    places: list[tuple[Any, str, int, int | None]] = [
        (Connection, "data_received", 0, 1),
        (Exchange, "__init__", 2, None),
        (JsonObject, "parse", 3, None),
        (InferenceEngine, "admit_at_once", 4, None),
        (predictions, "decode_inputs", 5, None),
        (PreprocessingPipeline, "passes", 6, None),
        (BatchQueue, "call", 7, None),
        (Execution, "run", 8, None),
        (load.queue._execution, "_run", 9, 10),
        (PostprocessingPipeline, "is_slow", 11, None),
        (predictions, "_answer", 12, None),
        (Exchange, "send", 13, None),
        (Transport, "write", 14, None),
    ]
    kept = [(owner, name, vars(owner).get(name)) for owner, name, _, _ in places]
    for owner, name, before, after in places:
        function = getattr(owner, name)
        if after is not None:
            function = marks.after(after, function)
        function = marks.before(before, function)
        setattr(owner, name, staticmethod(function) if owner is JsonObject else function)
    try:
        yield marks
    finally:
        for owner, name, original in kept:
            if original is None:
                delattr(owner, name)
            else:
                setattr(owner, name, original)


def _cost_of_a_mark_ns() -> float:
    marks = Marks()
    pair = marks.before(0, marks.before(1, lambda: None))
    for _ in range(1000):
        pair()
    first, second = marks.instants[:2]
    return statistics.median(end - start for start, end in zip(first, second, strict=True))
