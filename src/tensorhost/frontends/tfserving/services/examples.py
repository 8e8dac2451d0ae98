"""``tensorflow.serving.Input``: the serialized Examples of a request, and the answers about them. Pure."""

from __future__ import annotations

from typing import Any

from tensorhost.core.errors import ModelFailedError
from tensorhost.core.tensors import Array
from tensorhost.frontends.tfserving.inference import Classification, Regression


def read_examples(source: Any) -> list[bytes]:
    """Serialized ``tf.Example`` messages of a wire view's ``Input``, the context in front of each; maybe none."""
    kind = source.WhichOneof("kind")
    if kind is None:
        return []
    if kind == "example_list":
        return list(source.example_list.examples)
    listed = source.example_list_with_context
    # Messages one after the other are one message; what the Example says comes last and so wins over the context.
    context = b"".join(listed.context)
    return [context + example for example in listed.examples]


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
