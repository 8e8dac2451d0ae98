"""Answers about Examples as messages, whole responses or parts of them. Pure."""

from __future__ import annotations

from typing import Any

from tensorhost.codecs.protobuf import message_class
from tensorhost.core.errors import ModelFailedError
from tensorhost.core.tensors import Array
from tensorhost.frontends.tfserving.inference import Classification, Regression
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


def write_classification(answer: Classification, result: Any) -> None:
    """Fill in a ``ClassificationResult``. Raises ModelFailedError for a label that is no text."""
    for labels, scores in zip(
        _rows(answer.labels, answer.scores, b""), _rows(answer.scores, answer.labels, 0.0), strict=True
    ):
        classes = result.classifications.add().classes
        for label, score in zip(labels, scores, strict=True):
            added = classes.add()
            added.label = _text(label)
            added.score = score


def write_regression(answer: Regression, result: Any) -> None:
    """Fill in a ``RegressionResult``."""
    for value in answer.values.tolist():
        result.regressions.add().value = value


def _rows(array: Array | None, other: Array | None, missing: Any) -> list[list[Any]]:
    """The rows of ``array``, or as many of ``missing`` as ``other`` has where there is none."""
    if array is not None:
        return list(array.tolist())
    return [] if other is None else [[missing] * other.shape[1] for _ in range(len(other))]


def _text(label: bytes) -> str:
    try:
        return label.decode()
    except UnicodeDecodeError:
        raise ModelFailedError("The model answered with a class label that is not UTF-8 text.") from None
