"""Listening sockets: opening them, and closing them without losing a client.

A connection is established by the kernel before the server accepts it, so simply closing a listening socket resets
clients that are connected and may have sent their request. Here the socket first stops answering new clients, then
what the kernel holds is accepted, and only then the socket goes.
"""

from __future__ import annotations

import array
import contextlib
import errno
import socket
import struct
import sys
from collections.abc import Iterator, Sequence

from tensorhost.core.errors import TensorhostError

BACKLOG = 2048
_SO_ATTACH_FILTER = 26
# Classic BPF over a segment that begins with its TCP header: drop it when SYN is set (byte 13, bit 1), else keep it.
_DROP_SYN = ((0x30, 0, 0, 13), (0x45, 0, 1, 0x02), (0x06, 0, 0, 0), (0x06, 0, 0, 0xFFFFFFFF))


class CannotStartError(TensorhostError):
    """The server cannot listen as configured; the message says what to change."""


def listen(host: str, port: int, *, shared: bool = False) -> list[socket.socket]:
    """Non-blocking sockets listening on every address of ``host``, all on one port.

    Args:
        host: a name or address; ``::`` listens on IPv4 as well.
        port: 0 for any free one.
        shared: let ``listen_together`` add sockets to the port.

    Raises:
        CannotStartError: the host is unknown, or the port is taken or not allowed.
    """
    sockets: list[socket.socket] = []
    try:
        for family, address in addresses_of(host, port):
            bound_port = sockets[0].getsockname()[1] if sockets else port
            sockets.append(_listen_on(family, (address, bound_port), dual_stack=address == "::", shared=shared))
    except OSError as error:
        for opened in sockets:
            opened.close()
        raise CannotStartError(_why(error, host, port)) from error
    return sockets


def listen_on(host: str, ports: Sequence[int], *, shared: bool = False) -> list[socket.socket]:
    """``listen`` for each of ``ports``; raises as it does, with no socket left open."""
    sockets: list[socket.socket] = []
    try:
        for port in ports:
            sockets += listen(host, port, shared=shared)
    except CannotStartError:
        for opened in sockets:
            opened.close()
        raise
    return sockets


def listen_together(host: str, ports: Sequence[int], count: int) -> list[list[socket.socket]]:
    """``count`` times the sockets of ``listen_on``; the kernel spreads new connections over them.

    Linux only. Raises CannotStartError as ``listen`` does, also when a port belongs to others that share theirs.
    """
    first = listen_on(host, ports, shared=True)
    groups = [first]
    try:
        for _ in range(count - 1):
            groups.append([])
            for listener in first:
                groups[-1].append(_listen_like(listener))
    except OSError as error:
        for opened in (listener for group in groups for listener in group):
            opened.close()
        raise CannotStartError(_why(error, host, ports[0])) from error
    return groups


def reserve(host: str, port: int, *, shared: bool = False) -> list[socket.socket]:
    """Sockets that hold a port on every address of ``host`` without listening; the gRPC libraries open their own.

    Args:
        host: as for ``listen``.
        port: 0 for any free one.
        shared: let sockets of this user that share ports join while these are open; Linux only. Without it they must
            be closed before the port can be used.

    Raises:
        CannotStartError: the host is unknown, or the port is taken or not allowed.
    """
    sockets: list[socket.socket] = []
    try:
        for family, address in addresses_of(host, port):
            bound_port = sockets[0].getsockname()[1] if sockets else port
            holder = _new_listener(family, dual_stack=address == "::")
            sockets.append(holder)
            holder.bind((address, bound_port))
            if shared:
                # Only now, as in ``_listen_on``.
                holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    except OSError as error:
        for opened in sockets:
            opened.close()
        raise CannotStartError(_why(error, host, port, any_free="-1")) from error
    return sockets


def stop_new_connections(listener: socket.socket) -> None:
    """Let the kernel ignore new clients of ``listener``; those it already holds can still be accepted.

    A client that comes now tries again a second later, on its own, and is refused once the socket is closed. Only
    Linux can do this; elsewhere a client that connects in the instant of closing may be reset.
    """
    if sys.platform != "linux":
        return
    program = array.array("B", b"".join(struct.pack("HBBI", *step) for step in _DROP_SYN))
    address, _ = program.buffer_info()
    with contextlib.suppress(OSError):  # refused by a sandbox: then as on other systems
        listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HL", len(_DROP_SYN), address))


def accept_pending(listener: socket.socket) -> Iterator[socket.socket]:
    """Every connection the kernel holds for ``listener`` now, without waiting."""
    while True:
        try:
            connection, _ = listener.accept()
        except BlockingIOError:
            return
        except ConnectionAbortedError:
            continue  # this client has given up meanwhile
        except OSError:
            return  # out of file descriptors: nothing more can be taken
        connection.setblocking(False)
        yield connection


def addresses_of(host: str, port: int) -> list[tuple[socket.AddressFamily, str]]:
    """Every address of ``host`` on this machine; raises OSError for an unknown one."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return list(dict.fromkeys((family, str(address[0])) for family, _, _, _, address in found))


def _listen_on(
    family: socket.AddressFamily, address: tuple[str, int], *, dual_stack: bool, shared: bool = False
) -> socket.socket:
    listener = _new_listener(family, dual_stack=dual_stack)
    try:
        listener.bind(address)
        if shared:
            # Only now: with the option set before, a port that others share would be joined instead of refused.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def _listen_like(first: socket.socket) -> socket.socket:
    dual_stack = first.family == socket.AF_INET6 and not first.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
    listener = _new_listener(first.family, dual_stack=dual_stack)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind(first.getsockname())
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def _new_listener(family: int, *, dual_stack: bool) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if dual_stack else 1)
    listener.setblocking(False)
    return listener


def _why(error: OSError, host: str, port: int, any_free: str = "0") -> str:
    if isinstance(error, socket.gaierror):
        return f"The host '{host}' is not known on this machine."
    if error.errno == errno.EADDRINUSE:
        return f"Port {port} on {host} is already in use; choose another port, or {any_free} for any free one."
    if error.errno == errno.EADDRNOTAVAIL:
        return f"The address {host} does not belong to this machine."
    if error.errno == errno.EACCES:
        return f"Listening on port {port} is not allowed for this user; choose a port from 1024 on."
    return f"Cannot listen on {host} port {port}: {error.strerror}."
