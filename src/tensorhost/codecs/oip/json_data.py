"""The ``data`` of an input in JSON to arrays: in one flat list, or in nested lists of the input's shape.

What must stay true: no number of a list becomes a Python object, nothing is allocated before the shape was compared
with the limit and with the data, and no ragged list ever becomes an array.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np
from simdjson import Array as JsonArray

from tensorhost.codecs.json_document import JsonObject, kind_of, minified
from tensorhost.codecs.json_numbers import decode_numbers
from tensorhost.codecs.json_shapes import (
    count_lists,
    find_ragged,
    holds_every_leaf,
    is_made_of_lists,
    place_of,
    probe_shape,
    uniform_leaves,
)
from tensorhost.codecs.json_structure import structure_of, structure_of_shape
from tensorhost.codecs.json_tokens import StandIns
from tensorhost.codecs.oip.raw import checked_count, object_array
from tensorhost.core.dtypes import DType
from tensorhost.core.errors import InvalidInputShapeError, InvalidInputTypeError, TensorhostError
from tensorhost.core.tensors import Array, TensorSpec, format_shape

_ANY_SPEC = TensorSpec("", DType.FLOAT32, None)
_LONGEST_KEPT_NAME = 64


class ListCensus:
    """Which lists a request has, and whether its fields account for them all. The parser flattens what it hands out.

    Where there are as many lists as the fields have, and each is where the data's shapes want one, none hides among the
    numbers of any: one search for a byte proves it of the whole request. Where there are too many to look at each, the
    structure of the whole text is compared with that which the shapes imply.

    Args:
        members: the request.
        stand_ins: for the tokens in it that are no JSON; None where there are none.
        accounts_for_all: False for a request whose lists are not counted, so that nothing is proved of them together.
    """

    def __init__(self, members: JsonObject, stand_ins: StandIns | None, *, accounts_for_all: bool = True) -> None:
        self._members = members
        self._lists = 0
        self._inputs: list[JsonObject] = []
        self._proves: bool | None = None if accounts_for_all else False
        self.stand_ins = stand_ins

    @property
    def max_depth(self) -> int:
        """Deepest nesting of an input's data."""
        return self._members.max_depth

    def count_list(self) -> None:
        """Account for a list that holds no data."""
        self._lists += 1

    def count_input(self, item: JsonObject) -> None:
        """Account for the lists of an input's data, if it has such; inputs come in their order."""
        self._inputs.append(item)

    def proves_lists(self) -> bool:
        """Whether the lists of all data are nested as their first elements promise; False proves nothing.

        True leaves open which of the innermost lists have one element and which none.
        """
        if self._proves is None:
            try:
                self._proves = self._prove()
            except TensorhostError:
                self._proves = False  # whoever decodes what is wrong will say so
        return self._proves

    def _prove(self) -> bool:
        shapes = [self._probe(item.element("data")) if "data" in item.keys else () for item in self._inputs]
        lists = self._lists + sum(map(count_lists, shapes))
        if not self._members.has_few_lists(lists):
            return self._has_structure(shapes)
        return all(
            not shape or is_made_of_lists(item.element("data"), shape)
            for item, shape in zip(self._inputs, shapes, strict=True)
        )

    def _probe(self, value: Any) -> tuple[int, ...]:
        # An element takes a byte of text at least.
        limit = len(self._members.text)
        return probe_shape(_ANY_SPEC, value, max_depth=self.max_depth, max_elements=limit)[0]

    def _has_structure(self, shapes: Sequence[tuple[int, ...]]) -> bool:
        # What has more elements than the text has bytes is not spelled out to compare it.
        if sum(prod(shape) or prod(shape[:-1]) for shape in shapes) > len(self._members.text):
            return False
        items = [
            item.expected_structure({"data": structure_of_shape(shape)})
            for item, shape in zip(self._inputs, shapes, strict=True)
        ]
        expected = self._members.expected_structure({"inputs": b"[" + b",".join(items) + b"]"})
        return expected == self._members.structure

    def is_proved(self, value: Any, shape: Sequence[int]) -> bool:
        """``proves_lists`` of ``value`` alone, whose shape is to be ``shape``. Slow: every number is written anew."""
        if (prod(shape) or prod(shape[:-1])) > len(self._members.text):
            return False
        return structure_of(minified(value)) == structure_of_shape(shape)


@dataclass(slots=True)
class JsonElements:
    """Elements as ``data``; ``value`` is what the parser has there."""

    value: Any
    census: ListCensus

    def decode(self, dtype: DType, shape: Sequence[int], name: str, *, max_elements: int) -> Array:
        """The array of ``dtype`` and ``shape``; strings as objects of bytes.

        Raises:
            InvalidRequestError: the shape is none, or lists are nested too deeply.
            InvalidInputShapeError: the data have neither this shape nor as many elements in one list.
            RaggedInputError: lists differ in length or depth.
            InvalidInputTypeError: the data are no list, or a value is not of the datatype, whose place is told then.
            PayloadTooLargeError: more than ``max_elements``.
        """
        shape = tuple(shape)
        count = checked_count(shape, name, max_elements=max_elements)
        spec = _known_spec(name, dtype) if len(name) <= _LONGEST_KEPT_NAME else _spec(name, dtype)
        given: tuple[int, ...] = ()
        if isinstance(self.value, JsonArray):
            given, _ = probe_shape(spec, self.value, max_depth=self.census.max_depth, max_elements=max_elements)
        elif shape:
            raise InvalidInputTypeError(
                f"Input '{name}': 'data' must be a list, not {kind_of(self.value)}.", details={"input": name}
            )
        # Lists without elements do not show the dimensions within them.
        is_nested = given == (shape[: len(given)] if count == 0 and 0 in given else shape)
        if not is_nested and given != (count,):
            raise _shape_error(name, given, shape, count)
        array = self._strings(spec, given) if dtype.is_string else self._numbers(spec, given)
        return array.reshape(shape)

    def _strings(self, spec: TensorSpec, given: tuple[int, ...]) -> Array:
        values: list[bytes] = []
        for index, leaf in enumerate(uniform_leaves(spec.name, self.value, given)):
            if not isinstance(leaf, str):
                where = f"the value at {place_of(index, given)}" if given else "the value"
                raise InvalidInputTypeError(
                    f"Input '{spec.name}' must be BYTES: {where} is {kind_of(leaf)}, expected a string.",
                    details={"input": spec.name, "expected": "BYTES", "actual": kind_of(leaf)},
                )
            values.append(leaf.encode())
        return object_array(values)

    def _numbers(self, spec: TensorSpec, given: tuple[int, ...]) -> Array:
        if given and not self._is_proved(given):
            fault = find_ragged(spec.name, self.value, given)
            if fault is not None:
                raise fault
            # Objects among the numbers: decoding names the first.
        stand_ins = self.census.stand_ins
        if stand_ins is None:
            return decode_numbers(spec, self.value, given)
        try:
            return self._numbers_and_tokens(spec, given, stand_ins)
        except InvalidInputTypeError as error:
            details = {
                key: stand_ins.restored(value) if isinstance(value, str) else value
                for key, value in error.details.items()
            }
            raise InvalidInputTypeError(stand_ins.restored(error.message), details=details) from None

    def _is_proved(self, given: tuple[int, ...]) -> bool:
        has_lists = self.census.proves_lists() or self.census.is_proved(self.value, given)
        return has_lists and holds_every_leaf(self.value, given)

    def _numbers_and_tokens(self, spec: TensorSpec, given: tuple[int, ...], stand_ins: StandIns) -> Array:
        as_they_are = decode_numbers(spec, self.value, given)  # refuses what is no number or out of range
        if not spec.dtype.is_floating:
            return as_they_are
        if not given:
            doubles = np.array(self.value, np.float64)
        else:
            doubles = np.frombuffer(self.value.as_buffer(of_type="d"), np.float64).reshape(given)
        with np.errstate(over="ignore"):
            return stand_ins.replaced(doubles).astype(spec.dtype.numpy)


def _spec(name: str, dtype: DType) -> TensorSpec:
    return TensorSpec(name, dtype, None)


_known_spec = lru_cache(maxsize=256)(_spec)  # most requests name the inputs of others


def _shape_error(name: str, given: Sequence[int], shape: Sequence[int], count: int) -> InvalidInputShapeError:
    return InvalidInputShapeError(
        f"Input '{name}' has data of shape {format_shape(tuple(given))}, expected {format_shape(tuple(shape))} or "
        f"{count} elements in one list.",
        details={"input": name, "expected": list(shape), "actual": list(given)},
    )
