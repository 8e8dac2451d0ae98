"""Tells tracing of the model calls that recorded requests took part in; a server that does not trace has none of it."""

from __future__ import annotations

from collections.abc import Sequence

from tensorhost.batching.entries import Batch
from tensorhost.batching.execution import Waiter
from tensorhost.batching.rows import Outcome
from tensorhost.core.errors import TensorhostError
from tensorhost.core.ids import ModelId
from tensorhost.telemetry.traces import RequestTrace, RunTrace


class CallTracer:
    """Told of each call of one queue.

    Args:
        model: whose version it is.
        signature: its name.
        runtime: what executes it.
    """

    def __init__(self, model: ModelId, signature: str, runtime: str) -> None:
        self._attributes = {
            "tensorhost.model.name": model.name,
            "tensorhost.model.version": model.version,
            "tensorhost.signature": signature,
            "tensorhost.runtime": runtime,
        }

    def __call__(self, batch: Batch[Waiter], outcomes: Sequence[Outcome], started_at: float, seconds: float) -> None:
        """Note a call that has ended, if a recorded request took part in it; instants on the monotonic clock."""
        requests: dict[RequestTrace, None] = {}
        for part in batch.slices:
            timings = part.entry.payload.timings
            if isinstance(timings, RunTrace) and timings.request is not None:
                requests[timings.request] = None
        if not requests:
            return
        attributes: dict[str, str | int] = {
            **self._attributes,
            "tensorhost.batch.rows": batch.rows,
            "tensorhost.batch.requests": len(batch.slices),
            "tensorhost.batch.close_reason": batch.reason.value,
        }
        errors = [outcome.code.value for outcome in outcomes if isinstance(outcome, TensorhostError)]
        if errors:
            attributes |= {"error.type": errors[0], "tensorhost.batch.failed_requests": len(errors)}
        first = next(iter(requests))
        call = first.tracing.call(list(requests), attributes, started_at, started_at + seconds)
        for part, outcome in zip(batch.slices, outcomes, strict=True):
            run = part.entry.payload.timings
            if isinstance(run, RunTrace):
                error = outcome.code if isinstance(outcome, TensorhostError) else None
                run.took_part(call, part.stop - part.start, error, is_complete=part.stop == part.entry.rows)
