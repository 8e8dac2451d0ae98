"""Copies between this process and shared memory: on the event loop where they are quick, else on a thread.

What must stay true: what a copy reads and writes is not given up before its thread has left it, also where the request
has ended meanwhile.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from tensorhost.core.errors import DeadlineExceededError

OFF_LOOP_BYTES = 2**20
"""More are copied on a thread: a megabyte takes about as long as having a thread do it."""

_PIECE_BYTES = 8 * 2**20
"""A copy that nobody waits for any more ends after so many, a few milliseconds."""


class Copy(NamedTuple):
    """``copy``, a method of ``Part``, is called with pieces of ``data`` and where they lie in the part."""

    copy: Callable[[memoryview, int], None]
    data: memoryview


class Copier:
    """Makes the copies of one request. Use ``close``, whatever happened."""

    __slots__ = ("_running", "_stopped")

    def __init__(self) -> None:
        self._running: asyncio.Future[None] | None = None
        self._stopped = False

    async def run(self, copies: Sequence[Copy], deadline: float) -> None:
        """Make them, one after another.

        Args:
            copies: what to copy.
            deadline: an instant on the event loop's clock; ``inf`` for none.

        Raises:
            DeadlineExceededError: it passed; no further piece is copied.
            TensorhostError: as ``Part.read`` and ``Part.write``.
        """
        if sum(len(each.data) for each in copies) <= OFF_LOOP_BYTES:
            self._copy_all(copies)
            return
        loop = asyncio.get_running_loop()
        # Not cancelled with this task: a thread cannot be, and what it uses must be known to be in use.
        self._running = running = loop.run_in_executor(None, self._copy_all, copies)
        time_left_s = None if deadline == math.inf else max(deadline - loop.time(), 0.0)
        await asyncio.wait([running], timeout=time_left_s)
        if not running.done():
            raise DeadlineExceededError("The deadline passed while tensors were copied from or to shared memory.")
        self._running = None
        try:
            running.result()
        finally:
            # An error holds this frame and its thread's, and so this object; were one of them to hold the future, which
            # holds the error, what was copied would stay until the next garbage collection.
            del running

    def close(self, then: Callable[[], None]) -> None:
        """Copy no more, and call ``then`` when no thread copies any more: now, or as soon as that is so."""
        self._stopped = True
        running, self._running = self._running, None
        if running is None:
            then()
        elif running.done():
            _close(running, then)
        else:
            running.add_done_callback(lambda done: _close(done, then))

    def _copy_all(self, copies: Sequence[Copy]) -> None:
        for copy, data in copies:
            for begin in range(0, len(data), _PIECE_BYTES):
                if self._stopped:
                    return
                copy(data[begin : begin + _PIECE_BYTES], begin)


def _close(done: asyncio.Future[None], then: Callable[[], None]) -> None:
    if not done.cancelled():
        done.exception()  # nobody is left to be told
    then()
