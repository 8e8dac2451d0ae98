"""One batch as one call: requests' rows merged, the model run, its outputs split; alone again where that fails.

It knows no queues, and runs on whichever thread the queue chose, never twice at once. What must stay true: whatever a
call raises, each slice gets an outcome, and only the guilty one an error; outputs are never mixed up between requests.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tensorhost.batching.entries import Batch, Slice
from tensorhost.batching.own_time import OwnTime
from tensorhost.batching.padding import Padding
from tensorhost.batching.ragged import common_shape, fill_up, is_mostly_filling
from tensorhost.batching.rows import Outcome, check_rows, split
from tensorhost.core.errors import ModelFailedError, OutOfMemoryError, TensorhostError
from tensorhost.core.requests import MergeTimes, Timings
from tensorhost.core.tensors import Array, Tensors, aligned_empty

RunModel = Callable[[Tensors], dict[str, Array]]
"""One model call."""


@dataclass(slots=True, eq=False)
class Waiter:
    """One request's tensors on the way in, its future, where its times go, and its outputs as far as they are there."""

    inputs: Tensors
    future: asyncio.Future[dict[str, Array]]
    timings: Timings
    parts: list[Mapping[str, Array]] = field(default_factory=list)

    def fail(self, error: TensorhostError) -> None:
        """Answer with ``error``, unless it was answered or has left."""
        if not self.future.done():
            self.future.set_exception(error)

    @property
    def has_outputs(self) -> bool:
        """Whether it was answered, and not with an error."""
        return self.future.done() and not self.future.cancelled() and self.future.exception() is None


class Execution:
    """Runs batches of one signature.

    Args:
        run: the model call.
        batched: whether outputs have a row for each row of input.
        max_batch_rows: rows of the largest batch.
        padding: sizes that are filled up to a larger one; None for none.
        clock: seconds, never going back.
        pads_inputs: whether rows of one batch may differ in size, the smaller being filled up.
    """

    def __init__(
        self,
        run: RunModel,
        *,
        batched: bool,
        max_batch_rows: int,
        padding: Padding | None,
        clock: Callable[[], float],
        pads_inputs: bool = False,
    ) -> None:
        self._run = run
        self._batched = batched
        self._max_batch_rows = max_batch_rows
        self._padding = padding
        self._clock = clock
        self._pads_inputs = pads_inputs
        self._buffers: dict[str, Array] = {}

    def rows_of(self, batch: Batch[Waiter]) -> int:
        """Rows of the call that a batch becomes."""
        return batch.rows if self._padding is None else self._padding.padded(batch.rows)

    def close(self) -> None:
        """Let go of the buffers."""
        self._buffers.clear()

    def run(self, batch: Batch[Waiter]) -> list[Outcome]:
        """Make the call; the outcome of each slice. A call that fails is repeated request by request.

        So is, from the start, one that one large row among many small ones would make much larger than all of them.
        """
        slices = batch.slices
        if self._pads_inputs and len(slices) > 1 and _is_mostly_filling(slices):
            return [outcome for part in slices for outcome in self.run(Batch([part], part.stop - part.start))]
        rows = self.rows_of(batch)
        if len(slices) > 1 or rows != batch.rows:
            # Border of batch execution: whatever failed, find out who is guilty.
            with suppress(Exception):
                return self._run_together(batch, rows)
        return [self._run_alone(part) for part in slices]

    def _run_together(self, batch: Batch[Waiter], rows: int) -> list[Outcome]:
        clock = self._clock
        began_at = clock()
        inputs = self._assemble(batch, rows)
        merged_at = clock()
        outputs = self._run(inputs)
        returned_at = clock()
        outcomes = split(outputs, batch.slices, rows)
        batch.merging = MergeTimes(merged_at - began_at, clock() - returned_at)
        return outcomes

    def _run_alone(self, part: Slice[Waiter]) -> Outcome:
        waiter = part.entry.payload
        if waiter.future.done():
            # It left, or its deadline passed, while the batch failed or waited for the thread: nobody reads this.
            return {}
        inputs = waiter.inputs
        rows = part.stop - part.start
        if rows != part.entry.rows:
            inputs = {name: array[part.start : part.stop] for name, array in inputs.items()}
        try:
            outputs = self._run(inputs)
            if self._batched:
                check_rows(outputs, rows)
        except TensorhostError as error:
            # Its traceback holds this frame, and the frame the future that will hold the error.
            return error.with_traceback(None)
        except MemoryError:
            return OutOfMemoryError("There was not enough memory for this request.")
        except Exception as error:  # noqa: BLE001 - border of batch execution: the waiter must be answered
            return ModelFailedError("The model failed.", log_detail=repr(error))
        return outputs

    def _assemble(self, batch: Batch[Waiter], rows: int) -> Tensors:
        """One tensor per input with the rows of all slices, in a buffer that the next batch uses again.

        Where there are fewer than ``rows``, the last one is repeated.
        """
        merged: dict[str, Array] = {}
        for name, first in batch.slices[0].entry.payload.inputs.items():
            parts = [part.entry.payload.inputs[name][part.start : part.stop] for part in batch.slices]
            if rows != batch.rows:
                last = next(part for part in reversed(parts) if len(part))[-1:]
                parts.extend([last] * (rows - batch.rows))
            if self._pads_inputs:
                row = common_shape(parts)
                if any(part.shape[1:] != row for part in parts):
                    merged[name] = fill_up(parts, self._buffer(name, row, first.dtype, rows))
                    continue
            if first.dtype == object:
                merged[name] = np.concatenate(parts)
                continue
            merged[name] = np.concatenate(parts, out=self._buffer(name, first.shape[1:], first.dtype, rows))
        return merged

    def _buffer(self, name: str, row: tuple[int, ...], dtype: np.dtype[Any], rows: int) -> Array:
        if dtype.hasobject:
            # Texts of earlier batches would stay alive in it.
            return np.empty((rows, *row), dtype)
        buffer = self._buffers.get(name)
        if buffer is None or buffer.shape[1:] != row or len(buffer) < rows:
            # Doubling up to the ceiling: a queue that only ever sees small batches keeps a small buffer.
            size = min(self._max_batch_rows, max(rows, 2 * len(buffer) if buffer is not None else rows))
            buffer = self._buffers[name] = aligned_empty((max(size, rows), *row), dtype)
        return buffer[:rows]


class ThreadCall:
    """One batch on its way to a thread and back.

    Attributes:
        batch: what runs.
        began_at, ended_at: when the thread had it; inf until then.
        own_s: seconds in between that the call took of its own accord (``OwnTime``); None unless it is watched, and
            where nobody waited for it any more.
    """

    __slots__ = ("_clock", "_execution", "_is_watched", "batch", "began_at", "ended_at", "own_s")

    def __init__(
        self, batch: Batch[Waiter], execution: Execution, clock: Callable[[], float], *, is_watched: bool
    ) -> None:
        self.batch = batch
        self.began_at = math.inf
        self.ended_at = math.inf
        self.own_s: float | None = None
        self._execution = execution
        self._clock = clock
        self._is_watched = is_watched

    def run(self) -> list[Outcome]:
        """What the thread does; see ``Execution.run``."""
        self.began_at = self._clock()
        # The model may not be called for those who have left: that is quick, whatever its calls are.
        own_time = OwnTime() if self._is_watched and self._is_awaited() else None
        outcomes = self._execution.run(self.batch)
        self.ended_at = self._clock()
        if own_time is not None:
            self.own_s = own_time.of(self.ended_at - self.began_at)
        return outcomes

    def _is_awaited(self) -> bool:
        return not all(part.entry.payload.future.done() for part in self.batch.slices)

    def failed(self, reason: str) -> list[Outcome]:
        """What becomes of each slice where the thread is gone, as when the interpreter shuts down: an error each."""
        return [
            ModelFailedError("The model's thread ended before the call.", log_detail=reason) for _ in self.batch.slices
        ]


def _is_mostly_filling(slices: Sequence[Slice[Waiter]]) -> bool:
    return is_mostly_filling(
        [part.entry.payload.inputs for part in slices], [part.stop - part.start for part in slices]
    )
