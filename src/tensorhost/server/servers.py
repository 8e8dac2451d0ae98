"""The servers of one process, HTTP and gRPC, as one: opened, drained and closed together."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

from tensorhost.server.grpc import GrpcServer
from tensorhost.server.http import HttpServer, StopReport
from tensorhost.server.listener import CannotStartError
from tensorhost.settings import Settings


class Servers:
    """What listens in this process.

    Args:
        http: the HTTP server; None where the settings want none.
        grpc: the gRPC server; None likewise.
        settings: how long a stop may take.
        told: whether somebody else says from when on calls are taken, with ``accept_from``.
    """

    def __init__(
        self, http: HttpServer | None, grpc: GrpcServer | None, settings: Settings, *, told: bool = False
    ) -> None:
        self.http = http
        self.grpc = grpc
        self._settings = settings
        self._told = told
        self._grpc_open = False

    async def open(self) -> None:
        """Listen and serve; raises CannotStartError when an address cannot be used, with nothing open then."""
        if self.http is not None:
            await self.http.open()
        if not self._told:
            try:
                await self._open_grpc()
            except CannotStartError:
                await self._close_http()
                raise

    async def accept_from(self, sockets: Collection[int], *, serving: bool) -> None:
        """Take HTTP connections from these sockets; see ``HttpServer``.

        Args:
            sockets: positions among the sockets of all processes.
            serving: whether this process is to serve. From the first time on it takes gRPC calls, until it is closed.
        """
        if self.http is not None:
            await self.http.accept_from(sockets)
        if serving:
            await self._open_grpc()

    @property
    def places(self) -> str:
        """Where clients on this machine reach it, for people."""
        places = [] if self.http is None else [self.http.url]
        places += [f"gRPC at {address}" for address in self.grpc_addresses]
        return ", ".join(places)

    @property
    def grpc_addresses(self) -> list[str]:
        """Where gRPC clients reach it."""
        return [] if self.grpc is None else self.grpc.addresses

    def log_fields(self) -> dict[str, str]:
        """The same for the log, and what carries gRPC."""
        fields = {} if self.http is None else {"url": self.http.url}
        if self.grpc is not None:
            fields["grpc"] = ", ".join(self.grpc.addresses)
            fields["grpc_transport"] = str(self.grpc.choice)
        return fields

    def begin_drain(self) -> None:
        """From now on every HTTP response closes its connection; requests are still accepted."""
        if self.http is not None:
            self.http.begin_drain()

    async def close(self) -> StopReport:
        """Stop both: nothing new, finish what has begun, up to the shutdown timeout."""
        deadline = asyncio.get_running_loop().time() + self._settings.shutdown_timeout_s
        closing_grpc = self.grpc.close(deadline) if self.grpc is not None and self._grpc_open else _nothing()
        http, calls = await asyncio.gather(self._close_http(), closing_grpc)
        return StopReport(http.cut_off_requests + calls)

    async def _open_grpc(self) -> None:
        if self.grpc is not None and not self._grpc_open:
            self._grpc_open = True
            await self.grpc.open()

    async def _close_http(self) -> StopReport:
        return StopReport() if self.http is None else await self.http.close()


async def _nothing() -> int:
    return 0
