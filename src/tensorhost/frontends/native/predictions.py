"""``POST /predict`` and ``POST /batch-predict``: JSON to the engine and back."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

import numpy as np

from tensorhost.codecs import JsonObject, decode_inputs, encode_outputs
from tensorhost.core.errors import InvalidRequestError, TensorhostError
from tensorhost.core.requests import InferenceResult
from tensorhost.core.tensors import Tensors
from tensorhost.frontends.http.exchange import OFF_LOOP_BYTES, OFF_LOOP_ELEMENTS, Exchange, Reply, json_reply
from tensorhost.frontends.native.fields import optional_count, optional_text, optional_timeout_s, required_text
from tensorhost.frontends.native.statuses import error_object
from tensorhost.inference import Admission, Call, InferenceEngine, as_tensorhost_error, code_of
from tensorhost.settings import Settings
from tensorhost.telemetry import get_logger
from tensorhost.telemetry.traces import current_trace

PREDICT_FIELDS = frozenset(
    {"modelName", "modelVersion", "signatureName", "preprocessing", "postprocessing", "timeoutMs"}
)
BATCH_FIELDS = frozenset({"modelName", "modelVersion", "signatureName", "maxBatchSize", "timeoutMs"})
ITEM_FIELDS = frozenset({"preprocessing", "postprocessing"})
INPUTS = frozenset({"inputs"})
BATCH = frozenset({"batch"})
MAX_ITEMS = 100_000
_MAX_LOGGED_ITEMS = 100
"""Of one request's failed items; the others are logged as a number, or one request could fill the log."""

_Prepared: TypeAlias = tuple[Call, Tensors] | TensorhostError
"""An item of a batch, ready to run, or what is wrong with it."""

log = get_logger(__name__)


class Predictions:
    """The inference routes.

    Args:
        engine: answers.
        settings: limits.
    """

    def __init__(self, engine: InferenceEngine, settings: Settings) -> None:
        self._engine = engine
        self._max_depth = settings.max_json_depth
        self._max_elements = settings.max_tensor_elements
        self._max_batch_size = settings.max_batch_size

    async def predict(self, exchange: Exchange) -> Reply:
        """One request, one model call or a share of one."""
        document, fields, is_large = await self._read(exchange, PREDICT_FIELDS, INPUTS)
        target = fields["modelName"], fields.get("modelVersion"), self._engine.deadline(optional_timeout_s(fields))
        with self._engine.admit_at_once(*target) or await self._engine.admit(*target) as admission:
            call = self._engine.prepare(
                admission,
                optional_text(fields, "signatureName"),
                fields.get("preprocessing"),
                fields.get("postprocessing"),
            )
            specs, limit = call.preprocessing.wire_specs, self._max_elements
            if is_large:
                tensors = await asyncio.to_thread(decode_inputs, document, specs, max_elements=limit)
            else:
                tensors = decode_inputs(document, specs, max_elements=limit)
            del document
            result = await self._engine.run(admission, call, tensors, owned=True)
        if is_large or _is_long(result.outputs):
            return await asyncio.to_thread(lambda: json_reply(_answer(result)))
        return json_reply(_answer(result))

    async def batch_predict(self, exchange: Exchange) -> Reply:
        """Many items; each is answered, or told what is wrong with it, at its own place."""
        document, fields, is_large = await self._read(exchange, BATCH_FIELDS, BATCH)
        target = fields["modelName"], fields.get("modelVersion"), self._engine.deadline(optional_timeout_s(fields))
        with self._engine.admit_at_once(*target) or await self._engine.admit(*target) as admission:
            signature = optional_text(fields, "signatureName")
            most_rows = min(optional_count(fields, "maxBatchSize") or self._max_batch_size, self._max_batch_size)
            # A bad signature concerns every item, so it is the request's own error.
            self._engine.prepare(admission, signature)
            items = document.items("batch", max_items=MAX_ITEMS)
            prepared = (self._prepare_item(admission, item, signature, most_rows) for item in items)
            results = await self._run_items(admission, prepared, most_rows, exchange.request_id)
        answer = {"results": results, "modelVersion": admission.servable.id.version}
        return await asyncio.to_thread(json_reply, answer) if is_large else json_reply(answer)

    async def _read(
        self, exchange: Exchange, allowed: frozenset[str], deferred: frozenset[str]
    ) -> tuple[JsonObject, dict[str, Any], bool]:
        """The parsed body, and whether it is large; what is wrong with it is counted here: no model is known yet."""
        try:
            exchange.check_is_json()
            body = await exchange.body()
            is_large = len(body) > OFF_LOOP_BYTES
            if is_large:
                document = await asyncio.to_thread(JsonObject.parse, body, max_depth=self._max_depth)
            else:
                document = JsonObject.parse(body, max_depth=self._max_depth)
            fields = document.fields(allowed, deferred=deferred)
            required_text(fields, "modelName")
            exchange.subject = fields["modelName"], optional_text(fields, "modelVersion")
            optional_timeout_s(fields)
        except TensorhostError as error:
            self._engine.metrics.record_unattributed_error(error.code)
            raise
        return document, fields, is_large

    def _prepare_item(
        self, admission: Admission, item: JsonObject | InvalidRequestError, signature: str | None, most_rows: int
    ) -> _Prepared:
        if isinstance(item, InvalidRequestError):
            return item
        try:
            fields = item.fields(ITEM_FIELDS, deferred=INPUTS)
            call = self._engine.prepare(
                admission, signature, fields.get("preprocessing"), fields.get("postprocessing"), most_rows
            )
            specs = call.preprocessing.wire_specs
            return call, decode_inputs(item, specs, max_elements=self._max_elements)
        except TensorhostError as error:
            return error

    async def _run_items(
        self, admission: Admission, items: Iterator[_Prepared], most_rows: int, request_id: str
    ) -> list[Any]:
        results: dict[int, Any] = {}
        failed: list[int] = []
        remaining = enumerate(items)

        async def work() -> None:
            for index, item in remaining:
                try:
                    results[index] = await self._run_item(admission, item)
                except Exception as error:  # noqa: BLE001 - border of an item: the others go on
                    failed.append(index)
                    may_log = len(failed) <= _MAX_LOGGED_ITEMS
                    results[index] = _item_error(admission, error, request_id, index, may_log=may_log)
                    # A bad item waits for nothing: a list of them would keep the loop from everybody else.
                    await asyncio.sleep(0)

        # Enough at once to fill the next batch while one runs, and no more: the queue belongs to everybody.
        async with asyncio.TaskGroup() as group:
            for _ in range(2 * most_rows):
                group.create_task(work())
        if len(failed) > _MAX_LOGGED_ITEMS:
            log.info("more batch items failed", request_id=request_id, items=len(failed) - _MAX_LOGGED_ITEMS)
        return [results[index] for index in range(len(results))]

    async def _run_item(self, admission: Admission, item: _Prepared) -> dict[str, Any]:
        if isinstance(item, TensorhostError):
            raise item
        call, tensors = item
        return _answer(await self._engine.run(admission, call, tensors, owned=True))


def _item_error(
    admission: Admission, error: Exception, request_id: str, index: int, *, may_log: bool
) -> dict[str, Any]:
    admission.record_failure(code_of(error))
    trace = current_trace()
    if trace is not None:
        trace.failed_items += 1
    known = as_tensorhost_error(error)
    if may_log:
        log.info(
            "batch item failed",
            request_id=request_id,
            item=index,
            code=known.code.value,
            reason=known.message,
            detail=known.log_detail,
            exc_info=known is not error,
        )
    return {"error": error_object(known, request_id)}


def _is_long(outputs: Mapping[str, Any]) -> bool:
    for value in outputs.values():
        if (value.size if isinstance(value, np.ndarray) else len(value)) > OFF_LOOP_ELEMENTS:
            return True
    return False


def _answer(result: InferenceResult) -> dict[str, Any]:
    timings = result.timings
    return {
        "predictions": encode_outputs(result.outputs),
        "modelName": result.model_name,
        "modelVersion": result.model_version,
        "inferenceTimeMs": _ms(timings.inference_s),
        "preprocessingTimeMs": _ms(timings.preprocessing_s),
        "postprocessingTimeMs": _ms(timings.postprocessing_s),
        "queueTimeMs": _ms(timings.queue_s),
    }


def _ms(seconds: float) -> float:
    """Milliseconds to four decimals. By whole numbers: rounding to decimals makes Python format and parse a text."""
    return round(seconds * 1e7) / 1e4
