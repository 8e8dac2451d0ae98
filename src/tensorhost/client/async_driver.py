"""Carries out the steps of a method on an asyncio event loop."""

from __future__ import annotations

import asyncio
from asyncio import sleep
from collections.abc import AsyncGenerator, AsyncIterable, Iterable
from contextlib import aclosing
from time import monotonic
from typing import Any, TypeVar

import httpx
from tenacity import AsyncRetrying

from tensorhost.client.answers import Answer
from tensorhost.client.calls import Call
from tensorhost.client.encoding import FilesToReadError, to_json
from tensorhost.client.errors import ClientError, DeadlineExceededError, RequestCancelledError
from tensorhost.client.link import Link
from tensorhost.client.options import PredictOptions
from tensorhost.client.progress import progress_bar
from tensorhost.client.steps import Encode, Methods, Steps
from tensorhost.client.streams import Chunker, Result, StreamPlan, settled
from tensorhost.client.transport import Content, httpx_errors_translated

T = TypeVar("T")


class AsyncDriver:
    """A pool of connections, and the waiting on them. For one event loop."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._http = httpx.AsyncClient(**link.options)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def run(self, steps: Steps[T]) -> T:
        """What the steps lead to."""
        try:
            step = next(steps)
            while True:
                try:
                    outcome = await (_encode(step.value) if isinstance(step, Encode) else self._make(step))
                except ClientError as error:
                    step = steps.throw(error)
                else:
                    step = steps.send(outcome)
        except StopIteration as end:
            result: T = end.value
            return result

    async def stream(
        self,
        methods: Methods,
        model: str,
        items: Iterable[object] | AsyncIterable[object],
        options: PredictOptions,
        plan: StreamPlan,
    ) -> AsyncGenerator[Result, None]:
        """The results of items, in their order, with ``plan.concurrency`` requests under way."""
        under_way = asyncio.Semaphore(plan.concurrency)
        # One more chunk is in the producer's hand.
        room = asyncio.Semaphore(plan.window - 1)
        # In the order of their items; None after the last. ``room`` bounds it.
        asked: asyncio.Queue[asyncio.Task[list[Result]] | None] = asyncio.Queue()
        tasks: set[asyncio.Task[list[Result]]] = set()

        async def ask(chunk: list[bytes | ClientError]) -> list[Result]:
            async with under_way:
                return await self.run(plan.ask(methods, model, chunk, options))

        async def produce() -> None:
            try:
                async with aclosing(self._chunks(methods, items, options, plan.chunk_size)) as chunks:
                    async for chunk in chunks:
                        await room.acquire()
                        task = asyncio.create_task(ask(chunk))
                        tasks.add(task)
                        asked.put_nowait(task)
            finally:
                asked.put_nowait(None)

        producer = asyncio.create_task(produce())
        try:
            with progress_bar(plan.title, items) as advance:
                while (task := await asked.get()) is not None:
                    results = await task
                    tasks.discard(task)
                    for result in settled(results, plan.errors):
                        advance()
                        yield result
                    room.release()
                await producer
        finally:
            await _end(producer, *tasks)

    async def _chunks(
        self, methods: Methods, items: Iterable[object] | AsyncIterable[object], options: PredictOptions, size: int
    ) -> AsyncGenerator[list[bytes | ClientError], None]:
        chunker = Chunker(size)
        failure: Exception | None = None
        async with aclosing(_each(items)) as remaining:
            while True:
                try:
                    item = await anext(remaining)
                except StopAsyncIteration:
                    break
                except Exception as error:  # noqa: BLE001 - raised below, after the items before it
                    failure = error
                    break
                for chunk in chunker.add(await self.run(methods.item(item, options))):
                    yield chunk
        for chunk in chunker.rest():
            yield chunk
        if failure is not None:
            raise failure

    async def _make(self, call: Call) -> Answer:
        answer: Answer = await AsyncRetrying(**self._link.retries.rules(call, sleep))(self._attempt, call)
        return answer

    async def _attempt(self, call: Call) -> Answer:
        if self._http.is_closed:
            raise RequestCancelledError("The client was closed.")
        url = self._link.address.shown
        with httpx_errors_translated(url, call.limit):
            content = Content(url, call.limit)
            request = self._link.request(call)
            try:
                async with (
                    asyncio.timeout(call.limit.remaining_s(monotonic())),
                    self._http.stream(**request) as response,
                ):
                    async for part in response.aiter_bytes():
                        content.add(part)
            except DeadlineExceededError:
                raise
            except TimeoutError as error:
                raise call.limit.exceeded() from error
        return self._link.read(call, response, content.whole())


async def _encode(value: object) -> bytes:
    """The value as JSON. Files are read on a thread: the disk must not keep the event loop waiting."""
    try:
        return to_json(value, reads_files=False)
    except FilesToReadError:
        return await asyncio.to_thread(to_json, value)


async def _each(items: Iterable[object] | AsyncIterable[object]) -> AsyncGenerator[object, None]:
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item


async def _end(*tasks: asyncio.Task[Any]) -> None:
    """Leave no task behind, done or not, and no error of one unread."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
