"""Carries out what was decided: loads a version, replaces one, unloads one, makes room for one.

Each is a coroutine on the event loop that moves the record through its states; what blocks runs on the loader's own
low-priority threads. It decides nothing about which versions are wanted.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from tensorhost.batching.queue import QueueOptions
from tensorhost.core.errors import (
    MisconfiguredModelError,
    OutOfMemoryError,
    RuntimeMissingError,
    ShuttingDownError,
    TensorhostError,
    UnsupportedModelError,
)
from tensorhost.core.ids import ModelId
from tensorhost.models.budget import Evictable, make_room
from tensorhost.models.catalog import RETRY_AFTER_S, Catalog
from tensorhost.models.config import ModelConfig
from tensorhost.models.loading import (
    LoadedVersion,
    LoadRequest,
    as_failure,
    load_version,
    lower_priority,
    prepare_runtime,
    release_memory,
)
from tensorhost.models.reconcile import backoff_s
from tensorhost.models.records import ModelRecord, VersionRecord, used_bytes
from tensorhost.models.servable import Servable
from tensorhost.models.states import VersionState
from tensorhost.models.warmup import WarmupOptions
from tensorhost.runtimes.base import LoadOptions, Trust
from tensorhost.settings import Settings
from tensorhost.telemetry import MetricsCollector, available_memory_bytes, get_logger

_LONGEST_WAIT_FOR_MEMORY_S = 30.0

log = get_logger(__name__)


class Lifecycle:
    """Loads and unloads versions of a catalog.

    Args:
        catalog: whose records are moved.
        settings: limits and defaults.
        metrics: where loads are counted and versions get their counters.
        clock: seconds, on the event loop's time base.
        on_change: called after each change that a lookup or a waiter may care about.
    """

    def __init__(
        self,
        catalog: Catalog,
        settings: Settings,
        metrics: MetricsCollector,
        on_change: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._catalog = catalog
        self._settings = settings
        self._metrics = metrics
        self._on_change = on_change
        self._clock = clock
        self._threads: ThreadPoolExecutor | None = None
        self._stopping = False
        # One at a time: what one load evicts must be gone before the next one counts what there is.
        self._reserving = asyncio.Lock()

    def stop_loading(self) -> None:
        """Begin no load any more; those that wait for a thread end with SHUTTING_DOWN, those that run finish."""
        self._stopping = True
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)

    def close(self) -> None:
        """End the loader's threads, after what they are doing. Blocks."""
        if self._threads is not None:
            self._threads.shutdown(wait=True)
            self._threads = None

    async def load(self, record: VersionRecord) -> None:
        """Load a version and let it serve. A failure is kept in the record, not raised."""
        model = self._catalog.models[record.id.name]
        if record.state is VersionState.END:
            record.move(VersionState.NEW)
        record.move(VersionState.LOADING)
        try:
            loaded = await self._read(model, record, lambda: record.move(VersionState.WARMING))
        except ShuttingDownError:
            record.move(VersionState.NEW)
            return
        except TensorhostError as error:
            given_up = self._note_failure(record, error)
            record.move(VersionState.END if given_up else VersionState.NEW)
            return
        self._install(record, loaded)
        record.move(VersionState.AVAILABLE)
        self._refresh(model)
        await self._shrink(record)

    async def replace(self, record: VersionRecord) -> None:
        """Load the changed files or settings of a version that serves, then swap. On failure the old go on serving."""
        model = self._catalog.models[record.id.name]
        old = record.servable
        try:
            loaded = await self._read(model, record, lambda: None)
        except ShuttingDownError:
            return
        except TensorhostError as error:
            self._note_failure(record, error)
            return
        self._install(record, loaded)
        self._refresh(model)
        if old is not None:
            await self._drain(old)
            await asyncio.to_thread(_close, old)
        await self._shrink(record)

    async def unload(self, record: VersionRecord, to: VersionState = VersionState.END) -> None:
        """Take a version out of sight, wait for its requests, give its memory back."""
        servable = record.servable
        if servable is None:
            return
        record.move(VersionState.DRAINING)
        # Before anything is waited for: a request that comes while it drains asks for it anew.
        record.asked_for = False
        self._refresh(self._catalog.models[record.id.name])
        await self._drain(servable)
        record.move(VersionState.UNLOADING)
        try:
            await asyncio.to_thread(_close, servable)
        finally:
            record.servable = None
            record.served_fingerprint = None
            record.error = None
            record.forgive()
            record.move(to)
            self._metrics.forget(record.id.name, record.id.version)
            log.info("unloaded", model=str(record.id))
            self._on_change()

    # -- loading ---------------------------------------------------------------------------------------------------

    async def _read(self, model: ModelRecord, record: VersionRecord, on_warming: Callable[[], None]) -> LoadedVersion:
        # Taken together, before anything is waited for: a look may change both meanwhile.
        files, config = record.on_disk, model.config
        loop = asyncio.get_running_loop()
        try:
            await self._reserve(record)
            # From an ordinary thread: what a runtime starts for good must not inherit the loader's low priority.
            await asyncio.to_thread(prepare_runtime, files.format, self._load_options(config))
            if self._stopping:
                raise _stopped()
            log.info("loading", model=str(record.id), format=files.format and files.format.value)
            request = LoadRequest(
                record.id, files, model.folder, config, self._load_options(config), self._warmup_options(config)
            )

            def warming() -> None:
                loop.call_soon_threadsafe(on_warming)

            loaded = await loop.run_in_executor(self._loader_threads(), load_version, request, warming)
        except asyncio.CancelledError:
            if not self._stopping:
                raise
            raise _stopped() from None
        except Exception as error:  # noqa: BLE001 - border of a load attempt: a runtime may even fail to be imported
            raise as_failure(error) from None
        finally:
            record.reserved_bytes = 0
        record.served_fingerprint = files.fingerprint
        return loaded

    def _install(self, record: VersionRecord, loaded: LoadedVersion) -> None:
        record.servable = self._make_servable(record, loaded)
        record.known_bytes = loaded.memory_bytes
        record.error = None
        record.forgive()
        self._metrics.record_load("succeeded")
        log.info(
            "available",
            model=str(record.id),
            load_s=round(loaded.load_s, 3),
            warmup_s=round(loaded.warmup_s, 3),
            memory_mib=round(loaded.memory_bytes / 2**20, 1),
        )

    def _note_failure(self, record: VersionRecord, error: TensorhostError) -> bool:
        """Keep the error and set the next attempt; True when this was the last."""
        record.error = as_failure(error)
        record.attempts += 1
        hopeless = isinstance(error, RuntimeMissingError | UnsupportedModelError | MisconfiguredModelError)
        given_up = hopeless or record.attempts >= self._settings.load_attempts
        wait_s = backoff_s(record.attempts, self._settings.load_backoff_s)
        if isinstance(error, OutOfMemoryError):
            # Not the fault of the files, and room may come at any time. A lazy model waits for its next request.
            given_up = False
            wait_s = min(wait_s, _LONGEST_WAIT_FOR_MEMORY_S)
            record.asked_for = False
        record.next_attempt_at = math.inf if given_up else self._clock() + wait_s
        self._metrics.record_load("failed")
        log.error(
            "load failed",
            model=str(record.id),
            code=error.code.value,
            reason=error.message,
            detail=error.log_detail,
            attempt=f"{record.attempts} of {record.attempts if hopeless else self._settings.load_attempts}",
        )
        return given_up

    def _make_servable(self, record: VersionRecord, loaded: LoadedVersion) -> Servable:
        metrics = self._metrics.version(*record.id)
        metrics.load_s, metrics.warmup_s = loaded.load_s, loaded.warmup_s
        metrics.weights_bytes, metrics.memory_bytes = loaded.runtime.weights_bytes, loaded.memory_bytes
        batching = loaded.config.batching
        timeout_ms = self._settings.batch_timeout_ms if batching.batch_timeout_ms is None else batching.batch_timeout_ms
        options = {
            name: QueueOptions(
                batched=found.batched,
                max_batch_rows=batching.max_batch_size or self._settings.max_batch_size,
                batch_timeout_s=timeout_ms / 1000,
                max_queue_rows=batching.max_queue_rows or self._settings.max_queue_rows,
                inline_rows=found.inline_rows,
                inline_elements=found.inline_elements,
            )
            for name, found in loaded.plans.items()
        }
        return Servable(record.id, loaded, metrics, options, self._clock)

    def _load_options(self, config: ModelConfig) -> LoadOptions:
        settings = self._settings
        return LoadOptions(
            intra_op_threads=settings.intra_op_threads,
            inter_op_threads=settings.inter_op_threads,
            modules=settings.import_modules,
            model_modules=config.imports,
            op_libraries=settings.custom_op_libraries,
            allow_lambda=settings.allow_lambda,
            trust=Trust(settings.trust),
            graph_inputs=config.graph.inputs,
            graph_outputs=config.graph.outputs,
            dequantize=config.tflite.dequantize,
        )

    def _warmup_options(self, config: ModelConfig) -> WarmupOptions:
        iterations = config.warmup.iterations
        return WarmupOptions(
            iterations=self._settings.warmup_iterations if iterations is None else iterations,
            max_batch_rows=config.batching.max_batch_size or self._settings.max_batch_size,
            batching=config.batching.enabled,
            threshold_s=self._settings.inline_threshold_ms / 1000,
        )

    # -- memory ----------------------------------------------------------------------------------------------------

    async def _reserve(self, record: VersionRecord) -> None:
        """Set memory aside for a load, evicting idle lazy versions if need be. Raises OutOfMemoryError."""
        need = max(record.on_disk.size_bytes, record.known_bytes)
        if need > available_memory_bytes():
            raise OutOfMemoryError(
                f"Loading '{record.id}' needs at least {need} bytes, more than the machine has free.",
                details={"neededBytes": need},
            )
        async with self._reserving:
            if not await self._make_room(need, record):
                used, budget = used_bytes(self._catalog.models.values()), self._budget_bytes()
                raise OutOfMemoryError(
                    f"Loading '{record.id}' needs at least {need} bytes; {used} of a budget of {budget} are in use.",
                    details={"neededBytes": need, "usedBytes": used, "budgetBytes": budget},
                )
            record.reserved_bytes = need

    async def _shrink(self, record: VersionRecord) -> None:
        """Keep to the budget when a load took more than was foreseen."""
        async with self._reserving:
            fits = await self._make_room(0, record)
        if not fits:
            log.warning("over the memory budget", model=str(record.id), used=used_bytes(self._catalog.models.values()))

    async def _make_room(self, need_bytes: int, record: VersionRecord) -> bool:
        # Asked anew after each: what was idle may be in use by the time the one before it is gone.
        while going := self._to_evict(need_bytes, record):
            await self._evict(going[0], f"room for {record.id}")
        return going is not None

    def _to_evict(self, need_bytes: int, record: VersionRecord) -> list[ModelId] | None:
        models = self._catalog.models.values()
        evictable = [
            Evictable(other.id, other.memory_bytes, other.servable.last_used)
            for model in models
            for other in model.versions.values()
            if model.lazy and other.available and not (other.busy or other.pinned or other.waiters or other is record)
            if other.servable is not None and other.servable.leases == 0
        ]
        return make_room(
            need_bytes, used_bytes=used_bytes(models), budget_bytes=self._budget_bytes(), evictable=evictable
        )

    async def _evict(self, model_id: ModelId, reason: str) -> None:
        log.info("evicting", model=str(model_id), reason=reason)
        record = self._catalog.models[model_id.name].versions[model_id.version]
        record.busy = True
        try:
            await self.unload(record, VersionState.NEW)
        finally:
            record.busy = False
            self._on_change()

    def _budget_bytes(self) -> int | None:
        return None if self._settings.memory_budget is None else int(self._settings.memory_budget)

    # -- unloading -------------------------------------------------------------------------------------------------

    async def _drain(self, servable: Servable) -> None:
        """Wait for the leases, up to the time allowed, and refuse what still waits then."""
        if not await servable.drain(self._settings.unload_timeout_s):
            log.warning("unloading cuts off requests", model=str(servable.id), leases=servable.leases)
        servable.refuse_all()

    def _refresh(self, model: ModelRecord) -> None:
        self._catalog.refresh(model)
        self._on_change()

    def _loader_threads(self) -> ThreadPoolExecutor:
        if self._threads is None:
            self._threads = ThreadPoolExecutor(
                self._settings.load_threads, thread_name_prefix="load", initializer=lower_priority
            )
        return self._threads


def _stopped() -> ShuttingDownError:
    return ShuttingDownError("The server is shutting down.", retry_after_s=RETRY_AFTER_S)


def _close(servable: Servable) -> None:
    """Close a model and give its memory back. Blocks.

    Not on the loader's threads: a call that never ends must hold up no other model.
    """
    servable.close()
    release_memory()
