"""``POST /v1/models/…:predict``, ``:classify`` and ``:regress``: JSON to the shared inference and back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from tensorhost.codecs.examples import encode_example, with_context
from tensorhost.codecs.serving_json import (
    ServingDocument,
    decode_predict,
    encode_classifications,
    encode_predictions,
    encode_regressions,
    parse_at_once,
    parse_document,
    read_examples,
    signature_name,
)
from tensorhost.core.errors import TensorhostError, UnsupportedTypeError
from tensorhost.core.signatures import DEFAULT_SIGNATURE
from tensorhost.frontends.http.exchange import OFF_LOOP_BYTES, OFF_LOOP_ELEMENTS, Exchange, Reply
from tensorhost.frontends.tfserving.faults import (
    InvalidArgumentError,
    SignatureMissingError,
    UnsupportedConversionError,
)
from tensorhost.frontends.tfserving.inference import Inference
from tensorhost.frontends.tfserving.request_log import RequestLog
from tensorhost.frontends.tfserving.rest.logged import RestLog
from tensorhost.frontends.tfserving.rest.targets import Target
from tensorhost.inference import Admission, Call, InferenceEngine
from tensorhost.settings import Settings

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Predictions:
    """The routes that ask a model.

    Args:
        engine: counts what fails before a model is known.
        inference: answers.
        settings: limits.
        request_log: keeps samples.
    """

    def __init__(
        self, engine: InferenceEngine, inference: Inference, settings: Settings, request_log: RequestLog
    ) -> None:
        self._engine = engine
        self._inference = inference
        self._log = RestLog(request_log)
        self._max_depth = settings.max_json_depth
        self._max_elements = settings.max_tensor_elements

    async def predict(self, exchange: Exchange, target: Target, deadline: float) -> Reply:
        """Tensors in rows or columns, and the answer in the same layout."""
        document, signature, size = await self._read(exchange)
        is_large = size > OFF_LOOP_BYTES
        inference, limit = self._inference, self._max_elements
        spec = target.spec(signature)
        with await inference.admit(spec, deadline) as admission:
            call = self._call(admission, signature)
            specs = call.preprocessing.wire_specs
            if not specs:
                raise InvalidArgumentError(f"Failed to get input map for signature: {signature or 'DEFAULT'}")
            try:
                if is_large:
                    layout, inputs = await asyncio.to_thread(decode_predict, document, specs, max_elements=limit)
                else:
                    layout, inputs = decode_predict(document, specs, max_elements=limit)
            except UnsupportedTypeError as error:
                raise UnsupportedConversionError(error.message) from None
            del document
            logged = self._log.predict_request(spec, inputs)
            prediction = await inference.run(admission, call, inputs)
        if logged is not None:
            self._log.write_prediction(logged, prediction)
        outputs = prediction.outputs
        if is_large or any(array.size > OFF_LOOP_ELEMENTS for array in outputs.values()):
            return Reply(await asyncio.to_thread(encode_predictions, outputs, layout))
        return Reply(encode_predictions(outputs, layout))

    async def classify(self, exchange: Exchange, target: Target, deadline: float) -> Reply:
        """Examples as objects of features, to labels with scores."""
        signature, examples = await self._read_examples(exchange)
        spec = target.spec(signature)
        answer = await self._inference.classify(spec, examples, deadline)
        self._log.write_about_examples(spec, examples, answer)
        elements = max(0 if array is None else array.size for array in (answer.labels, answer.scores))
        return Reply(await _run(elements > _MANY_CLASSES, encode_classifications, answer.labels, answer.scores))

    async def regress(self, exchange: Exchange, target: Target, deadline: float) -> Reply:
        """Examples as objects of features, to a value for each."""
        signature, examples = await self._read_examples(exchange)
        spec = target.spec(signature)
        answer = await self._inference.regress(spec, examples, deadline)
        self._log.write_about_examples(spec, examples, answer)
        return Reply(await _run(answer.values.size > OFF_LOOP_ELEMENTS, encode_regressions, answer.values))

    def _call(self, admission: Admission, signature: str) -> Call:
        try:
            return self._inference.prediction_call(admission, signature)
        except SignatureMissingError:
            name = signature or DEFAULT_SIGNATURE
            raise InvalidArgumentError(f'Serving signature name: "{name}" not found in signature def') from None

    async def _read(self, exchange: Exchange) -> tuple[ServingDocument, str, int]:
        """The parsed body, the signature it names, and the body's size."""
        try:
            body = await exchange.body()
            size, depth = len(body), self._max_depth
            document = parse_at_once(body, max_depth=depth) if size <= OFF_LOOP_BYTES else None
            if document is None:
                document = await _run(size > _SLOW_OFF_LOOP_BYTES, parse_document, body, max_depth=depth)
            return document, signature_name(document), size
        except TensorhostError as error:
            # No model is known yet to count it for.
            self._engine.metrics.record_unattributed_error(error.code)
            raise

    async def _read_examples(self, exchange: Exchange) -> tuple[str, list[bytes]]:
        document, signature, size = await self._read(exchange)
        try:
            examples = await _run(size > _SLOW_OFF_LOOP_BYTES, _encode_examples, document)
        except TensorhostError as error:
            self._engine.metrics.record_unattributed_error(error.code)
            raise
        return signature, examples


_SLOW_OFF_LOOP_BYTES = 16 * 2**10
"""Larger bodies are worked on on a thread where that takes half a millisecond a kilobyte: to make Examples of them, and
to find what the fast parser has refused them for."""
_MANY_CLASSES = 4096
"""Answers of more classes are written on a thread: each takes a microsecond or so."""


def _encode_examples(document: ServingDocument) -> list[bytes]:
    context, examples = read_examples(document)
    encoded = [encode_example(features) for features in examples]
    return encoded if context is None else with_context(encode_example(context), encoded)


async def _run(on_a_thread: bool, work: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:  # noqa: FBT001 - before what is passed on
    """``work``'s result; on a thread where it would hold up the event loop."""
    if on_a_thread:
        return await asyncio.to_thread(work, *args, **kwargs)
    return work(*args, **kwargs)
