"""A worker seen from the supervisor: its process, and the messages to and from it.

It decides nothing. What must stay true: no call blocks on a worker that hangs, and after ``end`` there is no process.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Self

from tensorhost.core.errors import InternalError
from tensorhost.models.probe_process import search_path
from tensorhost.server.stop import STOP_SIGNALS
from tensorhost.server.workers.files import file_sockets, send_files
from tensorhost.server.workers.message_base import Message
from tensorhost.server.workers.messages import MAX_LINE_BYTES, ToSupervisor, read_by_supervisor
from tensorhost.settings import environment_variable

_MODULE = ("-P", "-m", "tensorhost.server.workers.worker")
_GOODBYE_S = 10.0


class WorkerProcess:
    """One worker. Use ``start``, from the thread that lives as long as the server: the worker dies with it."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        files: socket.socket,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self._process = process
        self._files = files
        self._reader = reader
        self._writer = writer

    @classmethod
    async def start(cls, listeners: Sequence[socket.socket]) -> Self:
        """Start a worker that may take connections from ``listeners``, and waits for ``Begin``.

        Raises OSError when that cannot be done.
        """
        ours, theirs = socket.socketpair()
        files, their_files = file_sockets()
        try:
            with theirs, their_files:
                descriptors = (theirs.fileno(), their_files.fileno(), *(listener.fileno() for listener in listeners))
                with _stop_signals_blocked():
                    process = subprocess.Popen(  # noqa: S603, ASYNC220 - this interpreter, a module of ours; it is quick
                        [sys.executable, *_MODULE, str(os.getpid()), *map(str, descriptors)],
                        stdin=subprocess.DEVNULL,
                        pass_fds=descriptors,
                        env=_environment(),
                    )
        except OSError:
            ours.close()
            files.close()
            raise
        reader, writer = await asyncio.open_unix_connection(sock=ours, limit=MAX_LINE_BYTES)
        return cls(process, files, reader, writer)

    @property
    def pid(self) -> int:
        """The worker's process id."""
        return self._process.pid

    def send(self, message: Message, files: Sequence[int] = ()) -> bool:
        """Have ``message`` sent, and open files with it; one to a worker that has ended is lost.

        Returns:
            Whether all files are on their way. The message is where they are not: the worker, if it has not ended, says
            that it misses them.
        """
        if self._writer.is_closing():
            return False
        try:
            send_files(self._files, files)
        except OSError:
            return False
        finally:
            self._writer.write(message.to_line())
        return True

    async def messages(self) -> AsyncIterator[ToSupervisor]:
        """What the worker says, until it ends. Raises InternalError for what is no message."""
        while True:
            try:
                line = await self._reader.readline()
            except ConnectionError:
                return
            except ValueError as error:
                raise InternalError("a message without end") from error
            if not line.endswith(b"\n"):
                return
            yield read_by_supervisor.read(line)

    def kill(self) -> None:
        """Kill it."""
        self._process.kill()

    async def end(self) -> int:
        """Wait until the process has ended, and kill it if it takes long; its exit code, negative for a signal."""
        self._writer.close()
        self._files.close()
        try:
            return await asyncio.to_thread(self._process.wait, _GOODBYE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return await asyncio.to_thread(self._process.wait)
        finally:
            with contextlib.suppress(OSError):
                await self._writer.wait_closed()


@contextlib.contextmanager
def _stop_signals_blocked() -> Iterator[None]:
    """What is started meanwhile hears no Ctrl-C before it can ignore it; this process hears it afterwards."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _environment() -> dict[str, str]:
    """This process's, without what the first message says."""
    inherited = {name: value for name, value in os.environ.items() if name != environment_variable("admin_token")}
    return inherited | {"PYTHONPATH": search_path()}
