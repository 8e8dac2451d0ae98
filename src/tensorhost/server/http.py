"""The HTTP server: an application on sockets, from open to a stop that loses nothing.

Life: ``open`` → serving → ``begin_drain`` (still serving, every response closes its connection) → ``close``.
It knows nothing of signals and of models; whoever assembles the process calls these in order.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import select
import socket
import ssl
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import uvicorn

from tensorhost.core.errors import ErrorCode
from tensorhost.server.connections import Connection
from tensorhost.server.listener import BACKLOG, accept_pending, listen_on, stop_new_connections
from tensorhost.server.registry import Limits, Registry
from tensorhost.server.tls import tls_context
from tensorhost.settings import Settings

if TYPE_CHECKING:
    from starlette.types import ASGIApp

_LOG = logging.getLogger(__name__)
_POLL_S = 0.01
_QUIET_S = 0.5
_FLUSH_S = 1.0
_TLS_GOODBYE_S = 2.0


@dataclass(frozen=True, slots=True)
class StopReport:
    """How the stop went.

    ``cut_off_requests`` counts connections whose request was not answered completely within the shutdown timeout.
    """

    cut_off_requests: int = 0

    @property
    def clean(self) -> bool:
        """Whether every request was answered."""
        return self.cut_off_requests == 0


class HttpServer:
    """Serves one ASGI application.

    Args:
        app: a plain ASGI 3 callable; no lifespan events are sent to it.
        settings: address, TLS files and limits.
        on_refused: told of each request that is refused before ``app`` sees it.
        listeners: listening sockets made by another process, from which connections are taken once ``accept_from``
            says so; None to listen where ``settings`` say.
    """

    def __init__(
        self,
        app: ASGIApp,
        settings: Settings,
        on_refused: Callable[[ErrorCode], None] = lambda _code: None,
        listeners: Sequence[socket.socket] | None = None,
    ) -> None:
        self._config = uvicorn.Config(
            app,
            http=Connection,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
        )
        self._settings = settings
        self._registry = Registry(Limits.of(settings), on_refused)
        self._tls: ssl.SSLContext | None = None
        self._given = listeners
        self._listeners: list[socket.socket] = []
        self._servers: dict[int, asyncio.Server] = {}
        self._addresses: list[tuple[str, int]] = []

    async def open(self) -> None:
        """Listen and serve.

        Raises:
            CannotStartError: the address or the TLS files cannot be used; nothing has been started then.
        """
        self._tls = tls_context(self._settings)
        listeners = listen_on(self._settings.host, self._settings.http_ports) if self._given is None else self._given
        self._listeners = list(listeners)
        self._addresses = [listener.getsockname()[:2] for listener in listeners]
        self._registry.open()
        if self._given is None:
            await self.accept_from(range(len(listeners)))

    async def accept_from(self, indices: Collection[int]) -> None:
        """Take connections from these of the listeners, by position, and from no others; none after ``close``."""
        if not self._listeners:
            return
        for index in self._servers.keys() - set(indices):
            self._servers.pop(index).close()
        loop = asyncio.get_running_loop()
        for index in sorted(set(indices) - self._servers.keys()):
            # The event loop closes the sockets it is given; the listeners themselves keep the kernel's queues alive.
            handle = self._listeners[index].dup()
            server = await loop.create_server(self._new_connection, sock=handle, backlog=BACKLOG, **self._tls_options())
            if not self._listeners:  # closed meanwhile
                server.close()
                return
            self._servers[index] = server

    @property
    def port(self) -> int:
        """The port in use, also when the settings asked for any free one."""
        return self._addresses[0][1]

    @property
    def url(self) -> str:
        """Where a client on this machine reaches the server."""
        return base_url(self._settings, self.port)

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Every address and port that is listened on."""
        return list(self._addresses)

    @property
    def connection_count(self) -> int:
        """Open connections."""
        return len(self._registry.connections)

    @property
    def request_count(self) -> int:
        """Requests answered since the start."""
        return self._registry.total_requests

    def begin_drain(self) -> None:
        """From now on every response closes its connection; requests are still accepted."""
        self._registry.draining = True

    async def close(self) -> StopReport:
        """Stop: no new connections, finish what has begun, up to the shutdown timeout. A second call does nothing."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._settings.shutdown_timeout_s
        self.begin_drain()
        await self._close_listeners(deadline)
        await self._finish_requests(deadline)
        cut_off = await self._cut_off_rest()
        self._registry.close()
        return StopReport(cut_off)

    async def _close_listeners(self, deadline: float) -> None:
        """Close the listening sockets; adopt every connection the kernel had already established."""
        listeners, self._listeners = self._listeners, []
        servers, self._servers = self._servers, {}
        # Sockets that another process takes connections from are left to it.
        ours = [listeners[index] for index in servers]
        for listener in ours:
            stop_new_connections(listener)
        for server in servers.values():
            server.close()
        await asyncio.sleep(0)
        pending = [connection for listener in ours for connection in accept_pending(listener)]
        for listener in listeners:
            listener.close()
        if pending:
            _LOG.debug("adopting connections from the backlog", extra={"connections": len(pending)})
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(deadline):
                    await asyncio.gather(*map(self._adopt, pending), return_exceptions=True)

    async def _adopt(self, connection: socket.socket) -> None:
        await asyncio.get_running_loop().connect_accepted_socket(
            self._new_connection, connection, **self._tls_options()
        )

    def _new_connection(self) -> Connection:
        return Connection(self._config, self._registry, asyncio.get_running_loop())

    def _tls_options(self) -> dict[str, Any]:
        if self._tls is None:
            return {}
        return {
            "ssl": self._tls,
            "ssl_handshake_timeout": self._settings.header_timeout_s,
            "ssl_shutdown_timeout": _TLS_GOODBYE_S,
        }

    async def _finish_requests(self, deadline: float) -> None:
        """Close connections that have gone quiet and wait until the others have been answered.

        A connection that was used a moment ago, or has just been made, may have a request on its way: it is left a
        little time, and closes with the answer.
        """
        loop = asyncio.get_running_loop()
        while self._registry.owes_answers and loop.time() < deadline:
            quiet_since = loop.time() - _QUIET_S
            quiet = [connection for connection in self._registry.served() if connection.idle_since(quiet_since)]
            for connection in _without_input(quiet):
                connection.transport.close()
            await asyncio.sleep(_POLL_S)

    async def _cut_off_rest(self) -> int:
        """End what is left, and give last answers a moment to leave; the number of requests left unanswered."""
        rest = self._registry.served()
        cut_off = sum(connection.owes_bytes for connection in (*rest, *self._registry.lingering))
        tasks = list(self._registry.tasks)
        for connection in rest:
            connection.cut_off()
        await self._wait_until_closed(_FLUSH_S)
        for connection in (*self._registry.served(), *self._registry.lingering):
            connection.transport.abort()
        if tasks:
            await asyncio.wait(tasks, timeout=_FLUSH_S)
        return cut_off

    async def _wait_until_closed(self, timeout_s: float) -> None:
        for _ in range(round(timeout_s / _POLL_S)):
            if not self._registry.open_count:
                return
            await asyncio.sleep(_POLL_S)


def base_url(settings: Settings, port: int) -> str:
    """Where a client on this machine reaches a server with these settings at ``port``."""
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(settings.host, settings.host)  # noqa: S104
    if ":" in host and not host.startswith("["):
        host = f"[{host}]"
    return f"{'http' if settings.tls_certfile is None else 'https'}://{host}:{port}"


def _without_input(connections: list[Connection]) -> list[Connection]:
    """Those whose socket holds nothing unread: closing a socket that does would lose the request it holds."""
    poll = select.poll()
    by_descriptor: dict[int, Connection] = {}
    for connection in connections:
        descriptor = connection.transport.get_extra_info("socket").fileno()
        if descriptor >= 0:
            by_descriptor[descriptor] = connection
            poll.register(descriptor, select.POLLIN)
    for descriptor, _ in poll.poll(0):
        del by_descriptor[descriptor]
    return list(by_descriptor.values())
