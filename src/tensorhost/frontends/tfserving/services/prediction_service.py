"""``tensorflow.serving.PredictionService``: Predict, Classify, Regress, MultiInference and GetModelMetadata.

Predict is the hot path of the whole server: a request is parsed once, in the wire view that leaves numbers as bytes,
and nothing is looked at twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from tensorhost.codecs.examples import input_examples
from tensorhost.codecs.protobuf import decode, message_class
from tensorhost.frontends.rpc import Rpc, RpcContext
from tensorhost.frontends.tfserving import faults
from tensorhost.frontends.tfserving.inference import Classification, Inference, Regression, Task
from tensorhost.frontends.tfserving.inputs import check_names
from tensorhost.frontends.tfserving.metadata import SIGNATURE_DEF, signature_defs
from tensorhost.frontends.tfserving.model_spec import AnsweredBy
from tensorhost.frontends.tfserving.request_log import LoggedMethod, RequestLog
from tensorhost.frontends.tfserving.services.counted import Counted
from tensorhost.frontends.tfserving.services.responses import (
    classification_response,
    multi_inference_response,
    regression_response,
)
from tensorhost.frontends.tfserving.services.specs import encoded_spec, read_spec, write_spec
from tensorhost.frontends.tfserving.services.tensors import read_inputs, write_response
from tensorhost.frontends.tfserving.serving_metrics import ServingMetrics
from tensorhost.frontends.unsent_memory import Claim, UnsentMemory
from tensorhost.frontends.versions import number_of
from tensorhost.settings import Settings

NAME = "tensorflow.serving.PredictionService"

_PREDICT_REQUEST = message_class("tensorhost.wire.PredictRequest")
_EXAMPLES_REQUEST = message_class("tensorhost.wire.ExamplesRequest")
_MULTI_INFERENCE_REQUEST = message_class("tensorhost.wire.MultiInferenceRequest")
_METADATA_REQUEST = message_class("tensorflow.serving.GetModelMetadataRequest")
_METADATA_RESPONSE: Any = message_class("tensorflow.serving.GetModelMetadataResponse")

_OFF_LOOP_RESULTS = 4096
"""Answers of more classes or values are written on a thread: each becomes a message, in a microsecond or so."""


class PredictionService:
    """The service's methods, from bytes to bytes.

    Args:
        inference: answers.
        metrics: counts.
        request_log: keeps samples.
        settings: limits, and how tensors are written.
    """

    def __init__(
        self, inference: Inference, metrics: ServingMetrics, request_log: RequestLog, settings: Settings
    ) -> None:
        self._inference = inference
        self._metrics = metrics
        self._request_log = request_log
        self._max_elements = settings.max_tensor_elements
        self._as_content = settings.tfserving_tensor_content
        self._unsent = UnsentMemory(settings.max_buffered_body_bytes)

    def rpcs(self) -> list[Rpc]:
        """What a transport needs to know."""
        return [
            Rpc(f"/{NAME}/Predict", self.predict),
            Rpc(f"/{NAME}/Classify", self.classify),
            Rpc(f"/{NAME}/Regress", self.regress),
            Rpc(f"/{NAME}/MultiInference", self.multi_inference),
            Rpc(f"/{NAME}/GetModelMetadata", self.get_model_metadata),
        ]

    async def predict(self, data: bytes, context: RpcContext) -> bytes:
        """``PredictRequest`` to ``PredictResponse``. Raises TensorhostError, in TensorFlow Serving's words."""
        request = decode(_PREDICT_REQUEST, data)
        inference = self._inference
        with Counted(self._metrics, request.model_spec.name, "Predict", context), Claim(self._unsent) as claim:
            spec = read_spec(request)
            deadline = inference.deadline(context.deadline)
            wanted = request.output_filter
            with inference.admit_at_once(spec, deadline) or await inference.admit(spec, deadline) as admission:
                call = inference.prediction_call(admission, spec.signature, tuple(wanted) if wanted else ())
                # A few bytes may claim a large tensor; a request of many such that nobody asked for must not be made.
                check_names(admission.servable, call, set(request.inputs))
                inputs = await read_inputs(request.inputs, len(data), self._max_elements, claim)
                del request
                prediction = await inference.run(admission, call, inputs)
            spec_bytes = encoded_spec(prediction.answered_by)
            response = await write_response(spec_bytes, prediction.outputs, as_content=self._as_content)
            self._log(LoggedMethod.PREDICT, prediction.answered_by, data, response)
            return response

    async def classify(self, data: bytes, context: RpcContext) -> bytes:
        """``ClassificationRequest`` to ``ClassificationResponse``."""
        request = decode(_EXAMPLES_REQUEST, data, "ClassificationRequest")
        with Counted(self._metrics, request.model_spec.name, "Classify", context):
            spec, examples = read_spec(request), input_examples(request.input)
            answer = await self._inference.classify(spec, examples, self._inference.deadline(context.deadline))
            response = await _written(classification_response, answer)
            self._log(LoggedMethod.CLASSIFY, answer.answered_by, data, response)
            return response

    async def regress(self, data: bytes, context: RpcContext) -> bytes:
        """``RegressionRequest`` to ``RegressionResponse``."""
        request = decode(_EXAMPLES_REQUEST, data, "RegressionRequest")
        with Counted(self._metrics, request.model_spec.name, "Regress", context):
            spec, examples = read_spec(request), input_examples(request.input)
            answer = await self._inference.regress(spec, examples, self._inference.deadline(context.deadline))
            response = await _written(regression_response, answer)
            self._log(LoggedMethod.REGRESS, answer.answered_by, data, response)
            return response

    async def multi_inference(self, data: bytes, context: RpcContext) -> bytes:
        """``MultiInferenceRequest`` to ``MultiInferenceResponse``."""
        request = decode(_MULTI_INFERENCE_REQUEST, data)
        name = request.tasks[0].model_spec.name if request.tasks else ""
        with Counted(self._metrics, name, "MultiInference", context):
            tasks = [Task(read_spec(task), task.method_name) for task in request.tasks]
            examples = input_examples(request.input)
            deadline = self._inference.deadline(context.deadline)
            answers = await self._inference.multi_inference(tasks, examples, deadline)
            response = await _written(multi_inference_response, *answers)
            self._log(LoggedMethod.MULTI_INFERENCE, answers[0].answered_by, data, response)
            return response

    async def get_model_metadata(self, data: bytes, context: RpcContext) -> bytes:
        """``GetModelMetadataRequest`` to ``GetModelMetadataResponse``."""
        request = decode(_METADATA_REQUEST, data)
        spec = read_spec(request)
        if not request.metadata_field:
            raise faults.no_metadata_field()
        for field in request.metadata_field:
            if field != SIGNATURE_DEF:
                raise faults.unknown_metadata_field(field)
        with await self._inference.admit(spec, self._inference.deadline(context.deadline)) as admission:
            name, version = admission.servable.id
            response = _METADATA_RESPONSE()
            write_spec(response.model_spec, AnsweredBy(name, number_of(version), ""))
            response.metadata[SIGNATURE_DEF].Pack(signature_defs(admission.servable))
            return bytes(response.SerializeToString())

    def _log(self, method: LoggedMethod, answered_by: AnsweredBy, request: bytes, response: bytes) -> None:
        if self._request_log.sample(answered_by.name):
            model_spec = encoded_spec(answered_by)
            self._request_log.write(answered_by.name, method, model_spec=model_spec, request=request, response=response)


async def _written(write: Callable[..., bytes], *answers: Classification | Regression) -> bytes:
    if sum(_size(answer) for answer in answers) > _OFF_LOOP_RESULTS:
        return await asyncio.to_thread(write, *answers)
    return write(*answers)


def _size(answer: Classification | Regression) -> int:
    if isinstance(answer, Regression):
        return answer.values.size
    return max(0 if array is None else array.size for array in (answer.labels, answer.scores))
