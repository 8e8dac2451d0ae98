"""Carries out the steps of a method on the caller's thread."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from typing import TypeVar

from tenacity import Retrying

from tensorhost.client.answers import Answer
from tensorhost.client.calls import Call
from tensorhost.client.encoding import to_json
from tensorhost.client.errors import ClientError
from tensorhost.client.link import Link
from tensorhost.client.options import PredictOptions
from tensorhost.client.progress import progress_bar
from tensorhost.client.retries import interruptible
from tensorhost.client.steps import Methods, Steps
from tensorhost.client.streams import Chunker, Result, StreamPlan, settled
from tensorhost.client.sync_pool import SyncPool
from tensorhost.client.transport import Content, httpx_errors_translated

_THREAD_NAME = "predict-many"

T = TypeVar("T")


class SyncDriver:
    """A pool of connections, and the waiting on them."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._pool = SyncPool(link.options)

    def close(self) -> None:
        """Close the connections. Calls that wait to be made again give up."""
        self._pool.close()

    def run(self, steps: Steps[T], pool: SyncPool | None = None) -> T:
        """What the steps lead to, over the connections of ``pool``, the client's own when None."""
        try:
            step = next(steps)
            while True:
                try:
                    if isinstance(step, Call):
                        outcome: Answer | bytes = self._make(step, pool or self._pool)
                    else:
                        outcome = to_json(step.value)
                except ClientError as error:
                    step = steps.throw(error)
                else:
                    step = steps.send(outcome)
        except StopIteration as end:
            result: T = end.value
            return result

    def stream(
        self, methods: Methods, model: str, items: Iterable[object], options: PredictOptions, plan: StreamPlan
    ) -> Generator[Result, None, None]:
        """The results of items, in their order, with ``plan.concurrency`` requests under way."""
        pool = SyncPool(self._link.options, is_breakable=True)
        waiting: deque[Future[list[Result]]] = deque()
        failures: list[Exception] = []

        def take(most: int) -> Iterator[Result]:
            while waiting and (len(waiting) > most or waiting[0].done()):
                for result in settled(waiting.popleft().result(), plan.errors):
                    advance()
                    yield result

        executor = ThreadPoolExecutor(plan.concurrency, _THREAD_NAME)
        with closing(pool), executor as threads, progress_bar(plan.title, items) as advance:
            try:
                for chunk in self._chunks(methods, items, options, plan.chunk_size, failures):
                    waiting.append(threads.submit(self.run, plan.ask(methods, model, chunk, options), pool))
                    yield from take(plan.window - 1)
                yield from take(0)
                for failure in failures:
                    raise failure
            finally:
                # However it ends: the threads must come to theirs, which leaving the executor waits for.
                for future in waiting:
                    future.cancel()
                pool.stop()

    def _chunks(
        self,
        methods: Methods,
        items: Iterable[object],
        options: PredictOptions,
        size: int,
        failures: list[Exception],
    ) -> Iterator[list[bytes | ClientError]]:
        """What the iterable raises goes into ``failures``, to be raised after the results of the items before."""
        chunker = Chunker(size)
        remaining = iter(items)
        while True:
            try:
                item = next(remaining)
            except StopIteration:
                break
            except Exception as error:  # noqa: BLE001 - raised in its turn
                failures.append(error)
                break
            yield from chunker.add(self.run(methods.item(item, options)))
        yield from chunker.rest()

    def _make(self, call: Call, pool: SyncPool) -> Answer:
        rules = self._link.retries.rules(call, interruptible(pool.stopped))
        answer: Answer = Retrying(**rules)(self._attempt, call, pool)
        return answer

    def _attempt(self, call: Call, pool: SyncPool) -> Answer:
        for used in (pool, self._pool):
            used.check()
        url = self._link.address.shown
        with httpx_errors_translated(url, call.limit):
            content = Content(url, call.limit)
            with pool.http.stream(**self._link.request(call), extensions=pool.extensions) as response:
                for part in response.iter_bytes():
                    content.add(part)
        return self._link.read(call, response, content.whole())
