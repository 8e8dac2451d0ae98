"""The manager: makes what is loaded equal to what is wanted, and lends servables to requests.

One task looks at the disk, asks the pure ``reconcile.plan`` what to do, and starts the lifecycle's coroutines for
it. Requests never wait for that task: a lookup is two dictionary reads. What stays true: a version that fails
touches no other; an old version serves until the new one does; a servable is closed only after its last lease is
back; all state is changed on the event loop's thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import math
import time
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tensorhost.core.errors import (
    InternalError,
    ModelNotReadyError,
    TensorhostError,
)
from tensorhost.core.ids import check_name
from tensorhost.models.adding import add_model
from tensorhost.models.catalog import RETRY_AFTER_S, Catalog
from tensorhost.models.changes import Changes
from tensorhost.models.demands import Demands
from tensorhost.models.ended import EndedVersion
from tensorhost.models.labels import warn_of_idle
from tensorhost.models.lifecycle import Lifecycle
from tensorhost.models.listed import ModelList
from tensorhost.models.looks import SHORTEST_PAUSE_S, Looks
from tensorhost.models.origins import origin_of
from tensorhost.models.reconcile import plan
from tensorhost.models.records import ModelRecord, VersionRecord
from tensorhost.models.servable import Lease, Servable
from tensorhost.models.sharing import LoadSharing
from tensorhost.models.sources import local_path
from tensorhost.models.wishes import Action, Wish
from tensorhost.settings import Settings
from tensorhost.telemetry import MetricsCollector, get_logger

__all__ = ["ModelManager", "local_path"]


log = get_logger(__name__)


class ModelManager:
    """Loads, keeps and unloads models.

    Constructing is free. ``open`` starts looking at the repository; without it, models come only by ``load_model``.

    Args:
        settings: limits and defaults; None for the defaults, whatever the environment says.
        repository: what to serve, as ``Settings.model_path``; None for nothing.
        models: what to serve instead, one by one; None for the repository.
        metrics: where loads and requests are counted.
        clock: seconds, on the event loop's time base.
        wishes: what operators have asked for already, in that order; taken up after the first look at the repository
            and before anything is loaded.
        sharing: how loading is shared with the managers of other processes; None when there are none.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        repository: Path | None = None,
        models: ModelList | None = None,
        metrics: MetricsCollector | None = None,
        clock: Callable[[], float] = time.monotonic,
        wishes: Sequence[Wish] = (),
        sharing: LoadSharing | None = None,
    ) -> None:
        self.settings = settings or Settings.model_construct()
        self.metrics = metrics or MetricsCollector()
        origin = origin_of(repository, models)
        self._wishes: Sequence[Wish] = () if origin is None else wishes
        self._clock = clock
        self._catalog = Catalog(self.settings)
        self._looks = Looks(self._catalog, self.settings, self.metrics, origin)
        self._demands = Demands(self._catalog)
        self._changes = Changes(clock)
        self._lifecycle = Lifecycle(self._catalog, self.settings, self.metrics, self._kick, clock, sharing)
        self.metrics.models_by_state = self._catalog.count_states
        self._reconciler: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._settled = origin is None
        self._settle_by: float | None = None
        self._is_open = self._closing = False

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def open(self) -> None:
        """Start reconciling with the repository. Returns at once; ``wait_settled`` waits for the first loads."""
        self._is_open = True
        self._start_reconciling()

    def _start_reconciling(self) -> None:
        if self._is_open and not self._closing and self._looks.origin is not None and self._reconciler is None:
            self._reconciler = asyncio.create_task(self._reconcile_forever(), name="reconcile models")

    async def close(self) -> None:
        """Stop reconciling, wait for the loads that run, unload everything. Whoever waits for a load is refused."""
        self._closing = True
        self._lifecycle.stop_loading()
        self._changes.close()
        if self._reconciler is not None:
            self._reconciler.cancel()
            await asyncio.wait([self._reconciler])
            self._reconciler = None
        while self._tasks:
            await asyncio.wait(self._tasks)
        loaded = [record for record in self._catalog.records() if record.available]
        await asyncio.gather(*(self._lifecycle.unload(record) for record in loaded))
        await asyncio.to_thread(self._lifecycle.close)

    # -- what requests ask -----------------------------------------------------------------------------------------

    def find(self, name: str, version: str | None = None) -> Servable | None:
        """The servable for a version, a label or (None) the newest; None when there is none to lend right now."""
        return self._catalog.find(name, version)

    async def lease(self, name: str, version: str | None = None, deadline: float = math.inf) -> Lease:
        """Borrow a servable; a lazy model is loaded first.

        Raises:
            ModelNotFoundError, VersionNotFoundError: there is none; the message lists what there is.
            ModelNotReadyError, OutOfMemoryError: it is loading, or failed to load, or nobody has looked yet what
                there is; the message says why.
            DeadlineExceededError: the deadline passed while a lazy model was loading.
            ShuttingDownError: the manager closed meanwhile.
        """
        asked: VersionRecord | None = None
        while (servable := self._catalog.find(name, version)) is None:
            if name not in self._catalog.models and self._before_first_look:
                # "There is no such model" would be final, and wrong.
                raise ModelNotReadyError("The server has not seen its models yet.", retry_after_s=RETRY_AFTER_S)
            record = self._catalog.version(name, version)
            if record is asked:
                raise self._catalog.not_ready(record)
            # When the newest version of a lazy model fails, the next round asks for the one before it.
            asked = record
            await self._ask_for(record, deadline)
        return servable.lease()

    async def _ask_for(self, record: VersionRecord, deadline: float) -> None:
        """Have a lazy version loaded and wait until it serves, fails, or may not be loaded any more."""
        model = self._catalog.models[record.id.name]
        if not model.lazy or record.id.version not in model.wanted():
            raise self._catalog.not_ready(record)
        attempts = record.attempts
        record.asked_for = True
        record.waiters += 1
        try:
            self._kick()
            await self._changes.until(
                lambda: (
                    record.available
                    or record.attempts > attempts
                    or (record.failed and not record.busy)
                    or record.id.version not in model.wanted()
                ),
                deadline,
            )
        finally:
            record.waiters -= 1

    @property
    def _before_first_look(self) -> bool:
        return self._reconciler is not None and not self._looks.has_looked

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
            ShuttingDownError: the manager closed meanwhile.
            TensorhostError: why loading failed.
        """
        records = await self._demand(name, source, version)
        self._kick()
        for record in records:
            await self._loaded(record)

    async def unload_model(self, name: str, version: str | None = None) -> None:
        """Unload a version, or all of a model, and wait until the memory is back. It stays out until loaded again.

        Raises ModelNotFoundError or VersionNotFoundError.
        """
        records = self._demands.unload(name, version)
        self._kick()
        await self._changes.until(lambda: not any(record.busy or record.available for record in records))

    async def label_version(self, name: str, label: str, version: str | None) -> None:
        """Make a label point to a version that serves, whatever model.toml says, until the manager closes.

        Args:
            name: the model.
            label: a label it has, or a new one.
            version: the version; None to take back what was said of this label before.

        Raises:
            ModelNotFoundError, VersionNotFoundError: no such model or version.
            InvalidRequestError: ``label`` is no name, or names a version.
            ModelNotReadyError: the version does not serve.
        """
        await self._looks.look()
        self._demands.labels.check(name, label, version)
        self._demands.labels.move(name, label, version)
        log.info("label moved", model=name, label=label, version=version)
        self._kick()

    async def replace_models(self, models: ModelList, *, labels_may_wait: bool = False) -> None:
        """Serve what a list says and nothing else, and wait until what is new or changed in it serves or has failed.

        What the list says as before is left alone, whatever has become of it. A model loaded by path stays, unless the
        list has its name. Cancelling stops the waiting only.

        Args:
            models: everything that is to be served.
            labels_may_wait: let a label that is not in use name a version that does not serve, nor will.

        Raises:
            InvalidRequestError: the list cannot be served whatever is on disk; nothing has changed.
            LabelNotReadyError: a label names a version that the list does not have served, and nothing has changed; or
                the version failed, and the label stays where it was.
            ModelFailedError: why versions do not serve; the list counts all the same, and they are tried again.
            ShuttingDownError: the manager closed meanwhile.
        """
        replacement = await self._looks.replace(models, labels_may_wait=labels_may_wait)
        self._start_reconciling()
        self._kick()
        settle_by = self._clock() + self._settling_s
        await self._changes.until(
            lambda: (
                self._looks.origin is not replacement.paths or replacement.done(may_settle=self._clock() < settle_by)
            )
        )
        replacement.report()

    async def carry_out(self, wish: Wish) -> None:
        """Do what another process was asked to; the repository is looked at first, as that one may know more of it.

        Raises what ``load_model``, ``add_model``, ``unload_model`` and ``label_version`` raise.
        """
        # What was asked for before is noted first.
        await self._changes.until(lambda: not self._wishes)
        if wish.action is Action.REPLACE:
            await self.replace_models(wish.models, labels_may_wait=wish.labels_may_wait)
        elif wish.action is Action.LOAD:
            await self.load_model(wish.name, wish.source, wish.version)
        elif wish.action is Action.ADD:
            await add_model(self, wish.name, wish.source, wish.version)
        elif wish.action is Action.LABEL:
            await self.label_version(wish.name, wish.label or "", wish.version)
        elif wish.action is Action.RELABEL:
            await self._looks.look()
            self._demands.labels.move(wish.name, wish.label or "", wish.version)
            self._kick()
        else:
            await self._looks.look()
            await self.unload_model(wish.name, wish.version)

    async def wait_settled(self) -> None:
        """Wait until every version wanted at start serves or has failed once."""
        await self._changes.until(lambda: self._settled)

    @property
    def settled(self) -> bool:
        """Whether what the first look at the repository found has been acted on."""
        return self._settled

    def models(self) -> dict[str, ModelRecord]:
        """Every model known, by name. To be read, not changed."""
        return self._catalog.models

    def ended(self, name: str) -> tuple[EndedVersion, ...]:
        """The last versions of a model, known or not, that have gone for good, the latest last."""
        return self._catalog.ended.of(name)

    def problems(self) -> dict[str, str]:
        """Entries of the repository that cannot be models, and why."""
        return self._catalog.problems

    def model(self, name: str) -> ModelRecord:
        """One model. Raises ModelNotFoundError."""
        return self._catalog.model(name)

    def version(self, name: str, version: str) -> VersionRecord:
        """One version, by name or label, in whatever state. Raises ModelNotFoundError or VersionNotFoundError."""
        return self._catalog.version(name, version)

    async def _demand(self, name: str, source: str | Path | None, version: str | None) -> list[VersionRecord]:
        """Note that versions are to be loaded; those."""
        check_name(name)
        if version is not None:
            check_name(version, "model version")
        found = None
        if source is None:
            await self._looks.look()
        else:
            found = await self._looks.describe(source)
        return self._demands.load(name, version, found)

    async def _take_up_wishes(self) -> None:
        """Note what operators asked for before this manager was opened. What cannot be had any more is left out."""
        for wish in self._wishes:
            try:
                if wish.action is Action.LOAD:
                    await self._demand(wish.name, wish.source, wish.version)
                elif wish.action in (Action.LABEL, Action.RELABEL):
                    # Its version will serve: one with a label is loaded.
                    self._demands.labels.move(wish.name, wish.label or "", wish.version)
                else:
                    self._demands.unload(wish.name, wish.version)
            except TensorhostError as error:
                log.warning("an earlier request cannot be repeated", model=wish.name, reason=error.message)
        self._wishes = ()

    async def _loaded(self, record: VersionRecord) -> None:
        model = self._catalog.model(record.id.name)
        await self._changes.until(
            lambda: (
                (record.available and not record.busy) or record.attempts > 0 or record.id.version not in model.wanted()
            )
        )
        if record.attempts > 0 and record.error is not None:
            # A copy: raising adds the stack to it, and the record keeps it for long.
            raise copy.copy(record.error)
        if not record.available:
            raise self._catalog.not_ready(record)

    # -- reconciling -----------------------------------------------------------------------------------------------

    async def _reconcile_forever(self) -> None:
        looked_at: float | None = None
        while True:
            if looked_at is None or self._clock() >= looked_at + self._looks.pause_s():
                try:
                    await self._looks.look()
                    await self._take_up_wishes()
                except Exception:  # a fault of ours in one look must not end all later ones
                    log.exception("looking at the models failed")
                looked_at = self._clock()
                self._settle_by = self._settle_by or looked_at + self._settling_s
            wake_at = self._step()
            self._wake.clear()
            pause_s = min(wake_at, looked_at + self._looks.pause_s()) - self._clock()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if pause_s == math.inf else max(pause_s, 0.0)):
                    await self._wake.wait()

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
        if not self._settled and self._has_settled():
            self._settled = True
            warn_of_idle(self._catalog.models.values())
        self._changes.announce()
        return steps.wake_at

    @property
    def _settling_s(self) -> float:
        """How long files that have just been copied are waited for at most."""
        return 2 * (self.settings.settle_s + SHORTEST_PAUSE_S)

    def _has_settled(self) -> bool:
        """Whether the first look's finds have been acted on; files that never come to rest are not waited for."""
        if self._settle_by is None:
            return False
        waits = self._clock() < self._settle_by
        return not any(record.busy or (waits and record.on_disk.settling) for record in self._catalog.records())

    def _start(self, what: str, record: VersionRecord, work: Coroutine[Any, Any, None]) -> None:
        record.busy = True
        task = asyncio.create_task(self._carry_out(record, work), name=f"{what} {record.id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _carry_out(self, record: VersionRecord, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception as error:  # a fault of ours is this version's end, not the manager's
            log.exception("a version cannot be managed any more", model=str(record.id))
            record.error = InternalError("Something went wrong inside the server.", log_detail=repr(error))
            record.attempts += 1
            record.next_attempt_at = math.inf
        finally:
            record.busy = False
            self._catalog.let_go(record)
            self._kick()
