"""A servable: one loaded version with its queues, and the leases on it.

A request borrows a lease before it touches the model and gives it back when its answer is made. Unloading takes the
servable out of sight first and then waits for the last lease, so a session is never closed under a running call.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from types import TracebackType
from typing import Self

from tensorhost.batching.entries import NORMAL_PRIORITY
from tensorhost.batching.options import QueueOptions
from tensorhost.batching.queue import BatchQueue
from tensorhost.batching.slots import CallSlots
from tensorhost.batching.traced import CallTracer
from tensorhost.core.errors import ModelNotReadyError, SignatureNotFoundError, TensorhostError
from tensorhost.core.ids import ModelId
from tensorhost.core.signatures import Signature
from tensorhost.core.tensors import Array, Tensors
from tensorhost.models.loading import LoadedVersion
from tensorhost.pipelines import PostprocessingPipeline, PreprocessingPipeline
from tensorhost.telemetry import VersionMetrics, get_logger

log = get_logger(__name__)

RunSignature = Callable[[str, Tensors], dict[str, Array]]
"""One call of a signature, by its name; see ``Runtime.run``."""


@dataclass(frozen=True, slots=True)
class Call:
    """What one request asks of a servable.

    Attributes:
        signature: what is called.
        preprocessing, postprocessing: the pipelines around it.
        max_batch_rows: the request's own ceiling on rows of a call.
        loose_shapes: whether the model may be asked about shapes that the signature does not admit.
        outputs: names of the outputs that are wanted, in this order; None for all.
        defaults: values of inputs that the request may leave out, by name.
        priority: of the request among those that wait; see ``BatchQueue.call``.
    """

    signature: Signature
    preprocessing: PreprocessingPipeline
    postprocessing: PostprocessingPipeline
    max_batch_rows: int | None = None
    loose_shapes: bool = False
    outputs: Collection[str] | None = None
    defaults: Tensors = field(default_factory=dict)
    priority: int = NORMAL_PRIORITY


class Servable:
    """One loaded version, serving.

    Args:
        model_id: name and version.
        loaded: runtime, configuration and warm-up's findings.
        metrics: the version's counters.
        queue_options: how each signature is batched.
        clock: seconds, on the event loop's time base.
        traced: whether calls are told to tracing.
        slots: shared with other servables whose calls on threads are limited together; None for no limit.
    """

    def __init__(
        self,
        model_id: ModelId,
        loaded: LoadedVersion,
        metrics: VersionMetrics,
        queue_options: Mapping[str, QueueOptions],
        clock: Callable[[], float] = time.monotonic,
        *,
        traced: bool = False,
        slots: CallSlots | None = None,
    ) -> None:
        self.id = model_id
        self.loaded = loaded
        self.metrics = metrics
        self.loaded_at = datetime.now(UTC)
        self.last_used = self._made = clock()
        self._clock = clock
        self._leases = 0
        self._released: asyncio.Event | None = None
        self._executor = ThreadPoolExecutor(1, thread_name_prefix=f"run-{model_id}")
        self._runs_on: Executor = self._executor if slots is None else slots.of(self._executor)
        self._traced = traced
        self._queue_options = queue_options
        self._queues = {
            name: self._make_queue(name, loaded.runtime.run, options) for name, options in queue_options.items()
        }
        self._apart: dict[str, BatchQueue] = {}
        self._refuses = False
        self._calls: dict[str | tuple[str | None, bool, bool] | None, Call] = {}
        metrics.queue_rows = self.queue_rows
        metrics.waiting_requests = self.waiting_requests
        metrics.batch_limit_rows = self.batch_limit_rows

    @property
    def leases(self) -> int:
        """How many requests hold this servable now."""
        return self._leases

    @property
    def last_used_at(self) -> datetime | None:
        """When the last request was done with it; None before the first."""
        if self.last_used == self._made:
            return None
        return datetime.now(UTC) - timedelta(seconds=self._clock() - self.last_used)

    def queue_rows(self) -> int:
        """Rows waiting in all queues."""
        return sum(queue.queue_rows for queue in (*self._queues.values(), *self._apart.values()))

    def waiting_requests(self) -> int:
        """Requests waiting in all queues."""
        return sum(queue.waiting_requests for queue in (*self._queues.values(), *self._apart.values()))

    def batch_limit_rows(self) -> int:
        """Most rows that a call of the default signature takes now."""
        return next((queue.limit_rows for queue in self._queues.values()), 0)

    def signature(self, name: str | None) -> Signature:
        """The named signature, or the default one. Raises SignatureNotFoundError listing what there is."""
        signatures = self.loaded.runtime.signatures
        if name is None:
            return next(iter(signatures.values()))
        signature = signatures.get(name)
        if signature is None:
            raise SignatureNotFoundError(
                f"Model '{self.id.name}' version '{self.id.version}' has no signature '{name[:128]}'; "
                f"it has: {', '.join(signatures)}.",
                details={"signatures": list(signatures)},
            )
        return signature

    def queue(self, signature: str) -> BatchQueue:
        """Where requests for this signature wait."""
        return self._queues[signature]

    def apart_queue(self, signature: str) -> BatchQueue:
        """Where requests for this signature wait that can share no call, having shapes that it does not admit.

        Each gets a call of its own on the servable's thread: what the model makes of such shapes, and how long it
        takes, is known of none of them. Made when first needed, which is never for most models.
        """
        queue = self._apart.get(signature)
        if queue is None:
            options = replace(
                self._queue_options[signature],
                batched=False,
                batch_timeout_s=0.0,
                inline_rows=0,
                target_latency_s=0.0,
                padding=(),
            )
            queue = self._apart[signature] = self._make_queue(signature, self.loaded.runtime.run_loosely, options)
            if self._refuses:
                queue.close(self._unloaded)
        return queue

    def call(self, signature: str | None) -> Call:
        """The call of the named signature, or the default one, with what model.toml asks for and nothing else.

        Made once, since most requests ask for nothing else. Raises SignatureNotFoundError listing what there is.
        """
        call = self._calls.get(signature)
        if call is None:
            found = self.signature(signature)
            before, after = self.loaded.preprocessing[found.name], self.loaded.postprocessing[found.name]
            call = self._calls[signature] = Call(found, before, after)
        return call

    def tensor_call(self, signature: str | None, *, loose_shapes: bool, raw_outputs: bool) -> Call:
        """``call`` for protocols of tensors; see ``InferenceEngine.prepare``. Made once for each combination."""
        key = (signature, loose_shapes, raw_outputs)
        call = self._calls.get(key)
        if call is None:
            call = self.call(signature)
            defaults = self.loaded.input_defaults.get(call.signature.name, {}) if loose_shapes else {}
            after = call.postprocessing.of_tensors() if raw_outputs else call.postprocessing
            call = replace(call, postprocessing=after, loose_shapes=loose_shapes, defaults=defaults)
            self._calls[key] = call
        return call

    def lease(self) -> Lease:
        """Borrow this servable until the lease is released."""
        self._leases += 1
        return Lease(self)

    async def drain(self, timeout_s: float) -> bool:
        """Wait until the last lease is back, for at most ``timeout_s``; False if the time was up first."""
        if self._leases == 0:
            return True
        self._released = asyncio.Event()
        try:
            async with asyncio.timeout(timeout_s):
                await self._released.wait()
        except TimeoutError:
            return False
        return True

    def refuse_all(self) -> None:
        """Answer every request still waiting with MODEL_NOT_READY."""
        self._refuses = True
        for queue in (*self._queues.values(), *self._apart.values()):
            queue.close(self._unloaded)

    def close(self) -> None:
        """Wait for a call still running, then let go of the model. Blocks; not for the event loop."""
        self._executor.shutdown(wait=True)
        self.loaded.runtime.close()

    def _make_queue(self, name: str, run: RunSignature, options: QueueOptions) -> BatchQueue:
        return BatchQueue(
            lambda inputs: run(name, inputs),
            options,
            self._runs_on,
            self.metrics.record_batch,
            self._clock,
            self.metrics.record_late,
            CallTracer(self.id, name, self.loaded.runtime.name) if self._traced else None,
            partial(self._note_move, name),
        )

    def _note_move(self, signature: str, before: int, now: int, seconds: float) -> None:
        log.info(
            "calls leave the event loop" if now < before else "calls return to the event loop",
            model=str(self.id),
            signature=signature,
            inline_rows=now,
            call_ms=round(seconds * 1000, 3),
        )

    def _unloaded(self) -> TensorhostError:
        return ModelNotReadyError(
            f"Model '{self.id.name}' version '{self.id.version}' was unloaded.", retry_after_s=1.0
        )

    def _give_back(self) -> None:
        self._leases -= 1
        self.last_used = self._clock()
        if self._leases == 0 and self._released is not None:
            self._released.set()


class Lease:
    """A counted borrowing of a servable. Released once, however often asked."""

    __slots__ = ("_held", "servable")

    def __init__(self, servable: Servable) -> None:
        self.servable = servable
        self._held = True

    def release(self) -> None:
        """Give the servable back."""
        if self._held:
            self._held = False
            self.servable._give_back()  # noqa: SLF001 - a lease is the servable's own other half

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
