"""What all connections of one server share: who is there, the limits, and the one timer that enforces them.

Timeouts cost nothing per request: a connection only writes down its deadline, and one sweep a second (more often when
the timeouts are short) asks each whether it has passed. A timeout therefore lasts up to one sweep longer than set.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import formatdate
from typing import TYPE_CHECKING

from uvicorn.server import ServerState

from tensorhost.core.errors import ErrorCode
from tensorhost.settings import Settings

if TYPE_CHECKING:
    from tensorhost.server.connections import Connection

_LOG = logging.getLogger(__name__)

_LONGEST_SWEEP_S = 1.0
_SHORTEST_SWEEP_S = 0.01
_SWEEPS_PER_TIMEOUT = 5
_SCRATCH_BYTES = 2**14


@dataclass(frozen=True, slots=True)
class Limits:
    """What one client may take, and all together. Durations in seconds, sizes in bytes."""

    max_connections: int
    max_header_bytes: int
    max_body_bytes: int
    max_buffered_body_bytes: int
    header_timeout_s: float
    body_timeout_s: float
    keep_alive_timeout_s: float

    @classmethod
    def of(cls, settings: Settings) -> Limits:
        """The limits that ``settings`` set."""
        return cls(
            max_connections=settings.max_connections,
            max_header_bytes=int(settings.max_header_bytes),
            max_body_bytes=int(settings.max_body_bytes),
            max_buffered_body_bytes=int(settings.max_buffered_body_bytes),
            header_timeout_s=settings.header_timeout_s,
            body_timeout_s=settings.body_timeout_s,
            keep_alive_timeout_s=settings.keep_alive_timeout_s,
        )

    @property
    def sweep_interval_s(self) -> float:
        """How often deadlines are looked at: a fraction of the shortest timeout, at most once a second."""
        shortest = min(self.header_timeout_s, self.body_timeout_s, self.keep_alive_timeout_s)
        return min(_LONGEST_SWEEP_S, max(_SHORTEST_SWEEP_S, shortest / _SWEEPS_PER_TIMEOUT))


class Registry(ServerState):
    """The state uvicorn's protocol shares between connections, and ours.

    ``connections`` holds those that are served, ``lingering`` those that have been answered for the last time and
    only wait for the client to read that. ``draining`` makes every response close its connection. ``on_refused`` is
    told of each request that was refused before the application saw it. ``buffered_body_bytes`` counts the request
    bodies, complete or not, of exchanges that have not ended, and ``reserved_body_bytes`` the memory that was taken for
    whole bodies before they came; the exchanges keep both. ``scratch`` is where connections whose bodies are large read
    what else comes: each uses it up before another reads.
    """

    def __init__(self, limits: Limits, on_refused: Callable[[ErrorCode], None] = lambda _code: None) -> None:
        super().__init__()
        self.limits = limits
        self.on_refused = on_refused
        self.lingering: set[Connection] = set()
        self.draining = False
        self.buffered_body_bytes = 0
        self.reserved_body_bytes = 0
        self.scratch = memoryview(bytearray(_SCRATCH_BYTES))
        self.date_line = _date_line()
        self._timer: asyncio.TimerHandle | None = None

    def open(self) -> None:
        """Start sweeping on the running loop."""
        self._sweep()

    def close(self) -> None:
        """Stop sweeping."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def served(self) -> list[Connection]:
        """The connections being served, at this moment."""
        return list(self.connections)  # type: ignore[arg-type]  # uvicorn types the set by its own protocols

    @property
    def open_count(self) -> int:
        """Connections not closed yet, the lingering ones included."""
        return len(self.connections) + len(self.lingering)

    @property
    def owes_answers(self) -> bool:
        """Whether a connection is still served, or a last answer has not left completely."""
        return bool(self.connections) or any(connection.owes_bytes for connection in self.lingering)

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        # First of all, so that nothing that fails below can end the timeouts of every connection.
        self._timer = loop.call_later(self.limits.sweep_interval_s, self._sweep)
        self.date_line = _date_line()
        now = loop.time()
        for connection in (*self.served(), *self.lingering):
            try:
                connection.check(now)
            except Exception:  # noqa: BLE001 - one connection's fault must not keep the others from being checked
                _LOG.exception("a connection's deadlines could not be checked")


def _date_line() -> bytes:
    return b"date: %b\r\n" % formatdate(time.time(), usegmt=True).encode("ascii")
