"""The gRPC server: methods on the addresses of the settings, from open to a stop that loses no call that has begun.

Life: ``open`` → serving → ``close``. One transport per address; behind a native one stands a grpcio server on a
private Unix socket, to which it passes the calls it cannot serve.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tensorhost.frontends.rpc import Rpc, StreamRpc
from tensorhost.server.grpc.calls import Authorise, Calls
from tensorhost.server.grpc.choice import (
    Choice,
    choose,
    grpcio_options,
    native_installed,
    native_options,
    native_threads,
)
from tensorhost.server.grpc.socket_file import SocketFile
from tensorhost.server.grpc.transport import Transport
from tensorhost.server.listener import CannotStartError, addresses_of, reserve
from tensorhost.settings import Settings


class GrpcServer:
    """Serves methods over gRPC.

    Args:
        rpcs: every method; no path twice.
        settings: addresses, transport, TLS, limits.
        authorise: see ``Calls``.
        shared: whether other processes of this server listen on the same port, which somebody holds for all of them.
    """

    def __init__(
        self, rpcs: Sequence[Rpc | StreamRpc], settings: Settings, authorise: Authorise, *, shared: bool = False
    ) -> None:
        self._calls = Calls(rpcs, settings, authorise)
        self._settings = settings
        self._shared = shared
        self._socket_file = SocketFile(settings.grpc_socket_path) if settings.grpc_socket_path is not None else None
        self._fronts: list[Transport] = []
        self._behind: Transport | None = None
        self._scratch: Path | None = None
        self.choice: Choice | None = None
        """The transport of the unary methods, and why it is that; known once it is open."""

    @property
    def addresses(self) -> list[str]:
        """Where clients reach it: ``host:port`` and ``unix:/path``."""
        tcp = [address for front in self._fronts for address in front.addresses if not address.startswith("unix:")]
        return tcp + _unix_addresses(self._settings)

    async def open(self) -> None:
        """Listen and serve.

        Raises:
            CannotStartError: an address, the TLS files or the transport asked for cannot be used; nothing is open then.
        """
        self.choice = choose(self._settings, has_native=native_installed())
        try:
            fallback = await self._open_behind() if self.choice.transport == "native" and self._calls.streams else None
            for target in self._tcp_targets():
                await self._open_front(target, fallback)
            if self._socket_file is not None:
                self._socket_file.check()
                await self._open_front(f"unix:{self._socket_file.temporary}", fallback)
                self._socket_file.place()
        except CannotStartError:
            await self.close(asyncio.get_running_loop().time())
            raise

    async def close(self, deadline: float) -> int:
        """Refuse new calls, finish those that have begun, and stop.

        Args:
            deadline: on the event loop's clock; calls that take longer are cut off.

        Returns:
            How many calls were cut off.
        """
        self._calls.close()
        if self._socket_file is not None:
            self._socket_file.remove()
        # What stands behind first: its streams reach their clients through the fronts.
        cut_off = 0 if self._behind is None else await self._behind.close(deadline)
        cut_off += sum(await asyncio.gather(*(front.close(deadline) for front in self._fronts)))
        if self._scratch is not None:
            shutil.rmtree(self._scratch, ignore_errors=True)
        return cut_off

    def _tcp_targets(self) -> list[str]:
        """The addresses to listen on, once it is sure that they are free, or held for this server."""
        host, port = self._settings.host, self._settings.grpc_port
        if port == 0:
            return []
        if self._shared:
            return grpc_addresses(self._settings.model_copy(update={"grpc_socket_path": None}))
        holders = reserve(host, max(port, 0))
        try:
            return [_target(*holder.getsockname()[:2]) for holder in holders]
        finally:
            for holder in holders:
                holder.close()

    async def _open_front(self, target: str, fallback: str | None) -> None:
        front = self._front(target, fallback)
        await front.open()
        self._fronts.append(front)

    def _front(self, target: str, fallback: str | None) -> Transport:
        tcp = not target.startswith("unix:")
        if self.choice is not None and self.choice.transport == "native":
            # Not on every platform, and not needed by every server.
            from tensorhost.server.grpc.native import NativeTransport

            options = native_options(self._settings)
            if self._shared and tcp:
                options["reuse_port"] = True
            return NativeTransport(
                self._calls, target, threads=native_threads(self._settings), options=options, fallback=fallback
            )
        # Half a tenth of a second to import, which a server without gRPC need not wait for.
        from tensorhost.server.grpc.credentials import server_credentials
        from tensorhost.server.grpc.grpcio import GrpcioTransport

        credentials = server_credentials(self._settings) if tcp else None
        arguments = grpcio_options(self._settings)
        if self._shared and tcp:
            arguments["grpc.so_reuseport"] = 1
        return GrpcioTransport(self._calls, target, options=arguments, credentials=credentials)

    async def _open_behind(self) -> str:
        """Open what serves streams to the native transports; the path of its socket."""
        from tensorhost.server.grpc.grpcio import GrpcioTransport

        self._scratch = Path(tempfile.mkdtemp(prefix="tensorhost-grpc-"))
        path = self._scratch / "socket"
        behind = GrpcioTransport(
            self._calls, f"unix:{path}", options=grpcio_options(self._settings), credentials=None, behind=True
        )
        await behind.open()
        self._behind = behind
        return str(path)


def check_grpc(settings: Settings) -> Choice | None:
    """The transport that these settings lead to; None where there is no gRPC.

    Raises:
        CannotStartError: the transport asked for or the TLS files cannot be used.
    """
    if settings.grpc_port == 0 and settings.grpc_socket_path is None:
        return None
    choice = choose(settings, has_native=native_installed())
    if choice.transport == "grpcio":
        from tensorhost.server.grpc.credentials import server_credentials

        server_credentials(settings)
    return choice


def grpc_addresses(settings: Settings) -> list[str]:
    """Where clients reach a server with these settings, of which the port is known."""
    if settings.grpc_port == 0:
        return _unix_addresses(settings)
    tcp = [_target(address, settings.grpc_port) for _, address in addresses_of(settings.host, settings.grpc_port)]
    return tcp + _unix_addresses(settings)


def _unix_addresses(settings: Settings) -> list[str]:
    return [] if settings.grpc_socket_path is None else [f"unix:{settings.grpc_socket_path}"]


def _target(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
