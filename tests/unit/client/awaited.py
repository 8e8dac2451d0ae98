"""The asynchronous client with the face of the synchronous one, so that one suite tests both."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterator
from typing import Any, Self

from tensorhost.client import AsyncClient


class Awaited:
    """An ``AsyncClient`` whose methods are called as those of a ``Client``; its loop runs while one is."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self.client = AsyncClient(*args, **options)
        self.runner = asyncio.Runner()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        try:
            self.runner.run(self.client.close())
        finally:
            self.runner.close()

    def __getattr__(self, name: str) -> Any:
        value = getattr(self.client, name)
        if not callable(value):
            return value

        def call(*args: Any, **options: Any) -> Any:
            result = value(*args, **options)
            return self.runner.run(result) if inspect.iscoroutine(result) else self._iterate(result)

        return call

    def _iterate(self, results: Any) -> Iterator[Any]:
        try:
            while True:
                yield self.runner.run(anext(results))
        except StopAsyncIteration:
            return
        finally:
            self.runner.run(results.aclose())
