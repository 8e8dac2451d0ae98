"""The thin asyncio driver of the assembler: requests wait here, a free runtime pulls.

One queue per servable and signature. At most one call runs at a time: while it runs, requests gather; when it ends,
all that fit go. Calls expected to take under a millisecond or so run on the event loop itself, since a hop to a
thread would cost more; longer ones run on the servable's thread. Both are timed, so that the expectation is kept true.

What stays true: every waiter is answered exactly once, at its deadline at the latest, or where a call runs on the event
loop just then, when that call ends; a waiter that left does not disturb the others; a call that fails is repeated
request by request, so that only the guilty one gets its error; no error keeps a request's tensors alive.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from concurrent.futures import Executor

from tensorhost.batching.assembler import Assembler
from tensorhost.batching.costs import CostCurve
from tensorhost.batching.entries import NORMAL_PRIORITY, Batch, Entry
from tensorhost.batching.execution import Execution, RunModel, ThreadCall, Waiter
from tensorhost.batching.inlining import Inlining
from tensorhost.batching.options import OnBatch, OnCall, OnLate, OnMove, QueueOptions
from tensorhost.batching.own_time import OwnTime
from tensorhost.batching.pace import Pace, PaceReport
from tensorhost.batching.padding import Padding
from tensorhost.batching.ragged import elements_filled_up
from tensorhost.batching.rows import Outcome, join
from tensorhost.core.errors import (
    DeadlineExceededError,
    InvalidRequestError,
    OverloadedError,
    TensorhostError,
)
from tensorhost.core.requests import MergeTimes, Timings
from tensorhost.core.tensors import Array, Tensors

RETRY_AFTER_S = 1.0


class BatchQueue:
    """Where requests for one signature of one servable wait.

    Args:
        run: the model call; called from the event loop or from ``executor``, never twice at once.
        options: limits and whether requests are merged.
        executor: the servable's own thread.
        on_batch: told of each call.
        on_late: told of requests answered after the latency goal.
        on_call: told of each call with what was in it.
        on_move: told of calls that leave the event loop, or return to it.
        clock: seconds, on the time base of deadlines and of the event loop.
    """

    def __init__(
        self,
        run: RunModel,
        options: QueueOptions,
        executor: Executor,
        on_batch: OnBatch,
        clock: Callable[[], float] = time.monotonic,
        on_late: OnLate | None = None,
        on_call: OnCall | None = None,
        on_move: OnMove | None = None,
    ) -> None:
        self._options = options
        self._executor = executor
        self._on_batch = on_batch
        self._on_late = on_late
        self._on_call = on_call
        self._on_move = on_move
        self._clock = clock
        self._padding = Padding(options.padding) if options.padding and options.batched else None
        self._pads_inputs = options.batched and options.pads_inputs
        # Requests of one group may meet in a call. Where sizes of rows differ nobody's shape keeps them apart.
        self._apart = options.batched and not options.pads_inputs
        self._max_request_rows = options.max_request_rows if options.batched else None
        self._execution = Execution(
            run,
            batched=options.batched,
            max_batch_rows=options.max_batch_rows,
            padding=self._padding,
            clock=clock,
            pads_inputs=self._pads_inputs,
        )
        self._pace = _pace(options, self._padding)
        self._assembler: Assembler[Waiter] = Assembler(
            max_batch_rows=options.max_batch_rows,
            batch_timeout_s=options.batch_timeout_s,
            max_queue_rows=options.max_queue_rows,
            batched=options.batched,
            pace=self._pace,
        )
        self._inlining = Inlining(options.inline_rows, options.inline_s)
        # Whether every call was quick at warm-up. Padding makes calls larger than batches.
        self._all_quick = (
            options.batched
            and options.max_batch_rows <= options.inline_rows
            and options.inline_elements is None
            and self._padding is None
        )
        # Whether every call runs on the event loop now.
        self._always_inline = self._all_quick
        self._loop = asyncio.get_running_loop()
        self._busy = False
        self._thread_call: ThreadCall | None = None
        self._pull_handle: asyncio.Handle | None = None
        self._holding = False
        self._refusal: Callable[[], TensorhostError] | None = None

    @property
    def queue_rows(self) -> int:
        """Rows waiting now."""
        return self._assembler.queue_rows

    @property
    def waiting_requests(self) -> int:
        """Requests that wait now for a call to begin, or for another if they take several; any thread may ask."""
        waiting = self._assembler.waiting
        call = self._thread_call
        if call is not None and call.began_at == math.inf:
            waiting += sum(
                stop == entry.rows and not entry.payload.future.done() for entry, _, stop in call.batch.slices
            )
        return waiting

    @property
    def options(self) -> QueueOptions:
        """The options in force."""
        return self._options

    @property
    def limit_rows(self) -> int:
        """Most rows that a call takes now; 1 where each request has a call of its own."""
        if self._pace is not None:
            return self._pace.limit_rows
        return self._options.max_batch_rows if self._options.batched else 1

    @property
    def inline_rows(self) -> int:
        """Calls of at most so many rows run on the event loop now."""
        return self._inlining.limit_rows

    def pace_report(self) -> PaceReport | None:
        """How the latency goal is pursued; None where there is none, or no choice of batch size."""
        return None if self._pace is None else self._pace.report()

    async def call(
        self,
        inputs: Tensors,
        *,
        rows: int,
        deadline: float,
        timings: Timings,
        max_batch_rows: int | None = None,
        priority: int = NORMAL_PRIORITY,
    ) -> dict[str, Array]:
        """Wait for a batch and run; the outputs for these inputs.

        Outputs are views into the batch's outputs and must not be written to.

        Args:
            inputs: checked tensors; when the signature is batched, all with ``rows`` as first dimension, and by the
                signature's names in its order.
            rows: size of the first dimension; 1 where there is none.
            deadline: on the queue's clock.
            timings: where to write ``queue_s`` and ``inference_s``.
            max_batch_rows: this request's own, lower ceiling on the rows of a call; at least 1.
            priority: those of a lower number that wait go first; without effect where there is a latency goal.

        Raises:
            OverloadedError: the queue is full; nothing was queued.
            InvalidRequestError: more rows than a request may have; the same.
            DeadlineExceededError: the deadline passed, waiting or running.
            TensorhostError: what ``close`` was given, or why the model failed.
        """
        if self._refusal is not None:
            raise self._refusal()
        if self._max_request_rows is not None and rows > self._max_request_rows:
            raise InvalidRequestError(
                f"Task size {rows} is larger than maximum input batch size {self._max_request_rows}",
                details={"rows": rows, "most": self._max_request_rows},
            )
        waiter = Waiter(inputs, self._loop.create_future(), timings)
        group = tuple([array.shape[1:] for array in inputs.values()]) if self._apart else ()
        entry = Entry(waiter, rows, group, self._clock(), deadline)
        if max_batch_rows is not None:
            entry.max_batch_rows = max_batch_rows
        if priority != NORMAL_PRIORITY and self._pace is None:
            entry.priority = priority
        if not self._assembler.offer(entry):
            raise OverloadedError(
                f"The queue is full: {self.queue_rows} of {self._options.max_queue_rows} rows are waiting.",
                retry_after_s=RETRY_AFTER_S,
            )
        if not self._busy:
            self._schedule_pull()
        timer = None
        # Who is certain to be in the next call needs no timer where that call runs on the event loop: it begins in this
        # turn of the loop or the next, ``take`` looks at the deadline first, and no timer could fire while it runs. Nor
        # can it have moved to a thread by then: only the end of another call could bring that about, and there is none.
        if deadline != math.inf and (self._busy or not (self._always_inline and self._assembler.last_is_next)):
            timer = self._loop.call_at(deadline, self._expire, entry)
        try:
            return await waiter.future
        except asyncio.CancelledError:
            self._abandon(entry)
            raise
        finally:
            if timer is not None:
                timer.cancel()
            # An error holds this frame; were the frame to hold the future, which holds the error, the request's
            # tensors would stay until the next garbage collection.
            del waiter, entry

    def _expire(self, entry: Entry[Waiter]) -> None:
        entry.payload.fail(DeadlineExceededError("The deadline passed while the request waited or ran."))
        self._assembler.abandon(entry)

    def _abandon(self, entry: Entry[Waiter]) -> None:
        """The waiter has left: free its place, and drop its result if it is already running."""
        future = entry.payload.future
        if future.done() and not future.cancelled():
            # It was answered and cancelled at once. An error nobody looks at would be logged as forgotten.
            future.exception()
        self._assembler.abandon(entry)

    def close(self, refusal: Callable[[], TensorhostError]) -> None:
        """Refuse everything that waits, and everything that comes. A running call still answers.

        Args:
            refusal: makes the error, one for each waiter.
        """
        self._refusal = refusal
        if self._pull_handle is not None:
            self._pull_handle.cancel()
            self._pull_handle = None
        for entry in self._assembler.close():
            entry.payload.fail(refusal())
        self._execution.close()

    def _schedule_pull(self) -> None:
        # Not at once: whatever else this turn of the loop brings in joins the same batch, at no added wait.
        if self._pull_handle is None:
            self._pull_handle = self._loop.call_soon(self._pull)
        elif self._holding:
            # A batch is being held back; what has come may fill it.
            self._pull_handle.cancel()
            self._pull_handle = self._loop.call_soon(self._pull)
            self._holding = False

    def _pull(self) -> None:
        self._pull_handle = None
        self._holding = False
        if self._busy:
            return
        now = self._clock()
        due_at = self._assembler.wait_until(now)
        if due_at is None:
            return
        if due_at > now:
            self._pull_handle = self._loop.call_at(due_at, self._pull)
            self._holding = True
            return
        batch = self._assembler.take(now)
        for entry in batch.expired:
            entry.payload.fail(DeadlineExceededError("The deadline passed while the request waited in the queue."))
        if not batch.slices:
            self._schedule_pull()
            return
        if self._runs_inline(batch):
            self._run_inline(batch, now)
        else:
            self._hand_over(batch, now)

    def _run_inline(self, batch: Batch[Waiter], taken_at: float) -> None:
        rows = batch.rows if self._padding is None else self._padding.padded(batch.rows)
        inlining = self._inlining
        own_time = OwnTime() if rows >= inlining.debt_rows else None
        outcomes = self._execution.run(batch)
        seconds = self._clock() - taken_at
        own_s = seconds if own_time is None else own_time.of(seconds)
        self._deliver(batch, outcomes, taken_at, seconds, seconds)
        if own_time is not None or seconds > inlining.budget_s:
            self._watch(rows, own_s)

    def _hand_over(self, batch: Batch[Waiter], taken_at: float) -> None:
        """Have the servable's thread make the call."""
        for entry, start, _ in batch.slices:
            if start == 0:
                # In case it does not wait for the end; until a thread begins the time still counts as waiting.
                entry.payload.timings.queue_s = taken_at - entry.offered_at
        inlining = self._inlining
        has_moved = inlining.limit_rows < inlining.rows and self._was_quick(batch, inlining.rows)
        call = ThreadCall(batch, self._execution, self._clock, is_watched=has_moved)
        try:
            done = self._loop.run_in_executor(self._executor, call.run)
        except RuntimeError as error:
            self._deliver(batch, call.failed(repr(error)), taken_at, 0.0, 0.0)
            return
        self._busy = True
        self._thread_call = call
        done.add_done_callback(lambda done: self._finish(call, done, taken_at))

    def _runs_inline(self, batch: Batch[Waiter]) -> bool:
        return self._always_inline or self._was_quick(batch, self._inlining.limit_rows)

    def _was_quick(self, batch: Batch[Waiter], limit_rows: int) -> bool:
        """Whether the call is no larger than those that were quick at warm-up, and has at most ``limit_rows`` rows."""
        limit_elements = self._options.inline_elements
        rows = max(self._execution.rows_of(batch), 1)
        if rows > limit_rows or limit_elements is None:
            return rows <= limit_rows
        if self._pads_inputs:
            elements = elements_filled_up([part.entry.payload.inputs for part in batch.slices], batch.rows)
        else:
            elements = sum(array.size for part in batch.slices for array in part.entry.payload.inputs.values())
        return elements * rows <= limit_elements * max(batch.rows, 1)

    def _watch(self, rows: int, seconds: float) -> None:
        """Learn from a call that was expected to be quick whether such calls may run on the event loop."""
        inlining = self._inlining
        before = inlining.limit_rows
        inlining.observe(rows, seconds)
        now = inlining.limit_rows
        if now != before:
            self._always_inline = self._all_quick and now == inlining.rows
            if self._on_move is not None:
                self._on_move(before, now, seconds)

    def _finish(self, call: ThreadCall, done: asyncio.Future[list[Outcome]], taken_at: float) -> None:
        self._busy = False
        self._thread_call = None
        batch, now = call.batch, self._clock()
        if done.cancelled() or (error := done.exception()) is not None:
            outcomes = call.failed("cancelled" if done.cancelled() else repr(error))
            self._deliver(batch, outcomes, now, 0.0, now - taken_at)
            return
        self._deliver(batch, done.result(), call.began_at, call.ended_at - call.began_at, now - taken_at)
        if call.own_s is not None:
            self._watch(self._execution.rows_of(batch), call.own_s)

    def _deliver(
        self, batch: Batch[Waiter], outcomes: list[Outcome], began_at: float, seconds: float, since_taken_s: float
    ) -> None:
        """Answer everybody in a call that took ``seconds``, and count it.

        With its way to a thread and back it took ``since_taken_s``: that is what those in it waited for.
        """
        merging = batch.merging
        for (entry, start, stop), outcome in zip(batch.slices, outcomes, strict=True):
            waiter = entry.payload
            timings = waiter.timings
            if start == 0:
                timings.queue_s = began_at - entry.offered_at
            timings.inference_s += seconds
            if merging is not None:
                timings.merging = merging if timings.merging is None else timings.merging + merging
            if waiter.future.done():
                continue
            if stop - start != entry.rows and not isinstance(outcome, TensorhostError):
                waiter.parts.append(outcome)
                if stop != entry.rows:
                    continue
                outcome = self._join(waiter)
            if isinstance(outcome, TensorhostError):
                waiter.future.set_exception(outcome)
                self._assembler.abandon(entry)
            else:
                waiter.future.set_result(outcome)
        pace = self._pace
        if pace is not None and (not batch.calm or since_taken_s > pace.calm.call_s or pace.wants_short()):
            self._learn(pace, batch, outcomes, since_taken_s)
        self._on_batch(batch.rows, batch.reason.value, seconds, merging)
        if self._on_call is not None:
            self._on_call(batch, outcomes, began_at, seconds)
        if not self._assembler.is_empty:
            self._schedule_pull()

    def _learn(self, pace: Pace, batch: Batch[Waiter], outcomes: list[Outcome], seconds: float) -> None:
        """Tell the pace how long the call took, and count who was answered by it after the goal."""
        in_time_from = self._clock() - pace.goal_s
        late = sum(entry.offered_at < in_time_from and entry.payload.has_outputs for entry, _, _ in batch.slices)
        if late and self._on_late is not None:
            self._on_late(late)
        # After a failure the seconds are those of several calls.
        if batch.rows and not any(isinstance(outcome, TensorhostError) for outcome in outcomes):
            pace.observe(batch.rows, seconds, batch.slices[0].entry.group)

    def _join(self, waiter: Waiter) -> Outcome:
        """The outputs of a request that ran in parts; what that takes is counted as of its calls."""
        began_at = self._clock()
        outcome = join(waiter.parts)
        seconds = self._clock() - began_at
        timings = waiter.timings
        timings.inference_s += seconds
        timings.merging = (timings.merging or MergeTimes()) + MergeTimes(split_s=seconds)
        return outcome


def _pace(options: QueueOptions, padding: Padding | None) -> Pace | None:
    """What sets the pace for a latency goal; None without one, and where a call has one request anyway."""
    if not options.target_latency_s or not options.batched:
        return None
    largest = options.max_batch_rows
    return Pace(options.target_latency_s, largest, CostCurve(options.call_s, largest), padding or Padding())
