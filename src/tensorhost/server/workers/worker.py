"""A worker as a process: ``python -m tensorhost.server.workers.worker PARENT_PID LINE_FD FILES_FD LISTENER_FD...``.

Serves as one process alone does, but takes connections from sockets that its parent listens on, and asks the parent
whatever concerns all workers. What must stay true: it never outlives its parent, and signals meant for the whole
server, such as Ctrl-C in a terminal, are left to the parent.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import socket
import sys

from tensorhost.inference.process_state import ProcessState
from tensorhost.server.assembly import Part, run_process, serve_models
from tensorhost.server.stop import STOP_SIGNALS
from tensorhost.server.workers.files import receive_files
from tensorhost.server.workers.member import Member
from tensorhost.server.workers.messages import MAX_LINE_BYTES, Begin, read_begin
from tensorhost.settings import Settings

_PR_SET_PDEATHSIG = 1
_CHUNK_BYTES = 2**16


async def _serve(
    settings: Settings, begin: Begin, line: socket.socket, files: socket.socket, listeners: list[socket.socket]
) -> int:
    reader, writer = await asyncio.open_unix_connection(sock=line, limit=MAX_LINE_BYTES)
    member = Member(reader, writer, files, _state(settings, begin, files))
    part = Part(
        on_listening=member.open,
        on_loaded=member.say_ready,
        group=member,
        sharing=member,
        models=None if begin.models is None else tuple(each.model() for each in begin.models),
        wishes=tuple(each.wish() for each in begin.wishes),
        listeners=listeners,
        stop=member.stop,
        worker=begin.worker,
    )
    try:
        return await serve_models(settings, part)
    finally:
        await member.close()


def _state(settings: Settings, begin: Begin, files: socket.socket) -> ProcessState:
    """The state that all workers have, be it changed since the server was started."""
    state = ProcessState.of(settings)
    if begin.state is not None:
        opened = receive_files(files, len(begin.state.regions))
        for region, file in zip(begin.state.regions, opened, strict=True):
            state.regions.adopt(region.region(), file)
        state.log_level.set(begin.state.log_level.level, begin.state.log_level.verbosity)
    return state


def _depend_on(parent_pid: int) -> None:
    """End with the parent, however it ends, and leave it the signals."""
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)  # the parent had blocked them until here
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:  # it has ended before that
        os._exit(1)


def _inherited(descriptor: str) -> socket.socket:
    """A socket the parent has passed on, which is no business of programs started from here."""
    inherited = socket.socket(fileno=int(descriptor))
    inherited.set_inheritable(False)
    return inherited


def _first_line(line: socket.socket) -> bytes:
    """The first message, and nothing of those behind it."""
    data = b""
    while not data.endswith(b"\n"):
        waiting = line.recv(_CHUNK_BYTES, socket.MSG_PEEK)
        if not waiting:
            os._exit(1)
        data += line.recv(waiting.find(b"\n") + 1 or len(waiting))
    return data


def main() -> int:
    """Serve until the parent says stop; the process's exit code."""
    parent_pid, line_descriptor, files_descriptor, *listener_descriptors = sys.argv[1:]
    _depend_on(int(parent_pid))
    line, files = _inherited(line_descriptor), _inherited(files_descriptor)
    listeners = [_inherited(descriptor) for descriptor in listener_descriptors]
    begin = read_begin.read(_first_line(line))
    settings = Settings.from_json(begin.settings)
    if begin.worker > 0:
        # A Unix socket belongs to one process: the first.
        settings = settings.model_copy(update={"grpc_socket_path": None})
    return run_process(settings, lambda: _serve(settings, begin, line, files, listeners), worker=begin.worker)


if __name__ == "__main__":
    sys.exit(main())
