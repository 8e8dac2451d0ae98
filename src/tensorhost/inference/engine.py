"""The engine: the data path from named tensors to named tensors, on one screen.

    admit → lease → preprocess → batch queue → model → postprocess → release

It knows no wire format. Front ends decode and encode; the manager loads; the batch queue merges.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Collection
from typing import Any, ParamSpec, TypeVar

from tensorhost.batching.entries import NORMAL_PRIORITY
from tensorhost.batching.queue import RETRY_AFTER_S
from tensorhost.core.errors import (
    DeadlineExceededError,
    ErrorCode,
    OverloadedError,
    ShuttingDownError,
    TensorhostError,
)
from tensorhost.core.requests import InferenceResult, Timings
from tensorhost.core.tensors import Tensors
from tensorhost.inference.admission import Admission, InFlight, code_of
from tensorhost.inference.arrays import as_tensors
from tensorhost.inference.rows import checked_rows, empty_outputs, loosely_checked
from tensorhost.inference.traced import admission_with_trace, timings_with_trace
from tensorhost.models.manager import ModelManager
from tensorhost.models.servable import Call, Lease

P = ParamSpec("P")
R = TypeVar("R")


class InferenceEngine:
    """Answers inference requests with the models of a manager.

    Args:
        manager: lends servables.
        clock: seconds, on the event loop's time base; that of the manager.
    """

    def __init__(self, manager: ModelManager, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.manager = manager
        self.metrics = manager.metrics
        self._clock = clock
        self._in_flight = InFlight(manager.settings.max_in_flight)
        self._default_timeout_s = manager.settings.request_timeout_s or math.inf
        self._closed = False
        # What recorded requests get notes more. Without tracing these are the classes themselves: no call is added.
        traced = manager.settings.tracing
        self._make_admission = admission_with_trace if traced else Admission
        self._make_timings = timings_with_trace if traced else Timings

    @property
    def in_flight(self) -> int:
        """Requests in the engine now."""
        return self._in_flight.count

    def close(self) -> None:
        """Refuse new requests with SHUTTING_DOWN; those inside finish."""
        self._closed = True

    def deadline(self, timeout_s: float | None) -> float:
        """The instant after which a request is not answered any more; None means the server's default."""
        return self._clock() + (self._default_timeout_s if timeout_s is None else timeout_s)

    async def predict(
        self,
        model: str,
        inputs: Any,
        *,
        version: str | None = None,
        signature: str | None = None,
        preprocessing: dict[str, Any] | None = None,
        postprocessing: dict[str, Any] | None = None,
        timeout_s: float | None = None,
    ) -> InferenceResult:
        """Run one request from inside the process.

        Args:
            model: its name.
            inputs: an array, nested lists or a scalar for a model of one input; a mapping by name otherwise. The
                first dimension is the batch.
            version: a version or a label; None for the newest.
            signature: None for the default one.
            preprocessing, postprocessing: options over those of the model, as in the HTTP API.
            timeout_s: seconds; None for the server's default.

        Raises:
            TensorhostError: one of the family, with its code.
        """
        with await self.admit(model, version, self.deadline(timeout_s)) as admission:
            call = self.prepare(admission, signature, preprocessing, postprocessing)
            return await self.run(admission, call, as_tensors(inputs, call.preprocessing.wire_specs))

    async def admit(self, model: str, version: str | None, deadline: float) -> Admission:
        """Let a request in, or refuse it at once; a lazy model is waited for. Use the admission in a ``with`` block.

        Raises:
            OverloadedError: as many requests as allowed are in flight.
            ShuttingDownError: the engine is closed.
            TensorhostError: there is nothing to lend, see ``ModelManager.lease``.
        """
        admission = self.admit_at_once(model, version, deadline)
        if admission is None:
            try:
                lease = await self._wait_for_lease(model, version, deadline)
            except BaseException as error:
                self._count_refusal(model, version, code_of(error))
                raise
            admission = self._make_admission(lease, self._in_flight, deadline)
        return admission

    def admit_at_once(self, model: str, version: str | None, deadline: float) -> Admission | None:
        """``admit`` without a coroutine, for whoever finds the model serving; None where it must be waited for."""
        servable = self.manager.find(model, version)
        in_flight = self._in_flight
        if self._closed or in_flight.count >= in_flight.limit:
            refusal = self._refusal()
            self._count_refusal(model, version, refusal.code)
            raise refusal
        if servable is None:
            return None
        in_flight.count += 1
        # A name of its own: Python 3.11 calls what an attribute holds the slow way.
        make_admission = self._make_admission
        return make_admission(servable.lease(), in_flight, deadline)

    def _refusal(self) -> TensorhostError:
        if self._closed:
            return ShuttingDownError("The server is shutting down.", retry_after_s=RETRY_AFTER_S)
        return OverloadedError(
            f"The server is working on {self._in_flight.limit} requests, the most it may.",
            retry_after_s=RETRY_AFTER_S,
        )

    async def _wait_for_lease(self, model: str, version: str | None, deadline: float) -> Lease:
        """Wait for a lazy model; the request counts as in flight meanwhile, and goes on to when there is a lease."""
        self._in_flight.count += 1
        try:
            return await self.manager.lease(model, version, deadline)
        except BaseException:
            self._in_flight.count -= 1
            raise

    def prepare(
        self,
        admission: Admission,
        signature: str | None = None,
        preprocessing: object = None,
        postprocessing: object = None,
        max_batch_rows: int | None = None,
        *,
        loose_shapes: bool = False,
        raw_outputs: bool = False,
        outputs: Collection[str] | None = None,
        priority: int = NORMAL_PRIORITY,
    ) -> Call:
        """Resolve what a request asks for, before its tensors are decoded.

        Args:
            admission: from ``admit``.
            signature: its name; None for the default one.
            preprocessing, postprocessing: options over those of the model, as in the HTTP API.
            max_batch_rows: the request's own ceiling on the rows of a call.
            loose_shapes: whether names and dtypes are all that is checked. A tensor whose shape the signature does not
                admit goes to the model in a call of its own; inputs with default values may be left out.
            raw_outputs: leave out postprocessing whose answers are no tensors.
            outputs: names of the outputs that are wanted, in this order; None for all.
            priority: of the request among those that wait; see ``BatchQueue.call``.

        Raises SignatureNotFoundError, InvalidPreprocessingError or InvalidPostprocessingError.
        """
        servable = admission.servable
        if loose_shapes or raw_outputs:
            call = servable.tensor_call(signature, loose_shapes=loose_shapes, raw_outputs=raw_outputs)
        else:
            call = servable.call(signature)
        asks_nothing = preprocessing is None and postprocessing is None and max_batch_rows is None and outputs is None
        if asks_nothing and priority == NORMAL_PRIORITY:
            return call
        return Call(
            call.signature,
            call.preprocessing.overridden(preprocessing),
            call.postprocessing.overridden(postprocessing),
            max_batch_rows,
            call.loose_shapes,
            outputs,
            call.defaults,
            priority,
        )

    async def run(self, admission: Admission, call: Call, tensors: Tensors, *, owned: bool = False) -> InferenceResult:
        """Preprocess, wait for a batch, run, postprocess; counts the success.

        Args:
            admission: from ``admit``.
            call: from ``prepare``.
            tensors: arrays that fit ``call.preprocessing.wire_specs``.
            owned: whether the arrays are given up and may be overwritten.

        Raises:
            TensorhostError: a step or the model failed, the queue was full, or the deadline passed.
        """
        make_timings = self._make_timings
        timings = make_timings()
        started = time.perf_counter()
        if call.defaults:
            tensors = {**call.defaults, **tensors}
        if call.preprocessing.passes(tensors):
            prepared = tensors
        elif call.preprocessing.is_slow(tensors):
            prepared = await self._on_a_thread(admission, call.preprocessing.apply, tensors, owned=owned)
        else:
            prepared = call.preprocessing.apply(tensors, owned=owned)
        timings.preprocessing_s = time.perf_counter() - started
        apart = False
        if call.loose_shapes:
            prepared, rows, apart = loosely_checked(call.signature, prepared)
        else:
            rows = checked_rows(call.signature, prepared)
        outputs = empty_outputs(call.signature) if rows == 0 else None
        if outputs is None:
            servable, name = admission.servable, call.signature.name
            queue = servable.apart_queue(name) if apart else servable.queue(name)
            outputs = await queue.call(
                prepared,
                rows=rows,
                deadline=admission.deadline,
                timings=timings,
                max_batch_rows=call.max_batch_rows,
                priority=call.priority,
            )
        started = time.perf_counter()
        if call.postprocessing.is_slow(outputs):
            answers = await self._on_a_thread(admission, call.postprocessing.apply, outputs)
        else:
            answers = call.postprocessing.apply(outputs)
        if call.outputs is not None:
            answers = {name: answers[name] for name in call.outputs if name in answers}
        timings.postprocessing_s = time.perf_counter() - started
        if admission.deadline <= self._clock():
            raise DeadlineExceededError("The deadline passed while the request ran.")
        admission.record_success(timings, rows)
        model_id = admission.servable.id
        return InferenceResult(answers, model_id.name, model_id.version, timings)

    async def _on_a_thread(self, admission: Admission, apply: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run a pipeline's slow steps off the event loop. Raises DeadlineExceededError when the time is up."""
        time_left_s = None if admission.deadline == math.inf else admission.deadline - self._clock()
        try:
            async with asyncio.timeout(time_left_s):
                return await asyncio.to_thread(apply, *args, **kwargs)
        except TimeoutError:
            raise DeadlineExceededError("The deadline passed while the request was pre- or postprocessed.") from None

    def _count_refusal(self, model: str, version: str | None, code: ErrorCode) -> None:
        known = self.manager.models().get(model)
        record = known.resolve(version) if known is not None else None
        if record is None:
            self.metrics.record_unattributed_error(code)
            return
        counters = self.metrics.version(*record.id)
        counters.requests += 1
        counters.record_error(code)
        if record.servable is None:
            # The collector takes a version asked for to be in use; this one must not stay visible for ever.
            self.metrics.forget(*record.id)
