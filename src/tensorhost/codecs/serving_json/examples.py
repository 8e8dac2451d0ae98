"""The examples of a Classify or Regress request, as objects of features that ``codecs.examples`` makes messages of."""

from __future__ import annotations

from typing import Any

from simdjson import Array as JsonArray
from simdjson import Object as JsonMembers

from tensorhost.codecs.json_document import member_names
from tensorhost.codecs.serving_json.document import ServingDocument
from tensorhost.core.errors import InvalidRequestError

_CONTEXT_KEY = "context"
_EXAMPLES_KEY = "examples"


def read_examples(document: ServingDocument) -> tuple[Any | None, list[Any]]:
    """The features that all examples have in common, None where there are none, and those of each example.

    Raises InvalidRequestError in TensorFlow Serving's words, also where an example names a feature twice.
    """
    members = document.members
    context = members.element(_CONTEXT_KEY) if _CONTEXT_KEY in members.keys else None
    if _EXAMPLES_KEY not in members.keys:
        raise InvalidRequestError(
            f"JSON Value: {document.excerpt()} When method is classify, key '{_EXAMPLES_KEY}' is expected and was "
            "not found"
        )
    value = members.element(_EXAMPLES_KEY)
    if not isinstance(value, JsonArray):
        raise InvalidRequestError(
            f"JSON Value: {document.excerpt()} Expecting '{_EXAMPLES_KEY}' value to be an list/array"
        )
    if not len(value):
        raise InvalidRequestError(f"JSON Value: {document.excerpt()} '{_EXAMPLES_KEY}' value is an empty array")
    has_context = _CONTEXT_KEY in members.keys
    if has_context and context is None:
        raise InvalidRequestError("Example must be JSON object but got JSON Null")
    return (
        _features(document, context, f"'{_CONTEXT_KEY}'") if has_context else None,
        [_features(document, example, f"'{_EXAMPLES_KEY}[{index}]'") for index, example in enumerate(value)],
    )


def _features(document: ServingDocument, example: Any, where: str) -> Any:
    """An example without stand-ins; the parser's own object where the document has none."""
    if isinstance(example, JsonMembers):
        member_names(example, where)
        if document.stand_ins is not None:
            return {name: _replaced(document, value) for name, value in example.items()}
    return example


def _replaced(document: ServingDocument, value: Any) -> Any:
    stand_ins = document.stand_ins
    if isinstance(value, list):
        return [_replaced(document, element) for element in value]
    return stand_ins.value_of(value) if stand_ins is not None and isinstance(value, float) else value
