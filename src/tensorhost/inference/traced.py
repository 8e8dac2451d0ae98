"""Requests that are recorded, on their way through the engine: the same admission, which notes more.

Which admission a request gets is decided where it is let in, so that the others pay nothing.
"""

from __future__ import annotations

from tensorhost.core.requests import Timings
from tensorhost.inference.admission import Admission, InFlight
from tensorhost.models.servable import Lease
from tensorhost.telemetry.traces import RequestTrace, RunTrace, current_trace


class TracedAdmission(Admission):
    """The stay of a recorded request in the engine. ``trace`` is told which version will answer."""

    __slots__ = ()

    def __init__(self, lease: Lease, in_flight: InFlight, deadline: float, trace: RequestTrace) -> None:
        super().__init__(lease, in_flight, deadline)
        trace.model = self.servable.id

    def record_success(self, timings: Timings, rows: int) -> None:
        """Count one answered request, or one item of a batch, and note when it ended."""
        if isinstance(timings, RunTrace):
            timings.end()
        super().record_success(timings, rows)


def admission_with_trace(lease: Lease, in_flight: InFlight, deadline: float) -> Admission:
    """The admission of the request that this task works on, for servers that trace."""
    trace = current_trace()
    if trace is None:
        return Admission(lease, in_flight, deadline)
    return TracedAdmission(lease, in_flight, deadline, trace)


def timings_with_trace() -> Timings:
    """The times of a run that begins now in this task, for servers that trace."""
    trace = current_trace()
    return Timings() if trace is None else trace.begin_run()
