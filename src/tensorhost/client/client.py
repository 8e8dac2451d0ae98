"""The synchronous client of the native HTTP API: carries out the steps of ``Methods`` on the caller's thread."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from types import TracebackType
from typing import Any, Literal, Self, Unpack, overload

from tensorhost.client.base import BaseClient
from tensorhost.client.errors import ClientError
from tensorhost.client.link import Link
from tensorhost.client.options import ErrorHandling, PredictOptions
from tensorhost.client.prediction import Prediction
from tensorhost.client.streams import CHUNK_SIZE, CONCURRENCY, StreamPlan, progress_title, settled
from tensorhost.client.sync_driver import SyncDriver


class Client(BaseClient):
    """A connection pool to one server; a context manager, safe to share between threads.

    Every method takes ``timeout_ms``, the time it may take with all its attempts, in milliseconds. Every method raises
    ``ClientError``, of the class that belongs to what went wrong.
    """

    _driver: SyncDriver

    def _connect(self, link: Link) -> None:
        self._driver = SyncDriver(link)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections. The client cannot be used after; calls that wait to be made again give up."""
        self._driver.close()

    def health(self, *, timeout_ms: float | None = None) -> dict[str, Any]:
        """``{"status": "healthy"}``, or another word while the server starts or drains; both are answers.

        Never asked twice: whoever asks wants to know how it is now.
        """
        return self._driver.run(self._methods.health(timeout_ms))

    def models(self, *, timeout_ms: float | None = None) -> list[dict[str, Any]]:
        """The loaded models, one entry per version."""
        return self._driver.run(self._methods.models(timeout_ms))

    def model(self, name: str, version: str | None = None, *, timeout_ms: float | None = None) -> dict[str, Any]:
        """One model with all its versions in all states, and the error of each failed load; or one version of it."""
        return self._driver.run(self._methods.model(name, version, timeout_ms))

    def metrics(self, *, timeout_ms: float | None = None) -> dict[str, Any]:
        """Counters since the server started, for the process and by model."""
        return self._driver.run(self._methods.metrics(timeout_ms))

    def load(
        self, name: str, version: str | None = None, path: str | None = None, *, timeout_ms: float | None = None
    ) -> dict[str, Any]:
        """Load a model's version, or what lies at ``path`` on the server's disk. Returns the server's answer.

        Made again only where no connection could be made.
        """
        return self._driver.run(self._methods.load(name, version, path, timeout_ms))

    def unload(self, name: str, version: str | None = None, *, timeout_ms: float | None = None) -> dict[str, Any]:
        """Unload one version, or all of a model's. Returns the server's answer.

        Made again only where no connection could be made.
        """
        return self._driver.run(self._methods.unload(name, version, timeout_ms))

    def label_version(
        self, name: str, label: str, version: str | None, *, timeout_ms: float | None = None
    ) -> dict[str, Any]:
        """Make a label point to a version that serves, until the server ends. Returns the model's description.

        Args:
            name: the model.
            label: a label it has, or a new one.
            version: the version; None for what ``model.toml`` says of the label, which may be nothing.
            timeout_ms: time the call may take, in milliseconds.

        Made again only where no connection could be made.
        """
        return self._driver.run(self._methods.label_version(name, label, version, timeout_ms))

    def predict(
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
        """Run a model.

        Args:
            model: its name.
            inputs: the rows, first dimension the batch: an array, nested lists, or a mapping of these by the name
                of the input. Where a value may stand, so may bytes, and a ``pathlib.Path`` for the bytes of that file:
                an image, say.
            version: a version or label; the newest available when None.
            signature: the signature to call; the default one when None.
            preprocessing: options that override the model's own.
            postprocessing: options that override the model's own.
            timeout_ms: time for all attempts, in milliseconds; the server is told what is left of it.

        Raises:
            InvalidRequestError: with ``http_status`` None, the inputs cannot be sent, and nothing was.
            ClientError: the server refused or failed, or there was no answer.
        """
        options = PredictOptions(
            version=version,
            signature=signature,
            preprocessing=preprocessing,
            postprocessing=postprocessing,
            timeout_ms=timeout_ms,
        )
        return self._driver.run(self._methods.predict(model, inputs, options))

    @overload
    def batch_predict(
        self,
        model: str,
        items: Iterable[object],
        *,
        errors: Literal["raise"] = "raise",
        max_batch_size: int | None = None,
        **options: Unpack[PredictOptions],
    ) -> list[Prediction]: ...
    @overload
    def batch_predict(
        self,
        model: str,
        items: Iterable[object],
        *,
        errors: Literal["return"],
        max_batch_size: int | None = None,
        **options: Unpack[PredictOptions],
    ) -> list[Prediction | ClientError]: ...
    def batch_predict(
        self,
        model: str,
        items: Iterable[object],
        *,
        errors: ErrorHandling = "raise",
        max_batch_size: int | None = None,
        **options: Unpack[PredictOptions],
    ) -> list[Prediction] | list[Prediction | ClientError]:
        """Run a model on several items in one request; items that fail do not disturb the others.

        Args:
            model: its name.
            items: each what ``predict`` takes as inputs, or an ``Item`` with options of its own.
            errors: ``"raise"`` the first item's error, or ``"return"`` each at its item's place.
            max_batch_size: rows of one model call, at most the server's setting.
            options: those of ``predict``, for all items.

        Returns:
            One result per item, in order.

        Raises:
            ClientError: what concerns the whole request, and with ``errors="raise"`` an item's.
        """
        results = self._driver.run(self._methods.batch_predict(model, items, options, max_batch_size))
        return list(settled(results, errors))

    @overload
    def predict_many(
        self,
        model: str,
        items: Iterable[object],
        *,
        errors: Literal["raise"] = "raise",
        chunk_size: int = CHUNK_SIZE,
        concurrency: int = CONCURRENCY,
        progress: bool | str = False,
        **options: Unpack[PredictOptions],
    ) -> Generator[Prediction, None, None]: ...
    @overload
    def predict_many(
        self,
        model: str,
        items: Iterable[object],
        *,
        errors: Literal["return"],
        chunk_size: int = CHUNK_SIZE,
        concurrency: int = CONCURRENCY,
        progress: bool | str = False,
        **options: Unpack[PredictOptions],
    ) -> Generator[Prediction | ClientError, None, None]: ...
    def predict_many(
        self,
        model: str,
        items: Iterable[object],
        *,
        errors: ErrorHandling = "raise",
        chunk_size: int = CHUNK_SIZE,
        concurrency: int = CONCURRENCY,
        progress: bool | str = False,
        **options: Unpack[PredictOptions],
    ) -> Generator[Prediction | ClientError, None, None]:
        """Run a model on any number of items, with several requests under way at once.

        Items are taken as results are, never more than ``2 * concurrency * chunk_size`` ahead, so that the iterable may
        be endless. The requests have connections of their own; leaving the loop early breaks them off.

        Args:
            model: its name.
            items: each what ``predict`` takes as inputs, or an ``Item`` with options of its own. Taken on the thread
                that takes the results; what it raises is raised after the results of the items before.
            errors: ``"raise"`` the first item's error, or ``"return"`` each at its item's place, those of whole
                requests at the places of all their items.
            chunk_size: items of one request; 1 for items that come slowly and are wanted one by one.
            concurrency: requests under way at once.
            progress: True, or a title, for a progress bar on standard error if that is a terminal.
            options: those of ``predict``, for all items; ``timeout_ms`` is for each request.

        Returns:
            One result per item, in order, lazily.

        Raises:
            ValueError: ``chunk_size`` or ``concurrency`` is below 1.
        """
        plan = StreamPlan(chunk_size, concurrency, errors, progress_title(model, progress=progress))
        return self._driver.stream(self._methods, model, items, options, plan)
