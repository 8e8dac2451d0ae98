"""A Unix socket's file, put in place and taken away without harm to that of another server.

The gRPC libraries remove the path they have bound, even when it has become another server's meanwhile. So they bind
a name that nobody else has, which is then moved to the path: the last server wins, and an earlier one that ends takes
only its own file away.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from tensorhost.server.listener import CannotStartError

_MAX_PATH_BYTES = 100
"""Most systems take up to 103 or 107, of which the temporary name needs some."""


class SocketFile:
    """The file at ``path``. Bind ``temporary``, then ``place`` it; ``remove`` at the end."""

    def __init__(self, path: Path) -> None:
        self._path = path.absolute()
        self._identity: tuple[int, int] | None = None
        self.temporary = self._path.with_name(f".{os.getpid():x}")

    def check(self) -> None:
        """Raise CannotStartError when there could be no socket, or when something else is at the path."""
        if len(os.fsencode(self.temporary)) > _MAX_PATH_BYTES or len(os.fsencode(self._path)) > _MAX_PATH_BYTES:
            raise CannotStartError(f"grpc_socket_path is too long for a Unix socket: {self._path}.")
        if not os.access(self._path.parent, os.W_OK | os.X_OK):
            raise CannotStartError(f"grpc_socket_path cannot be made: no folder to write to at {self._path.parent}.")
        if os.path.lexists(self._path) and not stat.S_ISSOCK(self._path.lstat().st_mode):
            raise CannotStartError(f"grpc_socket_path is taken by something that is no socket: {self._path}.")

    def place(self) -> None:
        """Move the bound socket to the path, in the place of whatever socket is there."""
        status = self.temporary.stat()
        self._identity = (status.st_dev, status.st_ino)
        self.temporary.replace(self._path)

    def remove(self) -> None:
        """Remove the file, if it is still this one."""
        if self._identity is None:
            return
        try:
            status = self._path.lstat()
            if (status.st_dev, status.st_ino) == self._identity:
                self._path.unlink()
        except FileNotFoundError:
            return
