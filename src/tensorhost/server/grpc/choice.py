"""Which transport serves which address, and why.

The rule: a limit is a promise. The native transport takes in and decompresses a whole message before it can be
measured, a thousand times the size it had on the wire; so where strangers reach the port and a limit is set, grpcio
serves, which refuses such a message while it arrives. Where only this machine calls, or any size is allowed, native
promises nothing it cannot keep.
"""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass
from typing import Any, Literal

from tensorhost.server.grpc.calls import max_message_bytes
from tensorhost.server.listener import CannotStartError
from tensorhost.settings import Settings

_CORES_FOR_TWO_THREADS = 8
_ROOM_FOR_A_REFUSAL_BYTES = 16 * 2**20
_MOST_BYTES = 2**31 - 1
"""Of any message: protobuf has no larger ones, and the library's own number no more bits."""

_WHOLE_NUMBERS = {
    "grpc.keepalive_time_ms": "keepalive_time_ms",
    "grpc.keepalive_timeout_ms": "keepalive_timeout_ms",
    "grpc.max_concurrent_streams": "max_concurrent_streams",
    "grpc.absolute_max_metadata_size": "max_metadata_size",
}
_SWITCHES = {
    "grpc.keepalive_permit_without_calls": "keepalive_permit_without_calls",
    "grpc.so_reuseport": "reuse_port",
}
"""Channel arguments that the native transport has words for."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A transport, and why it is this one: a clause for the log."""

    transport: Literal["native", "grpcio"]
    why: str

    def __str__(self) -> str:
        return f"{self.transport}: {self.why}"


def native_installed() -> bool:
    """Whether this platform has the native transport."""
    return importlib.util.find_spec("pygrpc_native") is not None


def choose(settings: Settings, *, has_native: bool) -> Choice:
    """The transport for the addresses in ``settings``.

    Args:
        settings: what is promised.
        has_native: whether this platform has the native one.

    Raises:
        CannotStartError: the setting ``grpc_transport`` asks for native, which cannot do what another setting says.
    """
    obstacle = _obstacle(settings, has_native=has_native)
    if settings.grpc_transport == "grpcio":
        return Choice("grpcio", "grpc_transport says so")
    if settings.grpc_transport == "native":
        if obstacle is not None:
            raise CannotStartError(f"grpc_transport=native cannot be: {obstacle}.")
        return Choice("native", "grpc_transport says so")
    if obstacle is not None:
        return Choice("grpcio", obstacle)
    if max_message_bytes(settings) == 0:
        return Choice("native", "messages of any size are allowed")
    if settings.grpc_port == 0 or settings.bound_to_loopback:
        return Choice("native", "only this machine can call")
    return Choice(
        "grpcio", "others than this machine can call, and it keeps grpc_max_message_bytes as a message arrives"
    )


def native_options(settings: Settings) -> dict[str, Any]:
    """The channel arguments in the words of the native transport; those that it has no word for are left out."""
    options: dict[str, Any] = {}
    for key, value in settings.grpc_arguments:
        if isinstance(value, int) and key in _WHOLE_NUMBERS:
            options[_WHOLE_NUMBERS[key]] = value
        elif isinstance(value, int) and key in _SWITCHES:
            options[_SWITCHES[key]] = bool(value)
    return options


def native_threads(settings: Settings) -> int:
    """Threads for the native transport's sockets.

    One carries more small calls than Python answers, and leaves the other core of a small machine to Python.
    """
    return settings.grpc_max_threads or (1 if (os.cpu_count() or 1) < _CORES_FOR_TWO_THREADS else 2)


def grpcio_options(settings: Settings) -> dict[str, int | str]:
    """Channel arguments of the grpcio transport: limits of ours, then what the operator gave."""
    ours: dict[str, int | str] = {
        # A port that others share would be joined instead of refused.
        "grpc.so_reuseport": 0,
        "grpc.max_receive_message_length": _refused_unread_bytes(max_message_bytes(settings)),
        "grpc.max_send_message_length": -1,
        "grpc.max_concurrent_streams": 1024,
        "grpc.max_allowed_incoming_connections": settings.max_connections,
    }
    return ours | dict(settings.grpc_arguments)


def _refused_unread_bytes(limit: int) -> int:
    """The size of message beyond which grpcio refuses it as it begins; -1 for none.

    What is refused in this way gets the library's words, which name no setting; so what is larger than allowed by a
    little is taken in, and refused by ``Calls``.
    """
    return min(limit + min(limit, _ROOM_FOR_A_REFUSAL_BYTES), _MOST_BYTES) if limit else -1


def _obstacle(settings: Settings, *, has_native: bool) -> str | None:
    """Why the native transport cannot serve; None when it can."""
    if not has_native:
        return "pygrpc-native is not available for this platform"
    if settings.grpc_ssl_config_file is not None or settings.tls_certfile is not None:
        return "it has no TLS"
    for key, value in settings.grpc_arguments:
        if not isinstance(value, int) or (key not in _WHOLE_NUMBERS and key not in _SWITCHES):
            return f"it does not know the channel argument {key}"
    return None
