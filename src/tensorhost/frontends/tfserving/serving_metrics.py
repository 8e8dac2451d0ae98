"""Counting calls as TensorFlow Serving counts them: the one interface for REST and gRPC.

What must stay true: a name that no model has, which a client may invent anew for each call, is counted under one label.
"""

from __future__ import annotations

from enum import StrEnum

from tensorhost.frontends.rpc import RpcStatus
from tensorhost.models.manager import ModelManager
from tensorhost.telemetry.metrics import UNKNOWN

_MICROSECONDS = 1e6
_NAMES = tuple(status.name for status in RpcStatus)
"""By number: the name of an enum's member takes the interpreter half a microsecond to find."""


class Entrypoint(StrEnum):
    """By which protocol a call came."""

    REST = "REST"
    GRPC = "GRPC"


class ServingMetrics:
    """Writes the counters of one process; it has none of its own, so there may be several.

    Args:
        manager: knows the models' names, and the collector that keeps the counters.
    """

    def __init__(self, manager: ModelManager) -> None:
        self._manager = manager
        self._calls = manager.metrics.serving_calls

    def record(self, model: str, api: str, entrypoint: Entrypoint, status: RpcStatus, seconds: float) -> None:
        """Count a finished call.

        Args:
            model: as the client named it, whether there is such a model or not.
            api: ``predict`` and the like over REST, ``Predict`` over gRPC; a word of ours, never of a client.
            entrypoint: how it came.
            status: how it ended.
            seconds: from its arrival to its answer; counted where it went well.
        """
        label = self._label_of(model)
        calls = self._calls
        calls.count(label, _NAMES[status])
        if status is RpcStatus.OK:
            calls.observe_latency(label, api, entrypoint, seconds * _MICROSECONDS)

    def record_runtime(self, model: str, api: str, seconds: float) -> None:
        """Count the time the model itself took for a call that went well."""
        self._calls.observe_runtime(self._label_of(model), api, seconds * _MICROSECONDS)

    def record_examples(self, model: str, count: int) -> None:
        """Count the examples of a request for classification or regression."""
        self._calls.observe_examples(self._label_of(model), count)

    def _label_of(self, model: str) -> str:
        if not model:
            return ""
        return self._calls.label_of(model) if model in self._manager.models() else UNKNOWN
