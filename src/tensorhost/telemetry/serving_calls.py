"""What is counted of calls that come as TensorFlow Serving's clients make them, as its own metrics count it.

Plain counters beside those of a version, since they have other labels and other units: microseconds. Written by the
event loop's thread only and read by any. What must stay true: the number of models with counters of their own has a
limit, and no string of a client becomes a key.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from tensorhost.telemetry.histograms import Histogram

MICROSECONDS_BOUNDS: tuple[float, ...] = tuple(10 * 1.8**power for power in range(33))
"""Upper bounds of the latency histograms, in microseconds; TensorFlow Serving's."""

EXAMPLES_BOUNDS: tuple[float, ...] = tuple(float(2**power) for power in range(15))
"""Upper bounds of the histogram of examples in one request."""

MAX_MODELS = 1000
OTHER_MODELS = "_other"
"""Label of the models beyond that, together."""

_K = TypeVar("_K")


class ServingCalls:
    """Counters of one process.

    Attributes:
        requests: finished calls by model and canonical status.
        latency: microseconds of calls that went well, by model, API and entry point.
        runtime: microseconds in the model, of the same calls, by model and API.
        examples: examples in one request, by model.
        logged: records of request logs, by model and outcome: ``written``, ``dropped`` or ``failed``.
    """

    __slots__ = ("_models", "examples", "latency", "logged", "requests", "runtime")

    def __init__(self) -> None:
        self.requests: dict[tuple[str, str], int] = {}
        self.latency: dict[tuple[str, str, str], Histogram] = {}
        self.runtime: dict[tuple[str, str], Histogram] = {}
        self.examples: dict[str, Histogram] = {}
        self.logged: dict[tuple[str, str], int] = {}
        self._models: set[str] = set()

    def label_of(self, model: str) -> str:
        """The label under which ``model``, a name the server knows, is counted."""
        if model in self._models:
            return model
        if len(self._models) >= MAX_MODELS:
            return OTHER_MODELS
        self._models.add(model)
        return model

    def count(self, model: str, status: str) -> None:
        """Count a finished call; ``model`` is a label."""
        key = (model, status)
        self.requests[key] = self.requests.get(key, 0) + 1

    def observe_latency(self, model: str, api: str, entrypoint: str, microseconds: float) -> None:
        """Count how long a call that went well took in all."""
        _observe(self.latency, (model, api, entrypoint), MICROSECONDS_BOUNDS, microseconds)

    def observe_runtime(self, model: str, api: str, microseconds: float) -> None:
        """Count how long the model took for it."""
        _observe(self.runtime, (model, api), MICROSECONDS_BOUNDS, microseconds)

    def observe_examples(self, model: str, count: int) -> None:
        """Count a request's examples."""
        _observe(self.examples, model, EXAMPLES_BOUNDS, count)

    def count_logged(self, model: str, outcome: str, count: int) -> None:
        """Count records of a request log; ``model`` is a label."""
        key = (model, outcome)
        self.logged[key] = self.logged.get(key, 0) + count

    def absorb(self, other: ServingCalls) -> None:
        """Add another process's counters."""
        for counts, more in ((self.requests, other.requests), (self.logged, other.logged)):
            for key, count in list(more.items()):
                counts[key] = counts.get(key, 0) + count
        _absorb(self.latency, other.latency)
        _absorb(self.runtime, other.runtime)
        _absorb(self.examples, other.examples)

    def copy(self) -> ServingCalls:
        """The counters of this moment."""
        copied = ServingCalls()
        copied.absorb(self)
        return copied


def _observe(histograms: dict[_K, Histogram], key: _K, bounds: tuple[float, ...], value: float) -> None:
    histogram = histograms.get(key)
    if histogram is None:
        histogram = histograms[key] = Histogram(bounds)
    histogram.observe(value)


def _absorb(into: dict[_K, Histogram], more: Mapping[_K, Histogram]) -> None:
    # A list: the event loop may add a key while another thread reads.
    for key, histogram in list(more.items()):
        if key not in into:
            into[key] = Histogram(histogram.bounds)
        into[key].absorb(histogram)
