"""The manager: makes what is loaded equal to what is wanted, and lends servables to requests.

One task looks at the disk, asks the pure ``reconcile.plan`` what to do, and starts the lifecycle's coroutines for
it. Requests never wait for that task: a lookup is two dictionary reads. What stays true: a version that fails
touches no other; an old version serves until the new one does; a servable is closed only after its last lease is
back; all state is changed on the event loop's thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import unquote, urlsplit

from tensorhost.core.errors import DeadlineExceededError, InvalidRequestError, ModelFailedError, ModelNotReadyError
from tensorhost.core.ids import check_name
from tensorhost.models.catalog import Catalog
from tensorhost.models.lifecycle import Lifecycle
from tensorhost.models.reconcile import plan
from tensorhost.models.records import ModelRecord, VersionRecord
from tensorhost.models.repository import describe_path, scan
from tensorhost.models.servable import Lease, Servable
from tensorhost.settings import Settings
from tensorhost.telemetry import MetricsCollector, get_logger

_SHORTEST_LOOK_S = 0.1

log = get_logger(__name__)


class ModelManager:
    """Loads, keeps and unloads models.

    Constructing is free. ``open`` starts looking at the repository; without it, models come only by ``load_model``.

    Args:
        settings: limits and defaults; None for the defaults, whatever the environment says.
        repository: what to serve, as ``Settings.model_path``; None for nothing.
        metrics: where loads and requests are counted.
        clock: seconds, on the event loop's time base.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        repository: Path | None = None,
        metrics: MetricsCollector | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.settings = settings or Settings.model_construct()
        self.metrics = metrics or MetricsCollector()
        self._repository = repository
        self._clock = clock
        self._catalog = Catalog(self.settings)
        self._lifecycle = Lifecycle(self._catalog, self.settings, self.metrics, self._notify, clock)
        self.metrics.models_by_state = self._catalog.count_states
        self._reconciler: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._changed = asyncio.Event()
        self._settled = repository is None
        self._closing = False

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def open(self) -> None:
        """Start reconciling with the repository. Returns at once; ``wait_settled`` waits for the first loads."""
        if self._repository is not None and self._reconciler is None:
            self._reconciler = asyncio.create_task(self._reconcile_forever(self._repository), name="reconcile models")

    async def close(self) -> None:
        """Stop reconciling, wait for running loads, unload everything."""
        self._closing = True
        if self._reconciler is not None:
            self._reconciler.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._reconciler
            self._reconciler = None
        while self._tasks:
            await asyncio.wait(self._tasks)
        for record in list(self._catalog.records()):
            if record.available:
                await self._lifecycle.unload(record)
        await asyncio.to_thread(self._lifecycle.close)

    # -- what requests ask -----------------------------------------------------------------------------------------

    def find(self, name: str, version: str | None = None) -> Servable | None:
        """The servable for a version, a label or (None) the newest; None when there is none to lend right now."""
        return self._catalog.find(name, version)

    async def lease(self, name: str, version: str | None = None, deadline: float = math.inf) -> Lease:
        """Borrow a servable; a lazy model is loaded first.

        Raises:
            ModelNotFoundError, VersionNotFoundError: there is none; the message lists what there is.
            ModelNotReadyError, OutOfMemoryError: it is loading, or failed to load; the message says why.
            DeadlineExceededError: the deadline passed while a lazy model was loading.
        """
        servable = self._catalog.find(name, version)
        if servable is not None:
            return servable.lease()
        record = self._catalog.version(name, version)
        model = self._catalog.models[name]
        if not model.lazy or record.id.version not in model.wanted():
            raise self._catalog.not_ready(record)
        record.asked_for = True
        attempts = record.attempts
        self._kick()
        await self._until(
            lambda: record.available or record.attempts > attempts or (record.failed and not record.busy), deadline
        )
        if record.servable is None or not record.available:
            raise self._catalog.not_ready(record)
        return record.servable.lease()

    # -- what operators ask ----------------------------------------------------------------------------------------

    async def load_model(self, name: str, source: str | Path | None = None, version: str | None = None) -> None:
        """Load a version and wait until it serves.

        Args:
            name: the model.
            source: path or ``file://`` URL of a model file, a version's folder or a model's folder; None for what
                the repository has. Whether a caller may name this path is for the caller's front end to decide.
            version: what to load, or, with ``source``, what to call it; None for what the policy wants, or ``"1"``.

        Raises:
            ModelNotFoundError, VersionNotFoundError: no such model in the repository.
            InvalidRequestError: ``source`` names no model.
            TensorhostError: why loading failed.
        """
        check_name(name)
        if version is not None:
            check_name(version, "model version")
        if source is not None:
            found = await asyncio.to_thread(describe_path, local_path(source), now=time.time(), settle_s=0.0)
            records = [self._catalog.add_explicit(name, version, found)]
        else:
            await self._look()
            records = self._loadable(name, version)
        self._catalog.models[name].stopped = False
        for record in records:
            if record.on_disk.problem and not record.available:
                raise ModelNotReadyError(f"Model '{name}' version '{record.id.version}': {record.on_disk.problem}")
            record.stopped = False
            record.pinned = True
            record.forgive()
        self._kick()
        for record in records:
            await self._loaded(record)

    async def unload_model(self, name: str, version: str | None = None) -> None:
        """Unload a version, or all of a model, and wait until the memory is back. It stays out until loaded again.

        Raises ModelNotFoundError or VersionNotFoundError.
        """
        model = self._catalog.model(name)
        records = list(model.versions.values()) if version is None else [self._catalog.version(name, version)]
        model.stopped = model.stopped or version is None
        for record in records:
            record.stopped = True
            record.pinned = False
        self._kick()
        await self._until(lambda: not any(record.busy or record.available for record in records))

    async def wait_settled(self) -> None:
        """Wait until every version wanted at start serves or has failed once."""
        await self._until(lambda: self._settled)

    @property
    def settled(self) -> bool:
        """Whether what the first look at the repository found has been acted on."""
        return self._settled

    def models(self) -> dict[str, ModelRecord]:
        """Every model known, by name. To be read, not changed."""
        return self._catalog.models

    def problems(self) -> dict[str, str]:
        """Entries of the repository that cannot be models, and why."""
        return self._catalog.problems

    def model(self, name: str) -> ModelRecord:
        """One model. Raises ModelNotFoundError."""
        return self._catalog.model(name)

    def version(self, name: str, version: str) -> VersionRecord:
        """One version, by name or label, in whatever state. Raises ModelNotFoundError or VersionNotFoundError."""
        return self._catalog.version(name, version)

    def _loadable(self, name: str, version: str | None) -> list[VersionRecord]:
        model = self._catalog.model(name)
        if model.problem:
            raise ModelFailedError(f"Model '{name}': {model.problem}")
        if version is not None:
            return [self._catalog.version(name, version)]
        model.stopped = False
        for record in model.versions.values():
            record.stopped = False
        wanted = set(model.versions) if model.explicit else model.wanted()
        if not wanted:
            raise self._catalog.nothing_to_serve(model)
        return [record for record in model.newest_first() if record.id.version in wanted]

    async def _loaded(self, record: VersionRecord) -> None:
        await self._until(lambda: (record.available and not record.busy) or record.attempts > 0 or record.stopped)
        if not record.available or record.attempts > 0:
            raise record.error or self._catalog.not_ready(record)

    # -- reconciling -----------------------------------------------------------------------------------------------

    async def _reconcile_forever(self, root: Path) -> None:
        next_look_at = -math.inf
        while True:
            if self._clock() >= next_look_at:
                try:
                    await self._look()
                except OSError:
                    log.exception("looking at the model path failed", path=str(root))
                next_look_at = self._clock() + self._pause_s()
            wake_at = self._step()
            self._wake.clear()
            pause_s = min(wake_at, next_look_at) - self._clock()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if pause_s == math.inf else max(pause_s, 0.0)):
                    await self._wake.wait()

    def _pause_s(self) -> float:
        """Seconds until the next look. Files that have just been copied are waited for even without polling."""
        poll_s = self.settings.poll_interval_s or math.inf
        if any(record.on_disk.settling for record in self._catalog.records()):
            return min(poll_s, max(self.settings.settle_s / 2, _SHORTEST_LOOK_S))
        return poll_s

    async def _look(self) -> None:
        if self._repository is None:
            return
        found = await asyncio.to_thread(scan, self._repository, now=time.time(), settle_s=self.settings.settle_s)
        if found.readable:
            self._catalog.absorb(found)
        else:
            self._catalog.unreadable(self._repository)

    def _kick(self) -> None:
        """Act on a changed wish now, whether or not a reconciler runs."""
        self._step()
        self._wake.set()

    def _step(self) -> float:
        if self._closing:
            return math.inf
        steps = plan(self._catalog.models.values(), self._clock())
        for record in steps.unload:
            self._start("unload", record, self._lifecycle.unload(record))
        for record in steps.load:
            self._start("load", record, self._lifecycle.load(record))
        for record in steps.replace:
            self._start("replace", record, self._lifecycle.replace(record))
        if not any(record.busy or record.on_disk.settling for record in self._catalog.records()):
            self._settled = True
        self._notify()
        return steps.wake_at

    def _start(self, what: str, record: VersionRecord, work: Coroutine[Any, Any, None]) -> None:
        record.busy = True
        task = asyncio.create_task(self._carry_out(record, work), name=f"{what} {record.id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _carry_out(self, record: VersionRecord, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        finally:
            record.busy = False
            self._kick()

    def _notify(self) -> None:
        # Waiters hold the old event; each change gets a new one.
        self._changed.set()
        self._changed = asyncio.Event()

    async def _until(self, condition: Callable[[], bool], deadline: float = math.inf) -> None:
        while not condition():
            timeout_s = None if deadline == math.inf else max(deadline - self._clock(), 0.0)
            try:
                async with asyncio.timeout(timeout_s):
                    await self._changed.wait()
            except TimeoutError:
                raise DeadlineExceededError("The deadline passed while the model was loading.") from None


def local_path(source: str | Path) -> Path:
    """The path a path or ``file://`` URL names; ``file://./x`` is relative. InvalidRequestError for other schemes."""
    if isinstance(source, Path) or "://" not in source:
        return Path(source)
    url = urlsplit(source)
    if url.scheme != "file" or url.netloc not in ("", "localhost", ".", ".."):
        raise InvalidRequestError("A model's source must be a path or a file:// URL.", details={"source": source[:256]})
    relative = url.netloc if url.netloc in (".", "..") else ""
    return Path(relative + unquote(url.path))
