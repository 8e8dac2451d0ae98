"""What each method of a client does, step by step, without doing it. No I/O; of the world it knows the clock.

A method is a generator: it yields what is to be written as JSON and what is to be asked, is sent what came of it (an
error is thrown into it), and returns the method's result. ``Client`` and ``AsyncClient`` carry the steps out, one
waiting on a thread, the other on an event loop; what is asked, read and remembered is here, once for both.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any, TypeAlias, TypeVar

from tensorhost.client.answers import Answer, not_ours
from tensorhost.client.batches import Batch, item_fields
from tensorhost.client.calls import Call, Repeat, model_path
from tensorhost.client.errors import ClientError
from tensorhost.client.limits import TimeLimit
from tensorhost.client.options import PredictOptions
from tensorhost.client.prediction import Prediction
from tensorhost.client.signatures import KnownSignatures, OutputDTypes
from tensorhost.core.ids import is_valid_name

_DESCRIPTION_TIMEOUT_S = 5.0
"""An answer is there already when a description is asked for, and must not wait long for it."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Encode:
    """A step that writes a value as JSON, which may read files."""

    value: object


Steps: TypeAlias = Generator[Call | Encode, Any, T]
"""Sent an ``Answer`` for each ``Call``, ``bytes`` for each ``Encode``."""


class Methods:
    """The methods of a client of one server.

    Args:
        url: the server's address, for messages.
        timeout_s: the time calls may take that name none, in seconds.
        asks_signatures: whether to ask the server, once per version, for the dtypes of its outputs.
    """

    def __init__(self, url: str, timeout_s: float, *, asks_signatures: bool) -> None:
        self._url = url
        self._timeout_s = timeout_s
        self._known = KnownSignatures() if asks_signatures else None

    def health(self, timeout_ms: float | None) -> Steps[dict[str, Any]]:
        """One attempt: whoever asks wants to know how it is now."""
        limit = self._limit(timeout_ms)
        answer = yield Call("GET", "/health", limit, repeat=Repeat.NEVER, accepted=frozenset({200, 503}))
        if "status" not in answer.json:
            raise not_ours(self._url)
        return _json(answer)

    def metrics(self, timeout_ms: float | None) -> Steps[dict[str, Any]]:
        """The server's counters."""
        return _json((yield Call("GET", "/metrics", self._limit(timeout_ms))))

    def models(self, timeout_ms: float | None) -> Steps[list[dict[str, Any]]]:
        """The list of what serves."""
        answer = yield Call("GET", "/models", self._limit(timeout_ms))
        models = answer.json.get("models")
        if not isinstance(models, list):
            raise not_ours(self._url)
        return models

    def model(self, name: str, version: str | None, timeout_ms: float | None) -> Steps[dict[str, Any]]:
        """The description of a model, or of one version of it."""
        return _json((yield Call("GET", model_path(name, version), self._limit(timeout_ms))))

    def load(self, name: str, version: str | None, path: str | None, timeout_ms: float | None) -> Steps[dict[str, Any]]:
        """Load a version."""
        return (yield from self._control("load", name, {"version": version, "path": path}, timeout_ms))

    def unload(self, name: str, version: str | None, timeout_ms: float | None) -> Steps[dict[str, Any]]:
        """Unload a version, or all."""
        return (yield from self._control("unload", name, {"version": version}, timeout_ms))

    def label_version(
        self, name: str, label: str, version: str | None, timeout_ms: float | None
    ) -> Steps[dict[str, Any]]:
        """Move a label, or take back that it was moved."""
        return (yield from self._control("labels", name, {"label": label, "version": version}, timeout_ms))

    def _control(
        self, verb: str, name: str, fields: Mapping[str, object], timeout_ms: float | None
    ) -> Steps[dict[str, Any]]:
        # Whether a request that was lost on its way was carried out cannot be known from here.
        content = yield from _encoded(_given(fields))
        path = f"{model_path(name)}/{verb}"
        answer = yield Call("POST", path, self._limit(timeout_ms), lambda: content, repeat=Repeat.IF_UNSENT)
        if self._known is not None:
            self._known.forget(name)
        return _json(answer)

    def predict(self, model: str, inputs: object, options: PredictOptions) -> Steps[Prediction]:
        """One request, and before the first answer of a version leaves, what its outputs are."""
        limit = self._limit(options.get("timeout_ms"))
        content = yield from _encoded({**_target(model, options), **item_fields(inputs, options)})
        answer = yield Call("POST", "/predict", limit, lambda: content, takes_timeout=True)
        if "predictions" not in answer.json:
            raise not_ours(self._url)
        dtypes = yield from self._dtypes(answer.json, model, options.get("signature"), limit)
        return Prediction(answer.json, dtypes, answer.request_id)

    def item(self, item: object, options: PredictOptions) -> Steps[bytes | ClientError]:
        """The JSON of one item of a batch, or why it has none."""
        try:
            return (yield from _encoded(item_fields(item, options)))
        except ClientError as error:
            return error

    def batch_predict(
        self, model: str, items: Iterable[object], options: PredictOptions, max_batch_size: int | None
    ) -> Steps[list[Prediction | ClientError]]:
        """One request with many items."""
        encoded = []
        for item in items:
            encoded.append((yield from self.item(item, options)))  # noqa: PERF401 - a comprehension cannot yield
        return (yield from self.batch(model, encoded, options, max_batch_size))

    def batch(
        self,
        model: str,
        items: Sequence[bytes | ClientError],
        options: PredictOptions,
        max_batch_size: int | None = None,
    ) -> Steps[list[Prediction | ClientError]]:
        """The same with items written already. Raises what concerns the request as a whole."""
        limit = self._limit(options.get("timeout_ms"))
        batch = Batch(self._url, _given({**_target(model, options), "maxBatchSize": max_batch_size}), items)
        if batch.pending:
            try:
                yield Call("POST", "/batch-predict", limit, batch.content, batch.check, takes_timeout=True)
            except ClientError:
                if not batch.was_answered:
                    raise
        dtypes: dict[str, OutputDTypes] = {}
        results: list[Prediction | ClientError] = []
        for outcome in batch.outcomes():
            if isinstance(outcome, ClientError):
                results.append(outcome)
                continue
            version = str(outcome.get("modelVersion"))
            if version not in dtypes:
                dtypes[version] = yield from self._dtypes(outcome, model, options.get("signature"), limit)
            results.append(Prediction(outcome, dtypes[version]))
        return results

    def _dtypes(
        self, answer: Mapping[str, Any], model: str, signature: str | None, limit: TimeLimit
    ) -> Steps[OutputDTypes]:
        """dtypes of the outputs, none where they cannot be had: no answer is lost for want of them."""
        version = answer.get("modelVersion")
        if self._known is None or not isinstance(version, str) or not is_valid_name(version):
            return {}
        known = self._known.find(model, version, signature)
        if known is not None:
            return known
        short = limit.at_most(_DESCRIPTION_TIMEOUT_S, monotonic())
        try:
            description = (yield Call("GET", model_path(model, version), short, repeat=Repeat.NEVER)).json
        except ClientError as error:
            if error.http_status is None or error.http_status >= 500 or error.http_status == 429:
                return {}
            description = {}  # refused, and it would be refused again
        self._known.remember(model, version, description)
        return self._known.find(model, version, signature) or {}

    def _limit(self, timeout_ms: float | None) -> TimeLimit:
        return TimeLimit.of(timeout_ms, self._timeout_s, monotonic())


def _encoded(value: object) -> Steps[bytes]:
    content: bytes = yield Encode(value)
    return content


def _json(answer: Answer) -> dict[str, Any]:
    return answer.json


def _given(fields: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in fields.items() if value is not None}


def _target(model: str, options: PredictOptions) -> dict[str, object]:
    return _given(
        {
            "modelName": model,
            "modelVersion": options.get("version"),
            "signatureName": options.get("signature"),
        }
    )
