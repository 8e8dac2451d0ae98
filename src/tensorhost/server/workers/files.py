"""Open files on their way from the supervisor to a worker, over a socket pair of their own.

So that all processes have the very file that was there when it was opened, whatever has become of its name since. What
must stay true: nothing here waits. A message that files go with is sent after them, so that they are there when it is
read.
"""

from __future__ import annotations

import os
import socket
from array import array
from collections.abc import Sequence

from tensorhost.core.errors import OverloadedError

_MOST_IN_ONE = 250
"""The system takes 253."""


def file_sockets() -> tuple[socket.socket, socket.socket]:
    """Two ends of a line for files, of which each message has some."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def send_files(line: socket.socket, files: Sequence[int]) -> None:
    """Send open files; this process keeps its own. Raises OSError where the other end is gone, or takes no more."""
    for begin in range(0, len(files), _MOST_IN_ONE):
        rights = array("i", files[begin : begin + _MOST_IN_ONE])
        line.sendmsg([b"f"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)], socket.MSG_DONTWAIT)


def receive_files(line: socket.socket, count: int) -> list[int]:
    """The next ``count`` files, which are the caller's now.

    Raises OverloadedError, and none is left open, where this process may not have so many or they have not come.
    """
    files: list[int] = []
    while len(files) < count:
        expected = min(count - len(files), _MOST_IN_ONE)
        received = _receive_message(line, expected)
        files += received
        if len(received) < expected:
            for file in files:
                os.close(file)
            raise OverloadedError("a worker process cannot open more files")
    return files


def _receive_message(line: socket.socket, most: int) -> list[int]:
    """The files of one message. What this process may not have of them, the system drops."""
    # socket.recv_fds would ignore these.
    flags = socket.MSG_DONTWAIT | socket.MSG_CMSG_CLOEXEC
    files = array("i")
    try:
        _, rights, _, _ = line.recvmsg(1, socket.CMSG_LEN(most * files.itemsize), flags)
    except BlockingIOError:
        return []
    for _, _, data in rights:
        files.frombytes(data[: len(data) - len(data) % files.itemsize])
    return list(files)
