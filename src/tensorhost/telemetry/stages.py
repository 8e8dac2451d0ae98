"""From a request's runs to its stages: when each began and ended, and in which one it failed. Pure.

A request with several runs, the items of a batch, has one span per stage all the same: from the first run's beginning
to the last one's end.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tensorhost.core.errors import ErrorCode
from tensorhost.telemetry.traces import RunTrace

if TYPE_CHECKING:
    from opentelemetry.trace import SpanContext

_WHILE_WAITING = frozenset(
    {
        ErrorCode.OVERLOADED,
        ErrorCode.DEADLINE_EXCEEDED,
        ErrorCode.CANCELLED,
        ErrorCode.MODEL_NOT_READY,
        ErrorCode.SHUTTING_DOWN,
    }
)
"""What may become of a request in the queue. With any other error it never got there."""


@dataclass(slots=True)
class Stage:
    """One stage: instants on the monotonic clock, the model calls in it, and the error if it ended with one."""

    name: str
    started_at: float
    ended_at: float
    error: ErrorCode | None = None
    calls: list[SpanContext] = field(default_factory=list)


def stages(runs: Iterable[RunTrace], now: float, error: ErrorCode | None) -> Sequence[Stage]:
    """The stages that ``runs`` went through, in order.

    Args:
        runs: of one request.
        now: when the request ended, and with it every run that did not end by itself.
        error: why those failed; None where each run has its own error, as in a batch.
    """
    found: dict[str, Stage] = {}
    for run in runs:
        for stage in _stages_of(run, now, error):
            merged = found.setdefault(stage.name, stage)
            if merged is stage:
                continue
            merged.started_at = min(merged.started_at, stage.started_at)
            merged.ended_at = max(merged.ended_at, stage.ended_at)
            merged.error = merged.error or stage.error
            merged.calls.extend(stage.calls)
    for stage in found.values():
        stage.calls = list({call.span_id: call for call in stage.calls}.values())
    return list(found.values())


def _stages_of(run: RunTrace, now: float, error: ErrorCode | None) -> Iterator[Stage]:
    prepared_at = run.begun_at + run.preprocessing_s
    has_ended = run.ended_at is not None
    taken = run.queue_s > 0 or bool(run.calls)
    if not (run.preprocessing_s or taken or has_ended):
        yield Stage("preprocessing", run.begun_at, now, error)
        return
    yield Stage("preprocessing", run.begun_at, prepared_at)
    if taken:
        began_at = run.calls[0].started_at if run.calls else prepared_at + run.queue_s
        yield Stage("queue", prepared_at, max(began_at, prepared_at))
        yield _inference(run, began_at, now, error)
    elif not has_ended and error in _WHILE_WAITING:
        yield Stage("queue", prepared_at, now, error)
    if run.ended_at is not None:
        yield Stage("postprocessing", run.ended_at - run.postprocessing_s, run.ended_at)
    elif run.is_complete and run.error is None:
        yield Stage("postprocessing", run.calls[-1].ended_at, now, error)


def _inference(run: RunTrace, began_at: float, now: float, error: ErrorCode | None) -> Stage:
    contexts = [call.span for call in run.calls]
    if run.error is not None or run.is_complete:
        return Stage("inference", began_at, run.calls[-1].ended_at, run.error, contexts)
    # Given up while a call ran, or between two calls.
    return Stage("inference", began_at, max(began_at, now), error, contexts)
