"""A servable: one loaded version with its queues, and the leases on it.

A request borrows a lease before it touches the model and gives it back when its answer is made. Unloading takes the
servable out of sight first and then waits for the last lease, so a session is never closed under a running call.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Self

from tensorhost.batching.queue import BatchQueue, QueueOptions
from tensorhost.batching.traced import CallTracer
from tensorhost.core.errors import ModelNotReadyError, SignatureNotFoundError, TensorhostError
from tensorhost.core.ids import ModelId
from tensorhost.core.signatures import Signature
from tensorhost.core.tensors import Array, Tensors
from tensorhost.models.loading import LoadedVersion
from tensorhost.pipelines import PostprocessingPipeline, PreprocessingPipeline
from tensorhost.telemetry import VersionMetrics


@dataclass(frozen=True, slots=True)
class Call:
    """What one request asks of a servable: a signature, the pipelines around it, and its own ceiling on rows."""

    signature: Signature
    preprocessing: PreprocessingPipeline
    postprocessing: PostprocessingPipeline
    max_batch_rows: int | None = None


class Servable:
    """One loaded version, serving.

    Args:
        model_id: name and version.
        loaded: runtime, configuration and warm-up's findings.
        metrics: the version's counters.
        queue_options: how each signature is batched.
        clock: seconds, on the event loop's time base.
        traced: whether calls are told to tracing.
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
        self._queues = {
            name: BatchQueue(
                _bind(loaded, name),
                options,
                self._executor,
                metrics.record_batch,
                clock,
                metrics.record_late,
                CallTracer(model_id, name, loaded.runtime.name) if traced else None,
            )
            for name, options in queue_options.items()
        }
        self._calls: dict[str | None, Call] = {}
        metrics.queue_rows = self.queue_rows
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
        return sum(queue.queue_rows for queue in self._queues.values())

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
        for queue in self._queues.values():
            queue.close(self._unloaded)

    def close(self) -> None:
        """Wait for a call still running, then let go of the model. Blocks; not for the event loop."""
        self._executor.shutdown(wait=True)
        self.loaded.runtime.close()

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


def _bind(loaded: LoadedVersion, signature: str) -> Callable[[Tensors], dict[str, Array]]:
    run = loaded.runtime.run
    return lambda inputs: run(signature, inputs)
