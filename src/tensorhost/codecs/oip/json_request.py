"""The JSON of an infer request: its fields as Python objects, its data left in the parser's memory.

Read strictly: a member of a wrong kind is refused and named. Unknown members are ignored, as Triton does, and null
stands for a member that is missing, as KServe's clients write it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from simdjson import Array as JsonArray
from simdjson import Object as JsonMembers
from simdjson import Parser

from tensorhost.codecs.json_document import JsonObject, kind_of, shorten
from tensorhost.codecs.json_tokens import StandIns, may_have_tokens, replace_tokens, stand_ins_for
from tensorhost.codecs.oip.json_data import JsonElements, ListCensus
from tensorhost.codecs.oip.raw import MAX_DIMENSIONS
from tensorhost.codecs.oip.requests import (
    MAX_ITEMS,
    InferRequest,
    InputTensor,
    Parameters,
    RequestedOutput,
    check_name,
)
from tensorhost.core.errors import InvalidRequestError

_LARGEST_SIZE = 2**63 - 1


def read_json_request(text: bytes, *, max_depth: int) -> InferRequest:
    """What the JSON of an infer request asks; inputs whose data are not in it have no elements.

    Args:
        text: the JSON. ``NaN``, ``Infinity`` and ``-Infinity`` are taken for numbers, since Triton takes them.
        max_depth: deepest nesting of lists.

    Raises:
        InvalidRequestError: it is no JSON, or no infer request; the message names the field.
    """
    members, stand_ins = _parse(text, max_depth)
    census = ListCensus(members, stand_ins)
    request = InferRequest(id=_text(members, "id", default=""), parameters=_parameters(members, stand_ins))
    if "inputs" not in members.keys:
        raise InvalidRequestError("The body has no 'inputs'.", details={"field": "inputs"})
    request.inputs = [_input(item, census) for item in _items(members, "inputs", census)]
    request.outputs = [
        RequestedOutput(check_name(_text(item, "name")), _parameters(item, stand_ins))
        for item in _items(members, "outputs", census)
    ]
    return request


def _parse(text: bytes, max_depth: int) -> tuple[JsonObject, StandIns | None]:
    try:
        members = Parser().parse(text)
    except (ValueError, RuntimeError):
        if not may_have_tokens(text):
            return JsonObject.parse(text, max_depth=max_depth), None  # which says what is wrong, or mends it
        return _parse_with_tokens(text, max_depth)
    if not isinstance(members, JsonMembers):
        raise InvalidRequestError(f"The body must be a JSON object, not {kind_of(members)}.")
    return JsonObject(members, text, max_depth=max_depth), None


def _parse_with_tokens(text: bytes, max_depth: int) -> tuple[JsonObject, StandIns]:
    stand_ins = stand_ins_for(text)
    try:
        return JsonObject.parse(replace_tokens(text, stand_ins), max_depth=max_depth), stand_ins
    except InvalidRequestError as error:
        if "line" not in error.details:
            raise
        # The place is that in the text with other numbers in it.
        raise InvalidRequestError("The body is not valid JSON.") from None


def _items(members: JsonObject, key: str, census: ListCensus) -> Iterator[JsonObject]:
    """Each object of the list ``key``; none where there is no such list."""
    value = members.element(key) if key in members.keys else None
    if value is None:
        return
    if not isinstance(value, JsonArray):
        raise _kind_error(members, key, value, "a list of objects")
    if len(value) > MAX_ITEMS:
        raise InvalidRequestError(
            f"'{key}' has {len(value)} items; at most {MAX_ITEMS} are allowed.",
            details={"field": key, "expected": MAX_ITEMS, "actual": len(value)},
        )
    census.count_list()
    for index, item in enumerate(value):
        where = f"'{key}[{index}]'"
        if not isinstance(item, JsonMembers):
            raise InvalidRequestError(f"{where} must be an object, not {kind_of(item)}.", details={"field": key})
        yield JsonObject(item, b"", max_depth=members.max_depth - 2, where=where)


def _input(item: JsonObject, census: ListCensus) -> InputTensor:
    name = check_name(_text(item, "name"))
    tensor = InputTensor(name, _text(item, "datatype"), _shape(item, name, census), _parameters(item, census.stand_ins))
    census.count_input(item)
    data = item.element("data") if "data" in item.keys else None
    if data is not None:
        tensor.elements = JsonElements(data, census)
    return tensor


def _shape(item: JsonObject, name: str, census: ListCensus) -> tuple[int, ...]:
    value = item.element("shape") if "shape" in item.keys else None
    if not isinstance(value, JsonArray):
        raise _kind_error(item, "shape", value, "a list of whole numbers")
    if len(value) > MAX_DIMENSIONS:
        raise InvalidRequestError(
            f"Input '{name}' has {len(value)} dimensions; at most {MAX_DIMENSIONS} are allowed.",
            details={"input": name, "expected": MAX_DIMENSIONS, "actual": len(value)},
        )
    census.count_list()
    shape: list[int] = []
    for size in value:
        if type(size) is not int or not 0 <= size <= _LARGEST_SIZE:
            raise InvalidRequestError(
                f"Input '{name}': the sizes in 'shape' must be whole numbers from 0, not {kind_of(size)}.",
                details={"input": name, "field": "shape"},
            )
        shape.append(size)
    return tuple(shape)


def _parameters(members: JsonObject, stand_ins: StandIns | None) -> Parameters:
    if "parameters" not in members.keys:
        return {}
    given = members.plain("parameters")
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise _kind_error(members, "parameters", given, "an object")
    for name, value in given.items():
        if isinstance(value, dict | list):
            raise InvalidRequestError(
                f"{members.where}: the parameter '{shorten(name)}' must be a string, a number or a boolean, not "
                f"{kind_of(value)}.",
                details={"field": shorten(name)},
            )
    if stand_ins is not None:
        given = {name: stand_ins.value_of(value) if type(value) is float else value for name, value in given.items()}
    return {name: value for name, value in given.items() if value is not None}


def _text(members: JsonObject, key: str, default: str | None = None) -> str:
    value = members.element(key) if key in members.keys else None
    if value is None and default is not None:
        return default
    if not isinstance(value, str):
        raise _kind_error(members, key, value, "a string")
    return value


def _kind_error(members: JsonObject, key: str, value: Any, expected: str) -> InvalidRequestError:
    problem = f"must be {expected}, not {kind_of(value)}" if key in members.keys else "is missing"
    return InvalidRequestError(f"{members.where}: '{key}' {problem}.", details={"field": key})
