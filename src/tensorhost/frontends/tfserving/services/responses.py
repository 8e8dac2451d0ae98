"""Answers about Examples as serialized responses."""

from __future__ import annotations

from typing import Any

from tensorhost.codecs.protobuf import message_class
from tensorhost.frontends.tfserving.inference import Classification, Regression
from tensorhost.frontends.tfserving.services.examples import write_classification, write_regression
from tensorhost.frontends.tfserving.services.specs import write_spec

_CLASSIFICATION_RESPONSE: Any = message_class("tensorflow.serving.ClassificationResponse")
_REGRESSION_RESPONSE: Any = message_class("tensorflow.serving.RegressionResponse")
_MULTI_INFERENCE_RESPONSE: Any = message_class("tensorflow.serving.MultiInferenceResponse")


def classification_response(answer: Classification) -> bytes:
    """A ``tensorflow.serving.ClassificationResponse``. Raises ModelFailedError for a label that is no text."""
    response = _CLASSIFICATION_RESPONSE()
    write_spec(response.model_spec, answer.answered_by)
    write_classification(answer, response.result)
    return bytes(response.SerializeToString())


def regression_response(answer: Regression) -> bytes:
    """A ``tensorflow.serving.RegressionResponse``."""
    response = _REGRESSION_RESPONSE()
    write_spec(response.model_spec, answer.answered_by)
    write_regression(answer, response.result)
    return bytes(response.SerializeToString())


def multi_inference_response(*answers: Classification | Regression) -> bytes:
    """A ``tensorflow.serving.MultiInferenceResponse``, the answers in their order; errors as of the others."""
    response = _MULTI_INFERENCE_RESPONSE()
    for answer in answers:
        result = response.results.add()
        write_spec(result.model_spec, answer.answered_by)
        if isinstance(answer, Classification):
            write_classification(answer, result.classification_result)
        else:
            write_regression(answer, result.regression_result)
    return bytes(response.SerializeToString())
