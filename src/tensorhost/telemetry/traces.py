"""What happened to one traced request, noted while it happens: instants, model calls, the error.

Plain records, written by the event loop's thread; ``spans`` makes spans of them when the request is over. Only requests
that are recorded have one: nobody pays for the others. Nothing here imports OpenTelemetry, which need not be installed.
"""

from __future__ import annotations

import time
from contextvars import ContextVar, Token
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from tensorhost.core.errors import ErrorCode
from tensorhost.core.ids import ModelId
from tensorhost.core.requests import Timings

if TYPE_CHECKING:
    from opentelemetry.trace import Span, SpanContext

    from tensorhost.telemetry.spans import Tracing

MAX_RUNS = 1000
"""Runs of one request that are looked at; the items of a batch after that are counted, not traced."""


class CallTrace(NamedTuple):
    """One model call as the requests in it see it: the span it became, begin and end on the monotonic clock."""

    span: SpanContext
    started_at: float
    ended_at: float


@dataclass(slots=True)
class RunTrace(Timings):
    """One way through the engine, of a request or of an item of a batch: its times, and when they were.

    ``error`` is why its model call failed, ``is_complete`` whether all its rows have been through one. Instants are on
    the monotonic clock; ``ended_at`` stays None for a run that failed.
    """

    request: RequestTrace | None = None
    begun_at: float = field(default_factory=time.monotonic)
    ended_at: float | None = None
    rows: int = 0
    calls: list[CallTrace] = field(default_factory=list)
    is_complete: bool = False
    error: ErrorCode | None = None

    def took_part(self, call: CallTrace, rows: int, error: ErrorCode | None, *, is_complete: bool) -> None:
        """Note a model call with ``rows`` rows of this run in it."""
        self.calls.append(call)
        self.rows += rows
        self.error = error
        self.is_complete = is_complete

    def end(self) -> None:
        """Note that the run has succeeded, now."""
        self.ended_at = time.monotonic()


class RequestTrace:
    """A request that is recorded.

    Attributes:
        tracing: what makes the spans.
        span: the request's own span, not ended yet.
        runs: what it did in the engine, at most ``MAX_RUNS``.
        untraced_runs: those beyond.
        model: whose version answers; None until one was found.
        subject: the model and version the request named, as it named them; None where they were not read.
        error: why the request failed.
        failed_items: items of a batch that did.
    """

    __slots__ = ("_offset_ns", "error", "failed_items", "model", "runs", "span", "subject", "tracing", "untraced_runs")

    def __init__(self, tracing: Tracing, span: Span) -> None:
        self.tracing = tracing
        self.span = span
        self.runs: list[RunTrace] = []
        self.untraced_runs = 0
        self.model: ModelId | None = None
        self.subject: tuple[str | None, str | None] = (None, None)
        self.error: ErrorCode | None = None
        self.failed_items = 0
        self._offset_ns = time.time_ns() - time.monotonic_ns()

    def begin_run(self) -> Timings:
        """The times of a run that begins now."""
        if len(self.runs) == MAX_RUNS:
            self.untraced_runs += 1
            return Timings()
        run = RunTrace(request=self)
        self.runs.append(run)
        return run

    def unix_ns(self, instant: float) -> int:
        """An instant of the monotonic clock as nanoseconds since 1970, by the clocks' distance when this began."""
        return int(instant * 1e9) + self._offset_ns


_current: ContextVar[RequestTrace | None] = ContextVar("tensorhost_request_trace", default=None)


def current_trace() -> RequestTrace | None:
    """The request that this task works on, if it is recorded."""
    return _current.get()


def enter_trace(trace: RequestTrace) -> Token[RequestTrace | None]:
    """Make ``trace`` the one this task, and tasks it starts, work on."""
    return _current.set(trace)


def leave_trace(token: Token[RequestTrace | None]) -> None:
    """Undo ``enter_trace``."""
    _current.reset(token)
