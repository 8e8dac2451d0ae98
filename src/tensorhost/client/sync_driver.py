"""Carries out the steps of a method on the caller's thread."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event
from typing import TypeVar

import httpx
from tenacity import Retrying

from tensorhost.client.answers import Answer
from tensorhost.client.calls import Call
from tensorhost.client.encoding import to_json
from tensorhost.client.errors import ClientError, RequestCancelledError
from tensorhost.client.link import Link
from tensorhost.client.options import PredictOptions
from tensorhost.client.progress import progress_bar
from tensorhost.client.retries import interruptible
from tensorhost.client.steps import Encode, Methods, Steps
from tensorhost.client.streams import Chunker, Result, StreamPlan, settled
from tensorhost.client.transport import Content, httpx_errors_translated

T = TypeVar("T")


class SyncDriver:
    """A pool of connections, and the waiting on them."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._http = httpx.Client(**link.options)
        self._closed = Event()

    def close(self) -> None:
        """Close the connections. Calls that wait to be made again give up."""
        self._closed.set()
        self._http.close()

    def run(self, steps: Steps[T], stopped: Event | None = None) -> T:
        """What the steps lead to.

        Args:
            steps: of a method.
            stopped: when set, no further attempt is made; None for when the client is closed.
        """
        try:
            step = next(steps)
            while True:
                try:
                    outcome = (
                        to_json(step.value) if isinstance(step, Encode) else self._make(step, stopped or self._closed)
                    )
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
        stopped = Event()
        # Leaving the pool waits for what is under way; nothing new begins, and nothing is made again.
        with ThreadPoolExecutor(plan.concurrency) as pool, progress_bar(plan.title, items) as advance:
            waiting: deque[Future[list[Result]]] = deque()

            def take(most: int) -> Iterator[Result]:
                while waiting and (len(waiting) > most or waiting[0].done()):
                    for result in settled(waiting.popleft().result(), plan.errors):
                        advance()
                        yield result

            try:
                failures: list[Exception] = []
                for chunk in self._chunks(methods, items, options, plan.chunk_size, failures):
                    waiting.append(pool.submit(self.run, plan.ask(methods, model, chunk, options), stopped))
                    yield from take(plan.window - 1)
                yield from take(0)
                for failure in failures:
                    raise failure
            finally:
                stopped.set()
                for future in waiting:
                    future.cancel()

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

    def _make(self, call: Call, stopped: Event) -> Answer:
        rules = self._link.retries.rules(call, interruptible(stopped))
        answer: Answer = Retrying(**rules)(self._attempt, call, stopped)
        return answer

    def _attempt(self, call: Call, stopped: Event) -> Answer:
        if stopped.is_set() or self._http.is_closed:
            raise RequestCancelledError("The client was closed, or nobody waits for this call any more.")
        url = self._link.address.shown
        with httpx_errors_translated(url, call.limit):
            content = Content(url, call.limit)
            with self._http.stream(**self._link.request(call)) as response:
                for part in response.iter_bytes():
                    content.add(part)
        return self._link.read(call, response, content.whole())
