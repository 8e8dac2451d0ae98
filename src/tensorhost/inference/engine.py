"""The engine: the data path from named tensors to named tensors, on one screen.

    admit → lease → preprocess → batch queue → model → postprocess → release

It knows no wire format. Front ends decode and encode; the manager loads; the batch queue merges.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tensorhost.batching.queue import RETRY_AFTER_S
from tensorhost.core.errors import (
    DeadlineExceededError,
    InvalidInputShapeError,
    ModelNotFoundError,
    OverloadedError,
    ShuttingDownError,
    TensorhostError,
)
from tensorhost.core.requests import InferenceResult, Timings
from tensorhost.core.signatures import Signature
from tensorhost.core.tensors import Array, Tensors
from tensorhost.inference.admission import Admission, InFlight
from tensorhost.inference.arrays import as_tensors
from tensorhost.models.manager import ModelManager
from tensorhost.pipelines import PostprocessingPipeline, PreprocessingPipeline


@dataclass(slots=True)
class Call:
    """What one request asks of a servable: a signature, and the pipelines around it."""

    signature: Signature
    preprocessing: PreprocessingPipeline
    postprocessing: PostprocessingPipeline
    max_batch_rows: int | None = None


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
        self._closed = False

    @property
    def in_flight(self) -> int:
        """Requests in the engine now."""
        return self._in_flight.count

    def close(self) -> None:
        """Refuse new requests with SHUTTING_DOWN; those inside finish."""
        self._closed = True

    def deadline(self, timeout_s: float | None) -> float:
        """The instant after which a request is not answered any more; None means the server's default."""
        timeout_s = self.manager.settings.request_timeout_s or math.inf if timeout_s is None else timeout_s
        return self._clock() + timeout_s

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
        """Let a request in, or refuse it at once. Use the admission in a ``with`` block.

        Raises:
            OverloadedError: as many requests as allowed are in flight.
            ShuttingDownError: the engine is closed.
            TensorhostError: there is nothing to lend, see ``ModelManager.lease``.
        """
        servable = self.manager.find(model, version)
        try:
            if self._closed:
                raise ShuttingDownError("The server is shutting down.", retry_after_s=RETRY_AFTER_S)
            in_flight = self._in_flight
            if in_flight.count >= in_flight.limit:
                raise OverloadedError(
                    f"The server is working on {in_flight.limit} requests, the most it may.",
                    retry_after_s=RETRY_AFTER_S,
                )
            in_flight.count += 1
            try:
                lease = await self.manager.lease(model, version, deadline) if servable is None else servable.lease()
            except BaseException:
                in_flight.count -= 1
                raise
        except TensorhostError as error:
            self._count_refusal(model, version, error)
            raise
        return Admission(lease, in_flight, deadline)

    def prepare(
        self,
        admission: Admission,
        signature: str | None = None,
        preprocessing: object = None,
        postprocessing: object = None,
        max_batch_rows: int | None = None,
    ) -> Call:
        """Resolve what a request asks for, before its tensors are decoded.

        Raises SignatureNotFoundError, InvalidPreprocessingError or InvalidPostprocessingError.
        """
        servable = admission.servable
        found = servable.signature(signature)
        return Call(
            found,
            servable.preprocessing(found.name).overridden(preprocessing),
            servable.postprocessing(found.name).overridden(postprocessing),
            max_batch_rows,
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
        timings = Timings()
        started = time.perf_counter()
        if call.preprocessing.is_slow(tensors):
            prepared = await asyncio.to_thread(call.preprocessing.apply, tensors, owned=owned)
        else:
            prepared = call.preprocessing.apply(tensors, owned=owned)
        timings.preprocessing_s = time.perf_counter() - started
        outputs = await self._execute(admission, call, prepared, timings)
        started = time.perf_counter()
        answers = call.postprocessing.apply(outputs)
        timings.postprocessing_s = time.perf_counter() - started
        if admission.deadline <= self._clock():
            raise DeadlineExceededError("The deadline passed while the request ran.")
        admission.record_success(timings)
        model_id = admission.servable.id
        return InferenceResult(answers, model_id.name, model_id.version, timings)

    async def _execute(self, admission: Admission, call: Call, tensors: Tensors, timings: Timings) -> dict[str, Array]:
        signature = call.signature
        for name, spec in signature.inputs.items():
            spec.check(tensors[name])
        queue = admission.servable.queue(signature.name)
        entry = queue.submit(
            tensors,
            rows=_rows(signature, tensors),
            deadline=admission.deadline,
            max_batch_rows=call.max_batch_rows,
        )
        waiter = entry.payload
        try:
            if admission.deadline == math.inf:
                outputs = await waiter.future
            else:
                async with asyncio.timeout(admission.deadline - self._clock()):
                    outputs = await waiter.future
        except TimeoutError:
            raise DeadlineExceededError("The deadline passed while the request waited or ran.") from None
        finally:
            if not waiter.future.done() or waiter.future.cancelled():
                queue.abandon(entry)
            timings.queue_s, timings.inference_s = waiter.queue_s, waiter.inference_s
        return outputs

    def _count_refusal(self, model: str, version: str | None, error: TensorhostError) -> None:
        try:
            record = self.manager.model(model).resolve(version)
        except ModelNotFoundError:
            record = None
        if record is None:
            self.metrics.record_unattributed_error(error.code)
            return
        counters = self.metrics.version(*record.id)
        counters.requests += 1
        counters.record_error(error.code)


def _rows(signature: Signature, tensors: Tensors) -> int:
    """Rows of the batch: the first dimension that the signature leaves free, 1 where there is none."""
    rows: int | None = None
    for name, spec in signature.inputs.items():
        if not spec.is_batchable:
            continue
        size = tensors[name].shape[0]
        if rows is not None and rows != size and signature.may_batch:
            raise InvalidInputShapeError(
                f"Input '{name}' has {size} rows where another input has {rows}.",
                details={"input": name, "expected": rows, "actual": size},
            )
        rows = size if rows is None else rows
    return 1 if rows is None else rows
