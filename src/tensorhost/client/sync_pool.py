"""Connections for calls on threads, which another thread can break off.

A thread that waits for an answer cannot be cancelled; a socket that is shut down wakes it. httpx shows the sockets it
makes to whoever traces its requests, which costs a little for each, so that only streams of items do it.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from threading import Event, Lock
from typing import Any
from weakref import WeakSet

import httpx

from tensorhost.client.errors import RequestCancelledError

_CONNECTED = ("connect_tcp.complete", "start_tls.complete")


class SyncPool:
    """An httpx client, and the end of its use.

    Args:
        options: keywords of the httpx client.
        is_breakable: whether ``stop`` ends calls that are under way, too.
    """

    def __init__(self, options: dict[str, Any], *, is_breakable: bool = False) -> None:
        self.http = httpx.Client(**options)
        self.stopped = Event()
        self.extensions: dict[str, Any] = {"trace": self._see} if is_breakable else {}
        self._sockets: WeakSet[socket.socket] = WeakSet()
        self._lock = Lock()

    def check(self) -> None:
        """Raise RequestCancelledError once it is stopped: no further attempt is to be made."""
        if self.stopped.is_set():
            raise RequestCancelledError("The client was closed, or nobody waits for this call any more.")

    def stop(self) -> None:
        """Make no further attempt, and do not wait to; break off what is under way, if that can be done."""
        self.stopped.set()
        with self._lock:
            for connection in self._sockets:
                _shut(connection)

    def close(self) -> None:
        """Stop, and close the connections."""
        self.stop()
        self.http.close()

    def _see(self, event: str, info: dict[str, Any]) -> None:
        if event.endswith(_CONNECTED):
            connection = info["return_value"].get_extra_info("socket")
            with self._lock:
                self._sockets.add(connection)
            if self.stopped.is_set():
                _shut(connection)


def _shut(connection: socket.socket) -> None:
    with suppress(OSError):
        # Not the TLS socket's own, which would unwrap it under the hands of the thread that reads.
        socket.socket.shutdown(connection, socket.SHUT_RDWR)
