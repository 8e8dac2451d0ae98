"""Memory that requests under way take beyond what they sent, bounded for all of them together.

A request of fifty bytes may state a shape of 2^27 values, or name a gigabyte of shared memory: a few such at a time
would end the process. The bytes that they did send are bounded where they arrive.
"""

from __future__ import annotations

from types import TracebackType
from typing import Self


class UnsentMemory:
    """Counts the memory of all requests of one front end.

    Args:
        max_bytes: the bound. A request that is alone may go beyond it, as one of so many bytes might.
    """

    __slots__ = ("_max_bytes", "_taken_bytes")

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._taken_bytes = 0

    def take(self, size_bytes: int) -> bool:
        """Take so much; False, and nothing is taken, where others have taken too much."""
        if self._taken_bytes and self._taken_bytes + size_bytes > self._max_bytes:
            return False
        self._taken_bytes += size_bytes
        return True

    def give_back(self, size_bytes: int) -> None:
        """The opposite."""
        self._taken_bytes -= size_bytes


class Claim:
    """The part of one request in ``UnsentMemory``, given back at the end of the ``with`` block or by ``release``."""

    __slots__ = ("_bytes", "_memory")

    def __init__(self, memory: UnsentMemory) -> None:
        self._memory = memory
        self._bytes = 0

    def take(self, size_bytes: int) -> bool:
        """Once; see ``UnsentMemory``."""
        taken = self._memory.take(size_bytes)
        self._bytes = size_bytes if taken else 0
        return taken

    def release(self) -> None:
        """Give it back; once for all, however often it is called."""
        self._memory.give_back(self._bytes)
        self._bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bytes:
            self.release()
