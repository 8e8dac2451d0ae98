"""Bodies of ``generate``: values by the names of the inputs, flat, and answers by those of the outputs.

Triton's extension, provisional there: a member that is no input is a parameter, and so the other way round for what
stands under ``parameters``. Shapes are not given, but found from the number of values.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from simdjson import Array as JsonArray
from simdjson import Object as JsonMembers

from tensorhost.codecs.json_document import JsonObject, shorten
from tensorhost.codecs.json_response import dumps
from tensorhost.codecs.oip.http_messages import json_data
from tensorhost.codecs.oip.json_data import JsonElements, ListCensus
from tensorhost.codecs.oip.json_request import Document, kind_error, text_of
from tensorhost.codecs.oip.requests import InferRequest, InferResponse, InputTensor, Parameter
from tensorhost.core.dtypes import DType
from tensorhost.core.errors import InvalidInputShapeError, InvalidRequestError
from tensorhost.core.tensors import Array

_PARAMETERS, _ID = "parameters", "id"

InputForms = Mapping[str, tuple[str, Sequence[int]]]
"""The datatype and shape of each input of a model, by its name; a size below zero is free."""


@dataclass(slots=True)
class _FlatElements:
    """The one value, or the list of them, that an input is given."""

    elements: JsonElements

    def decode(self, dtype: DType, shape: Sequence[int], name: str, *, max_elements: int) -> Array:
        """See ``JsonElements.decode``."""
        is_list = isinstance(self.elements.value, JsonArray)
        array = self.elements.decode(dtype, shape if is_list else (), name, max_elements=max_elements)
        return array.reshape(shape)


def read_generate_request(text: bytes, inputs: InputForms, *, max_depth: int) -> InferRequest:
    """What the body of a generate request asks.

    Args:
        text: the JSON; see ``Document.parse``.
        inputs: of the model that is asked. One that the body does not have, or has null for, is left out.
        max_depth: deepest nesting of lists.

    Raises:
        InvalidRequestError: it is no JSON object, or a parameter or the id is not what it should be.
        InvalidInputShapeError: as many values as an input has make none of its shapes.
    """
    document = Document.parse(text, max_depth=max_depth)
    # Lists lie wherever clients put them: each is looked at on its own.
    census = ListCensus(document.members, document.stand_ins, accounts_for_all=False)
    request = InferRequest(id="" if _ID in inputs else text_of(document.members, _ID, default=""))
    parameters: dict[str, Parameter] = {}
    for holder, name, value in _given(document.members, inputs):
        if name in inputs:
            datatype, shape = inputs[name]
            elements = _FlatElements(JsonElements(value, census))
            request.inputs.append(InputTensor(name, datatype, _shape_of(name, value, shape), elements=elements))
        elif name in parameters:
            raise InvalidRequestError(
                f"The parameter '{shorten(name)}' is given twice, in the body and under '{_PARAMETERS}'.",
                details={"field": shorten(name)},
            )
        else:
            parameters[name] = document.parameter(name, value, holder.where)
    request.parameters = parameters
    return request


def write_generate_response(response: InferResponse) -> bytes:
    """The outputs by name as JSON: a single value bare, others in one list.

    Raises UnsupportedTypeError: an output holds bytes that are no UTF-8.
    """
    answer: dict[str, Any] = {_ID: response.id} if response.id else {}
    answer |= {"model_name": response.model_name, "model_version": response.model_version}
    for output in response.outputs:
        if output.array is not None:
            values = json_data(output.name, output.array, DType.of(output.array))
            answer[output.name] = values[0] if len(values) == 1 else values
    return dumps(answer)


def _given(members: JsonObject, inputs: InputForms) -> Iterator[tuple[JsonObject, str, Any]]:
    """Each input and parameter of a body that is not null, and in what it stands."""
    for key in members.keys:
        value = members.element(key)
        if value is None or (key == _ID and key not in inputs):
            continue
        if key != _PARAMETERS:
            yield members, key, value
            continue
        if not isinstance(value, JsonMembers):
            raise kind_error(members, key, value, "an object")
        nested = JsonObject(value, b"", max_depth=members.max_depth - 1, where=f"'{key}'")
        pairs = ((name, nested.element(name)) for name in nested.keys)
        yield from ((nested, name, inner) for name, inner in pairs if inner is not None)


def _shape_of(name: str, value: Any, shape: Sequence[int]) -> tuple[int, ...]:
    """The shape of as many values as there are: the innermost free dimension takes what the fixed ones leave."""
    count = len(value) if isinstance(value, JsonArray) else 1
    fixed = prod(size for size in shape if size >= 0)
    free = [position for position, size in enumerate(shape) if size < 0]
    rest = count // fixed if fixed and free else 1
    if rest * fixed != count:
        raise InvalidInputShapeError(
            f"The schema can not convert input '{name}' to tensor with proper shape: {count} values for {list(shape)}",
            details={"input": name, "expected": list(shape), "actual": count},
        )
    innermost = free[-1] if free else None
    return tuple(size if size >= 0 else rest if position == innermost else 1 for position, size in enumerate(shape))
