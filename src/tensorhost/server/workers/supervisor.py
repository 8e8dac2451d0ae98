"""The process above the workers: owns the listening sockets, keeps the workers running, passes on what concerns all.

It serves nothing and loads nothing. What becomes of whom is decided in ``slots.py``, ``claims.py`` and ``journal.py``;
here are the loops around them. What must stay true: the listening sockets outlive every worker, so that no connection
is lost with one; and no worker outlives this process.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import time
from collections.abc import Callable, Coroutine, Iterable
from pathlib import Path
from typing import Any

from tensorhost.core.errors import InternalError
from tensorhost.core.version import __version__
from tensorhost.inference.process_state import ProcessState
from tensorhost.models.configured import ConfiguredModels
from tensorhost.models.listed import ModelList
from tensorhost.models.wishes import Action, Wish
from tensorhost.server.grpc import check_grpc, grpc_addresses
from tensorhost.server.http import base_url
from tensorhost.server.listener import listen_together, reserve
from tensorhost.server.sampling import sample
from tensorhost.server.stop import hung_stop_s, stop_on_signal
from tensorhost.server.tls import tls_context
from tensorhost.server.workers.changes import Changes
from tensorhost.server.workers.claims import ClaimId, Claims
from tensorhost.server.workers.control import ControlCalls
from tensorhost.server.workers.figures import Figures
from tensorhost.server.workers.messages import (
    Accept,
    Answered,
    Ask,
    AskChange,
    Begin,
    Claim,
    Collect,
    Collected,
    Done,
    Granted,
    Hello,
    Readiness,
    Ready,
    Recall,
    Recalled,
    Release,
    Reported,
    Stop,
    ToSupervisor,
)
from tensorhost.server.workers.process import WorkerProcess
from tensorhost.server.workers.rounds import Rounds
from tensorhost.server.workers.shares import scratch_folder, worker_settings
from tensorhost.server.workers.slots import Phase, Slot, assign, is_hopeless, is_ready
from tensorhost.settings import Settings
from tensorhost.telemetry import get_logger
from tensorhost.telemetry.history import History
from tensorhost.telemetry.view_message import ViewMessage

log = get_logger(__name__)


class Supervisor:
    """Runs ``count`` workers until a signal says stop.

    Args:
        settings: everything.
        count: how many workers.
        banner: called with where the server is reached when the server is ready.
    """

    def __init__(self, settings: Settings, count: int, banner: Callable[[str], None] | None = None) -> None:
        self._settings = settings
        self._banner = banner
        self._slots = [Slot() for _ in range(count)]
        self._workers: dict[int, WorkerProcess] = {}
        self._listeners: list[list[socket.socket]] = []
        self._rounds = Rounds(self._workers)
        self._control = ControlCalls(self._workers, self._rounds, lambda slot: self._slots[slot].phase is Phase.READY)
        self._state = ProcessState.of(settings)
        self._changes = Changes(self._state, self._rounds)
        self._figures = Figures(self._slots, self._workers)
        self._history = History()
        self._claims = Claims(settings.load_threads)
        self._accepting: dict[int, frozenset[int]] = {}
        self._stop = asyncio.Event()
        self._grpc_holders: list[socket.socket] = []
        self._log_fields: dict[str, str] = {}
        self._places: list[str] = []
        self._of_worker = settings
        self._ready = self._announced = False
        self._exit_code = 0

    async def run(self) -> int:
        """Start the workers and watch them; the process's exit code.

        Raises:
            CannotStartError: the address or the TLS files cannot be used.
            InvalidRequestError: the model config file cannot be used.
        """
        tls_context(self._settings)
        configured = ConfiguredModels(self._settings)
        self._control.journal.models = configured.models
        check_grpc(self._settings)
        with scratch_folder(self._settings) as scratch:
            self._of_worker = worker_settings(self._settings, len(self._slots), Path(scratch))
            await self._run(configured)
        log.info("stopped")
        return self._exit_code

    async def _run(self, configured: ConfiguredModels) -> None:
        count = len(self._slots)
        try:
            self._listen(count)
            log.info(
                "listening",
                **self._log_fields,
                version=__version__,
                model_path=str(self._settings.served_from),
                workers=count,
            )
            with stop_on_signal(self._stop, hung_after_s=hung_stop_s(self._settings)):
                async with asyncio.TaskGroup() as self._tasks:
                    self._tasks.create_task(self._stop_when_told(), name="stop workers")
                    for index in range(count):
                        self._tasks.create_task(self._keep(index), name=f"worker {index}")
                    follow = configured.follow(self._replace_models)
                    self._tasks.create_task(self._until_stop(follow), name="follow the model config file")
                    if self._settings.dashboard:
                        sampling = sample(self._history, self._figures.collect)
                        self._tasks.create_task(self._until_stop(sampling), name="sample metrics")
        finally:
            for worker in self._workers.values():
                worker.kill()
            self._close_listeners()
            for holder in self._grpc_holders:
                holder.close()
            self._state.regions.close()

    def _listen(self, count: int) -> None:
        """Listen for HTTP, and hold the port of gRPC, on which each worker listens itself."""
        settings = self._settings
        self._listeners = [[] for _ in range(count)]
        if settings.http:
            self._listeners = listen_together(settings.host, settings.http_ports, count)
            self._log_fields["url"] = base_url(settings, self._listeners[0][0].getsockname()[1])
            self._places.append(self._log_fields["url"])
        if settings.grpc_port != 0:
            self._grpc_holders = reserve(settings.host, max(settings.grpc_port, 0), shared=True)
            port = self._grpc_holders[0].getsockname()[1]
            self._of_worker = self._of_worker.model_copy(update={"grpc_port": port})
        addresses = grpc_addresses(self._of_worker)
        if addresses:
            self._log_fields |= {"grpc": ", ".join(addresses), "grpc_transport": str(check_grpc(settings))}
            self._places += [f"gRPC at {address}" for address in addresses]

    # -- the life of the workers -----------------------------------------------------------------------------------

    async def _keep(self, index: int) -> None:
        """Run a worker, and another when it ends by itself."""
        slot = self._slots[index]
        while not await self._told_to_stop_within(slot.restart_after_s):
            slot.started_at = time.monotonic()
            exit_code = await self._run_one(index)
            if self._stop.is_set():
                if exit_code:
                    self._exit_code = 1
                return
            log.error(
                "a worker ended; it is replaced",
                of_worker=index,
                exit_code=exit_code,
                signal=_signal_name(-exit_code),
                after_s=round(slot.restart_after_s, 1),
            )
            if is_hopeless(self._slots):
                log.error("the workers do not start; giving up")
                self._exit_code = 1
                self._stop.set()

    async def _run_one(self, index: int) -> int:
        """One worker from start to end; its exit code, negative for a signal."""
        listeners = [listener for group in self._listeners for listener in group]
        try:
            worker = await WorkerProcess.start(listeners)
        except OSError as error:
            log.error("a worker cannot be started", of_worker=index, reason=str(error))
            self._lost(index)
            return os.EX_OSERR
        # Together, so that each wish and change reaches the worker once: in this message, or because it is on the list.
        journal, state = self._control.journal, self._state
        begin = Begin.of(index, len(self._slots), self._of_worker, journal.wishes(), journal.models, state)
        if not worker.send(begin, state.regions.registered_files()):
            # It would end for want of them, or take the file of the next region for the one that it misses.
            worker.kill()
        self._workers[index] = worker
        if self._stop.is_set():
            worker.send(Stop())
        try:
            async for message in worker.messages():
                self._hear(index, worker, message)
        except InternalError as error:
            log.error("a worker cannot be understood", of_worker=index, reason=error.message, detail=error.log_detail)
            worker.kill()
        del self._workers[index]
        self._lost(index)
        return await worker.end()

    def _lost(self, index: int) -> None:
        """A worker has ended, or is about to: what was its is the others' now."""
        if self._stop.is_set():
            self._slots[index].phase = Phase.DOWN
        else:
            self._slots[index].died(time.monotonic())
        self._accepting.pop(index, None)
        self._rounds.lost(index)
        self._figures.lost(index)
        self._grant(self._claims.lost(index))
        self._rearrange()

    async def _stop_when_told(self) -> None:
        await self._stop.wait()
        log.info("stopping", drain_window_s=self._settings.drain_window_s)
        for worker in self._workers.values():
            worker.send(Stop())
        # Closed by the workers only, from now on: each when it has taken the last connection from it.
        self._close_listeners()

    async def _until_stop(self, work: Coroutine[Any, Any, None]) -> None:
        """Do it until it is done or told to stop."""
        doing = asyncio.create_task(work, name="work until told to stop")
        stopping = asyncio.create_task(self._stop.wait(), name="wait for the stop")
        try:
            await asyncio.wait([doing, stopping], return_when=asyncio.FIRST_COMPLETED)
        finally:
            doing.cancel()
            stopping.cancel()
            await asyncio.wait([doing, stopping])

    async def _replace_models(self, models: ModelList) -> None:
        """What the model config file says now. Raises why not all of it could be done."""
        wish = Wish(Action.REPLACE, "", models=models, labels_may_wait=self._settings.labels_may_wait)
        failure = await self._control.carry_out(wish)
        if failure is not None:
            raise failure.error()

    async def _told_to_stop_within(self, timeout_s: float) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._stop.wait()
        return self._stop.is_set()

    def _close_listeners(self) -> None:
        for listener in (listener for group in self._listeners for listener in group):
            listener.close()

    # -- what workers say ------------------------------------------------------------------------------------------

    def _hear(self, index: int, worker: WorkerProcess, message: ToSupervisor) -> None:
        match message:
            case Hello():
                self._slots[index].phase = Phase.LOADING
                worker.send(Readiness(ready=self._ready))
                self._rearrange()
            case Ready():
                self._slots[index].phase = Phase.READY
                self._slots[index].served = True
                log.info("worker ready", of_worker=index, models=", ".join(message.models) or "none")
                self._rearrange()
                self._announce(message)
            case Ask():
                self._tasks.create_task(self._answer_ask(worker, message), name="control call")
            case AskChange():
                self._tasks.create_task(self._answer_ask_change(worker, message), name="change of all workers")
            case Done():
                self._rounds.done(index, message)
            case Collect():
                self._tasks.create_task(self._answer_collect(worker, message), name="collect metrics")
            case Recall():
                past = self._history.past(message.fine_after, message.coarse_after)
                worker.send(Recalled.of(message.id, past))
            case Reported():
                self._figures.reported(index, message)
            case Claim():
                self._grant(self._claims.claim(message.kind, ClaimId(index, message.id)))
            case Release():
                self._grant(self._claims.release(ClaimId(index, message.id)))

    async def _answer_ask(self, worker: WorkerProcess, message: Ask) -> None:
        worker.send(Answered(id=message.id, failure=await self._control.carry_out(message.wish.wish())))

    async def _answer_ask_change(self, worker: WorkerProcess, message: AskChange) -> None:
        worker.send(Answered(id=message.id, failure=await self._changes.make(message.change)))

    async def _answer_collect(self, worker: WorkerProcess, message: Collect) -> None:
        worker.send(Collected(id=message.id, view=ViewMessage.of(await self._figures.collect())))

    def _grant(self, claims: Iterable[ClaimId]) -> None:
        for claim in claims:
            if claim.worker in self._workers:
                self._workers[claim.worker].send(Granted(id=claim.number))

    # -- what follows ----------------------------------------------------------------------------------------------

    def _rearrange(self) -> None:
        """Tell the workers where to take connections from, and whether the server is ready, as far as it changed."""
        for index, slots in enumerate(assign(self._slots)):
            if index in self._workers and self._accepting.get(index, frozenset()) != slots:
                self._accepting[index] = slots
                self._workers[index].send(Accept(sockets=self._positions(slots), serving=bool(slots)))
        if is_ready(self._slots) is not self._ready:
            self._ready = not self._ready
            for worker in self._workers.values():
                worker.send(Readiness(ready=self._ready))

    def _positions(self, slots: Iterable[int]) -> tuple[int, ...]:
        """Positions of these slots' sockets among all, in the order in which workers get them."""
        each = len(self._listeners[0])
        return tuple(slot * each + offset for slot in sorted(slots) for offset in range(each))

    def _announce(self, ready: Ready) -> None:
        if self._announced or not self._ready:
            return
        self._announced = True
        log.info("ready", **self._log_fields, models=", ".join(ready.models) or "none", workers=len(self._slots))
        # With models of which none can be served, the log's errors are the last word.
        if self._banner is not None and (ready.models or not ready.known):
            try:
                self._banner(", ".join(self._places))
            except (OSError, UnicodeError) as error:
                # Nobody reads standard output any more, or cannot; that is no reason to stop serving.
                log.warning("the banner could not be written", reason=str(error))


def _signal_name(number: int) -> str | None:
    """The name of a signal; None where ``number`` is none."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return None
