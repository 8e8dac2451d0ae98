"""tf.Examples: from JSON objects of features, and out of the input of a classify or regress request.

An example stays bytes: whoever reads its features is the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from simdjson import Array as JsonArray
from simdjson import Object as JsonMembers

from tensorhost.codecs.protobuf import message_class
from tensorhost.codecs.serving_json import decode_base64
from tensorhost.core.errors import InvalidRequestError, PayloadTooLargeError

MOST_CONTEXT_BYTES = 256 * 2**20
"""Of the copies of one context: a request of a megabyte can ask for a terabyte of them."""

_Example: Any = message_class("tensorflow.Example")
_OBJECTS = (dict, JsonMembers)
_LISTS = (list, JsonArray)
_LISTS_BY_TYPE = {bool: "int64_list", int: "int64_list", float: "float_list", str: "bytes_list"}
_LEAST_INT64, _LARGEST_INT64 = -(2**63), 2**63 - 1


def encode_example(features: Any) -> bytes:
    """A serialized ``tensorflow.Example``.

    Args:
        features: a JSON object, as the parser or as Python holds it. A feature is one value or a list of values of one
            kind: numbers with a fraction or an exponent become floats; whole numbers, true and false integers; strings
            and ``{"b64": …}`` bytes.

    Raises:
        InvalidRequestError: in TensorFlow Serving's words.
    """
    if not isinstance(features, _OBJECTS):
        raise InvalidRequestError(f"Example must be JSON object but got JSON {_json_type(features)}")
    example = _Example()
    into = example.features.feature
    for name in features:
        value = features[name]
        _fill(into[name], name, list(value) if isinstance(value, _LISTS) else [value])
    data: bytes = example.SerializeToString()
    return data


def input_examples(received: Any) -> list[bytes]:
    """The examples of a ``tensorhost.wire.Input``, each with the features that all have in common.

    A serialized message after another is both of them merged: the context comes first, so that a feature of the
    example's own has precedence.
    """
    if received.WhichOneof("kind") == "example_list_with_context":
        listed = received.example_list_with_context
        return with_context(b"".join(listed.context), listed.examples)
    return list(received.example_list.examples)


def with_context(context: bytes, examples: Sequence[bytes]) -> list[bytes]:
    """Each of ``examples`` with the features of ``context``, unless it has its own of that name.

    Raises PayloadTooLargeError where so many copies of the context would take more memory than anybody needs.
    """
    if len(context) * len(examples) > MOST_CONTEXT_BYTES:
        raise PayloadTooLargeError(
            f"The context, of {len(context)} bytes, is too large for {len(examples)} examples; "
            f"together its copies may have {MOST_CONTEXT_BYTES} bytes."
        )
    return [context + example for example in examples]


def _fill(feature: Any, name: str, values: list[Any]) -> None:
    if not values:
        feature.SetInParent()
        return
    kinds = {_LISTS_BY_TYPE.get(type(value)) or _kind_of_object(name, value) for value in values}
    if len(kinds) > 1:
        first = _LISTS_BY_TYPE.get(type(values[0]), "bytes_list").removesuffix("_list")
        raise InvalidRequestError(f"Unexpected element type in feature: {name} expecting type: {first}")
    kind = kinds.pop()
    if kind == "int64_list":
        values = _integers(name, values)
    elif kind == "bytes_list":
        values = [_text_or_base64(value) for value in values]
    getattr(feature, kind).value.extend(values)


def _kind_of_object(name: str, value: Any) -> str:
    if isinstance(value, _OBJECTS) and len(value) == 1 and isinstance(_b64_of(value), str):
        return "bytes_list"
    raise InvalidRequestError(f"Feature: {name} has element with unexpected JSON type: {_json_type(value)}")


def _b64_of(value: Any) -> Any:
    return value["b64"] if tuple(value) == ("b64",) else None


def _integers(name: str, values: list[Any]) -> list[int]:
    if max(values) > _LARGEST_INT64 or min(values) < _LEAST_INT64:
        raise InvalidRequestError(f"Feature: {name} has uint64 element. Only int64 is supported.")
    return [int(value) for value in values]  # a message takes no bool for an integer


def _text_or_base64(value: Any) -> bytes:
    if isinstance(value, str):
        return value.encode()
    try:
        return decode_base64(_b64_of(value))
    except ValueError:
        raise InvalidRequestError("Unable to base64 decode") from None


def _json_type(value: Any) -> str:
    if value is None:
        return "Null"
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, str):
        return "String"
    if isinstance(value, _OBJECTS):
        return "Object"
    return "Array" if isinstance(value, _LISTS) else "Number"
