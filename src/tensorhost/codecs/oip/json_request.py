"""The JSON of an infer request: its fields as Python objects, its data left in the parser's memory.

Read strictly: a member of a wrong kind is refused and named. Unknown members are ignored, as Triton does, and null
stands for a member that is missing, as KServe's clients write it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from simdjson import Array as JsonArray
from simdjson import Object as JsonMembers
from simdjson import Parser

from tensorhost.codecs.json_document import JsonObject, kind_of, shorten
from tensorhost.codecs.json_faults import SECOND_LOOK_BYTES
from tensorhost.codecs.json_tokens import StandIns, may_have_tokens, replace_tokens, stand_ins_for
from tensorhost.codecs.oip.json_data import JsonElements, ListCensus
from tensorhost.codecs.oip.raw import check_rank, check_shape
from tensorhost.codecs.oip.requests import (
    InferRequest,
    InputTensor,
    Parameter,
    Parameters,
    RequestedOutput,
    check_items,
    check_name,
)
from tensorhost.core.errors import InvalidRequestError

_LEAST, _LARGEST = -(2**63), 2**64 - 1
_LARGEST_SIZE = 2**63 - 1
# No longer one is a number of the fast parser's, or of the one that mends what that refuses.
_LONG_INTEGERS = re.compile(rb"(?<![0-9.eE+-])-?[0-9]{19,310}(?![0-9.eE])")


@dataclass(slots=True)
class Document:
    """A body as it was parsed.

    Attributes:
        text: as it came.
        members: the object that it is.
        stand_ins: for the tokens in it that are no JSON; None where there are none.
    """

    text: bytes
    members: JsonObject
    stand_ins: StandIns | None = None
    _rounded: frozenset[float] | None = field(default=None, init=False)

    @classmethod
    def parse(cls, text: bytes, *, max_depth: int) -> Document:
        """Parse a body; ``NaN``, ``Infinity`` and ``-Infinity`` are taken for numbers, since Triton takes them.

        Raises InvalidRequestError: it is no JSON object.
        """
        try:
            members = Parser().parse(text)
        except (ValueError, RuntimeError):
            if may_have_tokens(text):
                return cls._with_tokens(text, max_depth)
            return cls(text, JsonObject.parse(text, max_depth=max_depth))  # which says what is wrong, or mends it
        if not isinstance(members, JsonMembers):
            raise InvalidRequestError(f"The body must be a JSON object, not {kind_of(members)}.")
        return cls(text, JsonObject(members, text, max_depth=max_depth))

    @classmethod
    def _with_tokens(cls, text: bytes, max_depth: int) -> Document:
        stand_ins = stand_ins_for(text)
        try:
            members = JsonObject.parse(replace_tokens(text, stand_ins), max_depth=max_depth)
        except InvalidRequestError as error:
            if "line" not in error.details:
                raise
            # The place is that in the text with other numbers in it.
            raise InvalidRequestError("The body is not valid JSON.") from None
        return cls(text, members, stand_ins)

    def parameters(self, holder: JsonObject) -> Parameters:
        """The parameters of the document or of one of its items; those that are null are left out.

        Raises InvalidRequestError: they are no object, or one is no scalar or an integer beyond 64 bits.
        """
        if "parameters" not in holder.keys:
            return {}
        given = holder.plain("parameters")
        if given is None:
            return {}
        if not isinstance(given, dict):
            raise kind_error(holder, "parameters", given, "an object")
        return {name: self.parameter(name, value, holder.where) for name, value in given.items() if value is not None}

    def parameter(self, name: str, value: Any, where: str) -> Parameter:
        """The value of one parameter. Raises InvalidRequestError: it is no scalar, or an integer beyond 64 bits."""
        if not isinstance(value, bool | int | float | str):
            raise InvalidRequestError(
                f"{where}: the parameter '{shorten(name)}' must be a string, a number or a boolean, not "
                f"{kind_of(value)}.",
                details={"field": shorten(name)},
            )
        if type(value) is not float:
            return value
        if self._was_integer(value):
            raise InvalidRequestError(
                f"{where}: the parameter '{shorten(name)}' is a whole number beyond 64 bits, which would lose digits.",
                details={"field": shorten(name)},
            )
        return value if self.stand_ins is None else self.stand_ins.value_of(value)

    def _was_integer(self, value: float) -> bool:
        """Whether ``value`` was written as an integer that is beyond 64 bits: the parser makes floats of those."""
        is_within = _LEAST < value <= _LARGEST  # the least may be the one below it, rounded
        if is_within or not value.is_integer() or len(self.text) > SECOND_LOOK_BYTES:
            return False
        if self._rounded is None:
            found = set(_LONG_INTEGERS.findall(self.text))
            self._rounded = frozenset(float(digits) for digits in found if not _LEAST <= int(digits) <= _LARGEST)
        return value in self._rounded


def read_json_request(text: bytes, *, max_depth: int) -> InferRequest:
    """What the JSON of an infer request asks; inputs whose data are not in it have no elements.

    Args:
        text: the JSON; see ``Document.parse`` for what else is taken.
        max_depth: deepest nesting of lists.

    Raises:
        InvalidRequestError: it is no JSON, or no infer request; the message names the field.
    """
    document = Document.parse(text, max_depth=max_depth)
    members = document.members
    census = ListCensus(members, document.stand_ins)
    request = InferRequest(id=text_of(members, "id", default=""), parameters=document.parameters(members))
    if "inputs" not in members.keys:
        raise InvalidRequestError("The body has no 'inputs'.", details={"field": "inputs"})
    request.inputs = [_input(item, document, census) for item in _items(members, "inputs", census)]
    request.outputs = [
        RequestedOutput(check_name(text_of(item, "name")), document.parameters(item))
        for item in _items(members, "outputs", census)
    ]
    return request


def _items(members: JsonObject, key: str, census: ListCensus) -> Iterator[JsonObject]:
    """Each object of the list ``key``; none where there is no such list."""
    value = members.element(key) if key in members.keys else None
    if value is None:
        return
    if not isinstance(value, JsonArray):
        raise kind_error(members, key, value, "a list of objects")
    check_items(key, len(value))
    census.count_list()
    for index, item in enumerate(value):
        where = f"'{key}[{index}]'"
        if not isinstance(item, JsonMembers):
            raise InvalidRequestError(f"{where} must be an object, not {kind_of(item)}.", details={"field": key})
        yield JsonObject(item, b"", max_depth=members.max_depth - 2, where=where)


def _input(item: JsonObject, document: Document, census: ListCensus) -> InputTensor:
    name = check_name(text_of(item, "name"))
    tensor = InputTensor(name, text_of(item, "datatype"), _shape(item, name, census), document.parameters(item))
    census.count_input(item)
    data = item.element("data") if "data" in item.keys else None
    if data is not None:
        tensor.elements = JsonElements(data, census)
    return tensor


def _shape(item: JsonObject, name: str, census: ListCensus) -> tuple[int, ...]:
    value = item.element("shape") if "shape" in item.keys else None
    if not isinstance(value, JsonArray):
        raise kind_error(item, "shape", value, "a list of whole numbers")
    check_rank(len(value), name)
    census.count_list()
    shape: list[int] = []
    for size in value:
        if type(size) is not int or not -_LARGEST_SIZE <= size <= _LARGEST_SIZE:
            raise InvalidRequestError(
                f"Input '{name}': the sizes in 'shape' must be whole numbers from 0, not {kind_of(size)}.",
                details={"input": name, "field": "shape"},
            )
        shape.append(size)
    check_shape(shape, name)
    return tuple(shape)


def text_of(members: JsonObject, key: str, default: str | None = None) -> str:
    """The string ``key``; ``default`` where it is missing or null and there is one. Else InvalidRequestError."""
    value = members.element(key) if key in members.keys else None
    if value is None and default is not None:
        return default
    if not isinstance(value, str):
        raise kind_error(members, key, value, "a string")
    return value


def kind_error(members: JsonObject, key: str, value: Any, expected: str) -> InvalidRequestError:
    """The error for a member that is missing, or is not what is ``expected``."""
    problem = f"must be {expected}, not {kind_of(value)}" if key in members.keys else "is missing"
    return InvalidRequestError(f"{members.where}: '{key}' {problem}.", details={"field": key})
