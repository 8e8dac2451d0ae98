"""What carries calls between sockets and ``Calls``: the interface of both transports."""

from __future__ import annotations

from typing import Protocol

LAST_CALLS_S = 0.1
"""How long a transport that has nothing left to answer waits before it stops: whoever calls again and again sends the
next call on its last answer, and that is to be refused, too."""


class Transport(Protocol):
    """One gRPC server on one or more addresses. Life: ``open`` → ``close``, each once, on the event loop.

    It answers each call exactly once, honours deadlines and cancels the task of a call whose client has gone.
    """

    @property
    def addresses(self) -> list[str]:
        """Where clients reach it, as gRPC writes targets; known once it is open."""
        ...

    async def open(self) -> None:
        """Listen and serve.

        Raises:
            CannotStartError: an address cannot be used; nothing is left open then.
        """
        ...

    async def close(self, deadline: float) -> int:
        """Finish the calls that have begun and stop; ``Calls`` refuses others by now.

        Args:
            deadline: on the event loop's clock; calls that take longer are cut off.

        Returns:
            How many calls were cut off.
        """
        ...
