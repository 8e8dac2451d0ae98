"""Requests that came as JSON, as the messages that a request log holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tensorhost.codecs.protobuf import message_class
from tensorhost.codecs.tensor_writing import encode_predict_request, encode_predict_response
from tensorhost.core.tensors import Array
from tensorhost.frontends.tfserving.inference import Classification, Prediction, Regression
from tensorhost.frontends.tfserving.model_spec import ModelSpec
from tensorhost.frontends.tfserving.request_log import LoggedMethod, RequestLog
from tensorhost.frontends.tfserving.services.responses import classification_response, regression_response
from tensorhost.frontends.tfserving.services.specs import encoded_spec

_ModelSpec: Any = message_class("tensorflow.serving.ModelSpec")
_ExamplesRequest: Any = message_class("tensorhost.wire.ExamplesRequest")


class RestLog:
    """Writes what REST clients ask into the request log.

    Args:
        request_log: of this process.
    """

    def __init__(self, request_log: RequestLog) -> None:
        self._request_log = request_log

    def predict_request(self, spec: ModelSpec, inputs: Mapping[str, Array]) -> bytes | None:
        """The message to be logged with the answer; None for a request that is not logged.

        To be asked before the model is: it may overwrite its inputs.
        """
        return encode_predict_request(_encoded(spec), inputs) if self._request_log.sample(spec.name) else None

    def write_prediction(self, request: bytes, prediction: Prediction) -> None:
        """Log what ``predict_request`` gave."""
        model_spec = encoded_spec(prediction.answered_by)
        response = encode_predict_response(model_spec, prediction.outputs, as_content=False)
        name = prediction.answered_by.name
        self._request_log.write(name, LoggedMethod.PREDICT, model_spec=model_spec, request=request, response=response)

    def write_about_examples(
        self, spec: ModelSpec, examples: Sequence[bytes], answer: Classification | Regression
    ) -> None:
        """Log a classification or regression, if chance has it so."""
        if not self._request_log.sample(spec.name):
            return
        request = _ExamplesRequest()
        request.model_spec.ParseFromString(_encoded(spec))
        request.input.example_list.examples.extend(examples)
        if isinstance(answer, Classification):
            method, response = LoggedMethod.CLASSIFY, classification_response(answer)
        else:
            method, response = LoggedMethod.REGRESS, regression_response(answer)
        self._request_log.write(
            answer.answered_by.name,
            method,
            model_spec=encoded_spec(answer.answered_by),
            request=request.SerializeToString(),
            response=response,
        )


def _encoded(spec: ModelSpec) -> bytes:
    message = _ModelSpec(name=spec.name, signature_name=spec.signature)
    if spec.version is not None:
        message.version.value = spec.version
    elif spec.label is not None:
        message.version_label = spec.label
    return bytes(message.SerializeToString())
