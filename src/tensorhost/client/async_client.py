"""The asynchronous client of the native HTTP API: the methods of ``Client``, awaited."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Mapping
from types import TracebackType
from typing import Any, Literal, Self, Unpack, overload

from tensorhost.client.async_driver import AsyncDriver
from tensorhost.client.base import BaseClient
from tensorhost.client.errors import ClientError
from tensorhost.client.link import Link
from tensorhost.client.options import ErrorHandling, PredictOptions
from tensorhost.client.prediction import Prediction
from tensorhost.client.streams import CHUNK_SIZE, CONCURRENCY, StreamPlan, progress_title, settled


class AsyncClient(BaseClient):
    """A connection pool to one server, for the tasks of one asyncio event loop; an asynchronous context manager.

    Arguments, results and errors are those of ``Client``. A call that is cancelled ends at once.
    """

    _driver: AsyncDriver

    def _connect(self, link: Link) -> None:
        self._driver = AsyncDriver(link)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections. The client cannot be used after."""
        await self._driver.close()

    async def health(self, *, timeout_ms: float | None = None) -> dict[str, Any]:
        """As ``Client.health``."""
        return await self._driver.run(self._methods.health(timeout_ms))

    async def models(self, *, timeout_ms: float | None = None) -> list[dict[str, Any]]:
        """As ``Client.models``."""
        return await self._driver.run(self._methods.models(timeout_ms))

    async def model(self, name: str, version: str | None = None, *, timeout_ms: float | None = None) -> dict[str, Any]:
        """As ``Client.model``."""
        return await self._driver.run(self._methods.model(name, version, timeout_ms))

    async def metrics(self, *, timeout_ms: float | None = None) -> dict[str, Any]:
        """As ``Client.metrics``."""
        return await self._driver.run(self._methods.metrics(timeout_ms))

    async def load(
        self, name: str, version: str | None = None, path: str | None = None, *, timeout_ms: float | None = None
    ) -> dict[str, Any]:
        """As ``Client.load``."""
        return await self._driver.run(self._methods.load(name, version, path, timeout_ms))

    async def unload(self, name: str, version: str | None = None, *, timeout_ms: float | None = None) -> dict[str, Any]:
        """As ``Client.unload``."""
        return await self._driver.run(self._methods.unload(name, version, timeout_ms))

    async def label_version(
        self, name: str, label: str, version: str | None, *, timeout_ms: float | None = None
    ) -> dict[str, Any]:
        """As ``Client.label_version``."""
        return await self._driver.run(self._methods.label_version(name, label, version, timeout_ms))

    async def predict(
        self,
        model: str,
        inputs: object,
        *,
        version: str | None = None,
        signature: str | None = None,
        preprocessing: Mapping[str, object] | None = None,
        postprocessing: Mapping[str, object] | None = None,
        timeout_ms: float | None = None,
    ) -> Prediction:
        """As ``Client.predict``. Files are read on a thread."""
        options = PredictOptions(
            version=version,
            signature=signature,
            preprocessing=preprocessing,
            postprocessing=postprocessing,
            timeout_ms=timeout_ms,
        )
        return await self._driver.run(self._methods.predict(model, inputs, options))

    @overload
    async def batch_predict(
        self,
        model: str,
        items: Iterable[object],
        *,
        errors: Literal["raise"] = "raise",
        max_batch_size: int | None = None,
        **options: Unpack[PredictOptions],
    ) -> list[Prediction]: ...
    @overload
    async def batch_predict(
        self,
        model: str,
        items: Iterable[object],
        *,
        errors: Literal["return"],
        max_batch_size: int | None = None,
        **options: Unpack[PredictOptions],
    ) -> list[Prediction | ClientError]: ...
    async def batch_predict(
        self,
        model: str,
        items: Iterable[object],
        *,
        errors: ErrorHandling = "raise",
        max_batch_size: int | None = None,
        **options: Unpack[PredictOptions],
    ) -> list[Prediction] | list[Prediction | ClientError]:
        """As ``Client.batch_predict``."""
        results = await self._driver.run(self._methods.batch_predict(model, items, options, max_batch_size))
        return list(settled(results, errors))

    @overload
    def predict_many(
        self,
        model: str,
        items: Iterable[object] | AsyncIterable[object],
        *,
        errors: Literal["raise"] = "raise",
        chunk_size: int = CHUNK_SIZE,
        concurrency: int = CONCURRENCY,
        progress: bool | str = False,
        **options: Unpack[PredictOptions],
    ) -> AsyncGenerator[Prediction, None]: ...
    @overload
    def predict_many(
        self,
        model: str,
        items: Iterable[object] | AsyncIterable[object],
        *,
        errors: Literal["return"],
        chunk_size: int = CHUNK_SIZE,
        concurrency: int = CONCURRENCY,
        progress: bool | str = False,
        **options: Unpack[PredictOptions],
    ) -> AsyncGenerator[Prediction | ClientError, None]: ...
    def predict_many(
        self,
        model: str,
        items: Iterable[object] | AsyncIterable[object],
        *,
        errors: ErrorHandling = "raise",
        chunk_size: int = CHUNK_SIZE,
        concurrency: int = CONCURRENCY,
        progress: bool | str = False,
        **options: Unpack[PredictOptions],
    ) -> AsyncGenerator[Prediction | ClientError, None]:
        """As ``Client.predict_many``, of an asynchronous iterable as well, and results come as soon as they are there.

        An iterable that is not asynchronous is taken from on the event loop and must not block it. Whoever leaves the
        loop early should close the iterator (``contextlib.aclosing``): that cancels what is under way.
        """
        plan = StreamPlan(chunk_size, concurrency, errors, progress_title(model, progress=progress))
        return self._driver.stream(self._methods, model, items, options, plan)
