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
from dataclasses import replace
from functools import partial

from tensorhost.batching.slots import CallSlots
from tensorhost.core.errors import (
    MisconfiguredModelError,
    OutOfMemoryError,
    RuntimeMissingError,
    ShuttingDownError,
    TensorhostError,
    UnsupportedModelError,
    UntrustedModelError,
)
from tensorhost.core.ids import ModelId
from tensorhost.models.batching import with_own_parameters
from tensorhost.models.catalog import RETRY_AFTER_S, Catalog
from tensorhost.models.loading import (
    LoadedVersion,
    LoadRequest,
    as_failure,
    expected_need,
    load_version,
    log_findings,
    lower_priority,
    prepare_for,
    prepare_runtime,
    release_memory,
)
from tensorhost.models.overrides import first_runs, load_options, queue_options, warmup_options
from tensorhost.models.probe import FirstRuns, Prober
from tensorhost.models.probe_messages import Examined
from tensorhost.models.probe_trial import ModelCrashedError, ModelTooLargeError
from tensorhost.models.reconcile import backoff_s
from tensorhost.models.records import ModelRecord, Probed, VersionRecord
from tensorhost.models.repository import version_folder
from tensorhost.models.reservations import Reservations
from tensorhost.models.servable import Servable
from tensorhost.models.sharing import LoadSharing, Unshared
from tensorhost.models.states import VersionState
from tensorhost.models.trials import Trials, Tried
from tensorhost.runtimes import ModelFormat
from tensorhost.runtimes.base import RuntimeName
from tensorhost.settings import Settings
from tensorhost.telemetry import MetricsCollector, get_logger

_LONGEST_WAIT_FOR_MEMORY_S = 30.0
_IDLE_MARGIN_S = 1.0

_HOPELESS = (
    RuntimeMissingError,
    UnsupportedModelError,
    MisconfiguredModelError,
    UntrustedModelError,
    ModelCrashedError,
    ModelTooLargeError,
)
"""Failures that the next attempt at the same files would only repeat."""

log = get_logger(__name__)


class Lifecycle:
    """Loads and unloads versions of a catalog.

    Args:
        catalog: whose records are moved.
        settings: limits and defaults.
        metrics: where loads are counted and versions get their counters.
        clock: seconds, on the event loop's time base.
        on_change: called after each change that a lookup or a waiter may care about.
        sharing: how loading is shared with other processes; None when this one is alone.
    """

    def __init__(
        self,
        catalog: Catalog,
        settings: Settings,
        metrics: MetricsCollector,
        on_change: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
        sharing: LoadSharing | None = None,
    ) -> None:
        self._catalog = catalog
        self._sharing = sharing or Unshared()
        self._settings = settings
        self._metrics = metrics
        self._on_change = on_change
        self._clock = clock
        self._threads: ThreadPoolExecutor | None = None
        # Of their own, so that one model is tried while another is loaded.
        self._probe_threads: ThreadPoolExecutor | None = None
        memory_bytes = None if settings.probe_memory is None else int(settings.probe_memory)
        self._prober = Prober(settings.probe_timeout_s, memory_bytes)
        self._trials = Trials(self._prober, settings)
        self._clearing: asyncio.TimerHandle | None = None
        self._stopping = False
        budget_bytes = None if settings.memory_budget is None else int(settings.memory_budget)
        self._memory = Reservations(catalog, budget_bytes, self._evict)
        self._slots = CallSlots(settings.num_batch_threads) if settings.num_batch_threads else None

    def stop_loading(self) -> None:
        """Begin no load any more, and end the child processes. Loads that wait for a thread or for a child end with
        SHUTTING_DOWN, those that run finish."""
        self._stopping = True
        if self._clearing is not None:
            self._clearing.cancel()
        self._trials.stop()
        self._prober.close()
        for threads in (self._threads, self._probe_threads):
            if threads is not None:
                threads.shutdown(wait=False, cancel_futures=True)

    def close(self) -> None:
        """End the loader's threads, after what they are doing. Blocks."""
        for threads in (self._threads, self._probe_threads):
            if threads is not None:
                threads.shutdown(wait=True)
        self._threads = self._probe_threads = None
        self._trials.close()

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
        await self._memory.shrink(record)

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
        await self._memory.shrink(record)

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
        if self._settings.per_version_batching:
            config = await asyncio.to_thread(with_own_parameters, config, version_folder(files.path))
        request = LoadRequest(
            record.id,
            files,
            model.folder,
            config,
            load_options(self._settings, config),
            warmup_options(self._settings, config),
        )
        loop = asyncio.get_running_loop()
        try:
            need_bytes = max(files.size_bytes, record.known_bytes)
            await self._memory.reserve(record, need_bytes, need_bytes)
            log.info("loading", model=str(record.id), format=files.format and files.format.value)
            tried = await self._try(record, request)
            request = replace(request, tried=tried, on_useless=partial(self._useless, loop, record, tried))

            def warming() -> None:
                loop.call_soon_threadsafe(on_warming)

            async with self._sharing.turn():
                if self._stopping:
                    raise _stopped()
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

    def _useless(self, loop: asyncio.AbstractEventLoop, record: VersionRecord, tried: Tried) -> None:
        """What is known of a version led nowhere: try it anew the next time. Called on the loader's thread."""
        self._trials.forget(tried)

        def forget() -> None:
            record.probed = None

        loop.call_soon_threadsafe(forget)

    async def _try(self, record: VersionRecord, request: LoadRequest) -> Tried:
        """Try the version in a child process, unless the same was tried before, and import what will execute it; then
        set aside the memory it turned out to need."""
        runs = first_runs(self._settings, request.config, request.folder)
        files, options = request.on_disk, request.load
        # From an ordinary thread: what a runtime starts for good must not inherit the loader's low priority. The
        # model's own modules are its code, and wait until it has passed.
        plain = replace(options, model_modules=())
        trying = self._trying(record, request, runs)
        if options.runtime is RuntimeName.NATIVE:
            # Nothing else can come of it, so both are done at once.
            preparing = asyncio.to_thread(prepare_runtime, files.format, plain)
            tried, prepared = await asyncio.gather(trying, preparing, return_exceptions=True)
            for failure in (tried, prepared):
                if isinstance(failure, BaseException):
                    raise failure
            assert isinstance(tried, Tried)  # for the type checker: what is no exception
        else:
            tried = await trying
            await asyncio.to_thread(prepare_for, files.format, plain, tried)
        if self._stopping:
            raise _stopped()
        report = tried.report
        if report is not None:
            record.probed = Probed(files.fingerprint, options, runs, tried)
            await self._memory.reserve(record, max(record.known_bytes, expected_need(report)), report.peak_bytes)
        return tried

    async def _trying(self, record: VersionRecord, request: LoadRequest, runs: FirstRuns) -> Tried:
        passed = record.probed
        if passed is not None and passed.covers(request.on_disk, request.load, runs):
            log_findings(record.id, Examined.of(passed.tried.report.contents.findings if passed.tried.report else ()))
            return passed.again()
        if request.on_disk.format is None:
            return Tried()
        async with self._sharing.trial():
            return await self._try_now(record, request, request.on_disk.format, runs)

    async def _try_now(
        self, record: VersionRecord, request: LoadRequest, model_format: ModelFormat, runs: FirstRuns
    ) -> Tried:
        if self._stopping:
            raise _stopped()
        if self._probe_threads is None:
            self._probe_threads = ThreadPoolExecutor(self._settings.load_threads, thread_name_prefix="load-probe")
        try:
            return await asyncio.get_running_loop().run_in_executor(
                self._probe_threads,
                self._trials.run,
                record.id,
                request.on_disk.path,
                model_format,
                request.load,
                runs,
                partial(log_findings, record.id),
            )
        finally:
            self._clear_idle_later()

    def _clear_idle_later(self) -> None:
        """Have children that end themselves, being idle, cleared away."""
        if self._stopping:
            return
        if self._clearing is not None:
            self._clearing.cancel()
        after_s = self._prober.idle_s + _IDLE_MARGIN_S
        self._clearing = asyncio.get_running_loop().call_later(after_s, self._prober.end_idle)

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
            probe_s=round(loaded.probe_s, 3),
            warmup_s=round(loaded.warmup_s, 3),
            memory_mib=round(loaded.memory_bytes / 2**20, 1),
            runtime=loaded.runtime.name,
        )
        for name, decision in loaded.decisions.items():
            log.info("runtime chosen", model=str(record.id), signature=name, **decision.summary())
        for name, reason in loaded.disabled_optimizations.items():
            log.warning("served without an optimisation", model=str(record.id), optimization=name, reason=reason)

    def _note_failure(self, record: VersionRecord, error: TensorhostError) -> bool:
        """Keep the error and set the next attempt; True when this was the last."""
        record.error = as_failure(error)
        record.attempts += 1
        most_attempts: float = record.attempts if isinstance(error, _HOPELESS) else self._settings.load_attempts
        wait_s = self._settings.load_retry_interval_s
        if wait_s is None:
            wait_s = backoff_s(record.attempts, self._settings.load_backoff_s)
        if isinstance(error, OutOfMemoryError) and not isinstance(error, _HOPELESS):
            # Not the fault of the files, and room may come at any time. A lazy model waits for its next request.
            most_attempts = math.inf
            wait_s = min(wait_s, _LONGEST_WAIT_FOR_MEMORY_S)
            record.asked_for = False
        given_up = record.attempts >= most_attempts
        record.next_attempt_at = math.inf if given_up else self._clock() + wait_s
        self._metrics.record_load("failed")
        log.error(
            "load failed",
            model=str(record.id),
            code=error.code.value,
            reason=error.message,
            detail=error.log_detail,
            attempt=str(record.attempts) if math.isinf(most_attempts) else f"{record.attempts} of {most_attempts}",
        )
        return given_up

    def _make_servable(self, record: VersionRecord, loaded: LoadedVersion) -> Servable:
        metrics = self._metrics.version(*record.id)
        metrics.load_s, metrics.warmup_s = loaded.load_s, loaded.warmup_s
        metrics.weights_bytes, metrics.memory_bytes = loaded.runtime.weights_bytes, loaded.memory_bytes
        options = {name: queue_options(self._settings, loaded.config, plan) for name, plan in loaded.plans.items()}
        metrics.queue_limit_rows = max((each.max_queue_rows for each in options.values()), default=0)
        traced, slots = self._settings.tracing, self._slots
        return Servable(record.id, loaded, metrics, options, self._clock, traced=traced, slots=slots)

    # -- unloading -------------------------------------------------------------------------------------------------

    async def _evict(self, model_id: ModelId, reason: str) -> None:
        """Unload an idle lazy version until it is asked for again."""
        log.info("evicting", model=str(model_id), reason=reason)
        record = self._catalog.models[model_id.name].versions[model_id.version]
        record.busy = True
        try:
            await self.unload(record, VersionState.NEW)
        finally:
            record.busy = False
            self._on_change()

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
