"""A worker's end of the line to its supervisor: the group that front ends ask, and what managers share.

What must stay true: every claim is given back, whether it was granted or not; a worker that cannot follow its
supervisor ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import socket
from collections.abc import AsyncIterator, Coroutine
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, TypeVar

from tensorhost.core.errors import InternalError, TensorhostError
from tensorhost.inference import as_tensorhost_error
from tensorhost.inference.process_state import ProcessState
from tensorhost.inference.regions import LONGEST_NAME, Region
from tensorhost.models.listed import ModelList
from tensorhost.models.manager import ModelManager
from tensorhost.models.probe_messages import Failed
from tensorhost.models.wishes import Action, Wish
from tensorhost.server.servers import Servers
from tensorhost.server.workers.change_messages import Change, LogLevelMessage, Registration, Unregistration
from tensorhost.server.workers.claims import ClaimKind
from tensorhost.server.workers.files import receive_files
from tensorhost.server.workers.message_base import Message
from tensorhost.server.workers.messages import (
    Accept,
    Answered,
    Ask,
    AskChange,
    CarryOut,
    Claim,
    Collect,
    Collected,
    Done,
    Granted,
    Hello,
    MakeChange,
    Readiness,
    Ready,
    Recall,
    Recalled,
    Release,
    Report,
    Reported,
    Stop,
    ToWorker,
    WishMessage,
    read_by_worker,
)
from tensorhost.telemetry import get_logger
from tensorhost.telemetry.history import Past
from tensorhost.telemetry.server_view import ServerView
from tensorhost.telemetry.view_message import ViewMessage

_EXIT_CODE = 70  # EX_SOFTWARE

_T = TypeVar("_T")

log = get_logger(__name__)


class Member:
    """One of the workers of a server; see ``Group`` and ``LoadSharing``. Use ``open`` once there is a server.

    Args:
        reader, writer: the line to the supervisor.
        files: where the files come from that go with its messages.
        state: of this process.
    """

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, files: socket.socket, state: ProcessState
    ) -> None:
        self.ready = False
        self.state = state
        self._files = files
        self.stop = asyncio.Event()
        self._reader = reader
        self._writer = writer
        self._numbers = itertools.count()
        self._answers: dict[int, asyncio.Future[Answered]] = {}
        self._views: dict[int, asyncio.Future[Collected]] = {}
        self._pasts: dict[int, asyncio.Future[Recalled]] = {}
        self._grants: dict[int, asyncio.Future[Granted]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    # -- the group -------------------------------------------------------------------------------------------------

    async def load_model(self, name: str, source: Path | None = None, version: str | None = None) -> None:
        """Have every worker load it."""
        await self._ask(Wish(Action.LOAD, name, version, source))

    async def add_model(self, name: str, source: Path | None = None, version: str | None = None) -> None:
        """Have every worker load it, unless it serves."""
        await self._ask(Wish(Action.ADD, name, version, source))

    async def unload_model(self, name: str, version: str | None = None) -> None:
        """Have every worker unload it."""
        await self._ask(Wish(Action.UNLOAD, name, version))

    async def label_version(self, name: str, label: str, version: str | None) -> None:
        """Have every worker do it."""
        await self._ask(Wish(Action.LABEL, name, version, label=label))

    async def replace_models(self, models: ModelList, *, labels_may_wait: bool = False) -> None:
        """Have every worker do it."""
        await self._ask(Wish(Action.REPLACE, "", models=models, labels_may_wait=labels_may_wait))

    async def past(self, fine_after: int = -1, coarse_after: int = -1) -> Past:
        """What happened lately in all workers together."""
        number = next(self._numbers)
        question = Recall(id=number, fine_after=fine_after, coarse_after=coarse_after)
        return (await self._answer_to(question, self._pasts, number)).past()

    async def view(self) -> ServerView:
        """The metrics of all workers together."""
        number = next(self._numbers)
        collected = await self._answer_to(Collect(id=number), self._views, number)
        return collected.view.view()

    async def register_region(self, region: Region) -> None:
        """Have every worker do it."""
        self.state.regions.check(region)
        await self._ask_change(Registration.of(region))

    async def unregister_region(self, name: str) -> None:
        """Have every worker do it."""
        if len(name) <= LONGEST_NAME:  # nothing is registered by a longer one
            await self._ask_change(Unregistration(name=name))

    async def set_log_level(self, level: int, verbosity: int) -> None:
        """Have every worker do it."""
        await self._ask_change(LogLevelMessage(level=level, verbosity=verbosity))

    async def _ask(self, wish: Wish) -> None:
        number = next(self._numbers)
        await self._done_by_all(Ask(id=number, wish=WishMessage.of(wish)), number)

    async def _ask_change(self, change: Change) -> None:
        number = next(self._numbers)
        await self._done_by_all(AskChange(id=number, change=change), number)

    async def _done_by_all(self, question: Ask | AskChange, number: int) -> None:
        answered = await self._answer_to(question, self._answers, number)
        if answered.failure is not None:
            raise answered.failure.error()

    # -- what managers share ---------------------------------------------------------------------------------------

    def trial(self) -> AbstractAsyncContextManager[None]:
        """This worker's time to try models, which no other does meanwhile."""
        return self._claim(ClaimKind.TRIAL)

    def turn(self) -> AbstractAsyncContextManager[None]:
        """A turn to load, of which all workers together have as many as ``load_threads``."""
        return self._claim(ClaimKind.LOAD)

    @contextlib.asynccontextmanager
    async def _claim(self, kind: ClaimKind) -> AsyncIterator[None]:
        number = next(self._numbers)
        try:
            await self._answer_to(Claim(id=number, kind=kind), self._grants, number)
            yield
        finally:
            self._send(Release(id=number))

    async def _answer_to(self, question: Message, waiting: dict[int, asyncio.Future[_T]], number: int) -> _T:
        future: asyncio.Future[_T] = asyncio.get_running_loop().create_future()
        waiting[number] = future
        self._send(question)
        try:
            return await future
        finally:
            waiting.pop(number, None)

    # -- the line --------------------------------------------------------------------------------------------------

    def open(self, servers: Servers, manager: ModelManager) -> None:
        """Begin to do what the supervisor says."""
        self._start(self._listen(servers, manager), "listen to the supervisor")
        self._send(Hello())

    def say_ready(self, _servers: Servers, manager: ModelManager) -> None:
        """Tell the supervisor that the manager has settled."""
        known = manager.models()
        serving = (str(each.id) for model in known.values() for each in model.newest_first() if each.available)
        self._send(Ready(models=tuple(serving), known=len(known)))

    async def close(self) -> None:
        """Hear no more; the line itself lasts as long as the process."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _listen(self, servers: Servers, manager: ModelManager) -> None:
        while line := await self._reader.readline():
            await self._hear(read_by_worker.read(line), servers, manager)
        # Without a supervisor there is nobody to stop this process.
        os._exit(_EXIT_CODE)

    async def _hear(self, message: ToWorker, servers: Servers, manager: ModelManager) -> None:
        match message:
            case Accept():
                await servers.accept_from(message.sockets, serving=message.serving)
            case Readiness():
                self.ready = message.ready
            case CarryOut():
                self._start(self._carry_out(message, manager), "carry out a control call")
            case MakeChange():
                self._make_change(message)
            case Report():
                self._start(self._report(message, manager), "report metrics")
            case Answered():
                _settle(self._answers, message.id, message)
            case Collected():
                _settle(self._views, message.id, message)
            case Recalled():
                _settle(self._pasts, message.id, message)
            case Granted():
                _settle(self._grants, message.id, message)
            case Stop():
                self.stop.set()

    async def _carry_out(self, message: CarryOut, manager: ModelManager) -> None:
        wish = message.wish.wish()
        before = _available(manager, wish.name)
        failure: Failed | None = None
        try:
            await manager.carry_out(wish)
        except Exception as error:
            # A border: whoever asked, on another worker, must be answered whatever happens here.
            known = as_tensorhost_error(error)
            if isinstance(known, InternalError):
                log.exception("a control call failed", model=wish.name)
            failure = Failed.of(known)
        added = _available(manager, wish.name) - before
        self._send(Done(id=message.id, failure=failure, added=tuple(sorted(added))))

    def _make_change(self, message: MakeChange) -> None:
        failure: Failed | None = None
        try:
            match message.change:
                case Registration() as change:
                    [file] = receive_files(self._files, 1)
                    self.state.regions.adopt(change.region(), file)
                case Unregistration() as change:
                    self.state.regions.unregister(change.name)
                case LogLevelMessage() as change:
                    self.state.log_level.set(change.level, change.verbosity)
        except TensorhostError as error:
            failure = Failed.of(error)
        self._send(Done(id=message.id, failure=failure))

    async def _report(self, message: Report, manager: ModelManager) -> None:
        def report() -> bytes:
            return Reported(id=message.id, view=ViewMessage.of(manager.metrics.view())).to_line()

        # With a thousand versions both take milliseconds, which requests need not wait for.
        self._writer.write(await asyncio.to_thread(report))

    def _send(self, message: Message) -> None:
        self._writer.write(message.to_line())

    def _start(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            # A worker that the supervisor cannot reach would differ from the others; the next one will not.
            log.error("a worker cannot follow its supervisor; ending it", exc_info=error)
            logging.shutdown()
            os._exit(_EXIT_CODE)


def _settle(waiting: dict[int, asyncio.Future[_T]], number: int, answer: _T) -> None:
    """Give an answer to who waits for it, if anybody still does."""
    future = waiting.pop(number, None)
    if future is not None and not future.done():
        future.set_result(answer)


def _available(manager: ModelManager, name: str) -> set[str]:
    model = manager.models().get(name)
    return set() if model is None else {record.id.version for record in model.versions.values() if record.available}
