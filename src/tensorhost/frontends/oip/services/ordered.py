"""Requests of one stream, worked on side by side and answered in the order in which they came.

So that the rows of a client that sends much at once meet in one batch, while it can tell answers apart without ids.
What must stay true: never more than ``most`` requests are in hand, counting those whose answers the client has not
taken; and when the stream ends, however it does, nothing that it began goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable


async def answered_in_order(
    requests: AsyncIterator[bytes], answer: Callable[[bytes], Awaitable[bytes]], *, most: int
) -> AsyncGenerator[bytes, None]:
    """The answers to ``requests``.

    Args:
        requests: as they arrive. Where they end with an error, those that came before it are answered first.
        answer: called for each at once; what it raises ends the stream.
        most: so many are in hand at once; the rest waits where it is.
    """
    begun: asyncio.Queue[asyncio.Task[bytes] | None] = asyncio.Queue()
    room = asyncio.Semaphore(most)
    running: set[asyncio.Task[bytes]] = set()
    reading = asyncio.ensure_future(_begin(requests, answer, room, begun, running))
    try:
        while (task := await begun.get()) is not None:
            yield await task
            running.discard(task)
            room.release()
        await reading
    finally:
        left = [reading, *running]
        for each in left:
            each.cancel()
        await asyncio.gather(*left, return_exceptions=True)


async def _begin(
    requests: AsyncIterator[bytes],
    answer: Callable[[bytes], Awaitable[bytes]],
    room: asyncio.Semaphore,
    begun: asyncio.Queue[asyncio.Task[bytes] | None],
    running: set[asyncio.Task[bytes]],
) -> None:
    """Begin each request as soon as there is room for it; None in ``begun`` says that there are no more."""
    try:
        await room.acquire()
        async for request in requests:
            task = asyncio.ensure_future(answer(request))
            # Until its answer is taken: the failure of one that nobody takes is then heard at the end of the stream.
            running.add(task)
            begun.put_nowait(task)
            await room.acquire()
    finally:
        begun.put_nowait(None)
