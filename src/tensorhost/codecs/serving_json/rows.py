"""Rows of several inputs, each an object by name, to one array for each input."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from math import prod
from typing import Any

from simdjson import Array as JsonArray
from simdjson import Object as JsonMembers

from tensorhost.codecs.json_document import JsonObject, minified
from tensorhost.codecs.json_shapes import count_lists, holds_every_leaf, is_made_of_lists, probe_shape
from tensorhost.codecs.json_structure import structure_of, structure_of_object, structure_of_shape
from tensorhost.codecs.serving_json.document import ServingDocument
from tensorhost.codecs.serving_json.numbers import decode_lists, decode_scalars
from tensorhost.codecs.serving_json.strings import decode_nested_strings, decode_strings
from tensorhost.core.dtypes import DType
from tensorhost.core.errors import PayloadTooLargeError
from tensorhost.core.tensors import Array, TensorSpec

_PROXIES = (JsonMembers, JsonArray)
_TEXT = frozenset((str,))


def decode_rows(
    document: ServingDocument, value: Any, specs: Mapping[str, TensorSpec], max_elements: int
) -> dict[str, Array] | None:
    """The rows in the list ``value`` as arrays whose first dimension is the number of rows; None where they are none.

    Raises:
        InvalidRequestError: nested too deeply.
        PayloadTooLargeError: more than ``max_elements`` elements of one input.
    """
    columns = _columns(value, specs)
    if columns is None:
        return None
    shapes: dict[str, tuple[int, ...]] = {}
    for name, column in columns.items():
        limits = {"max_depth": document.members.max_depth, "max_elements": max_elements}
        shapes[name], _ = probe_shape(any_shape(name, specs[name].dtype), column[0], **limits)
        if prod(shapes[name]) * len(column) > max_elements:
            raise PayloadTooLargeError(f"Input '{name}' has more than {max_elements} elements.")
    if not _are_proved(document.members, columns, shapes, specs):
        return None
    arrays = {name: _decode_column(document, specs[name], columns[name], shapes[name]) for name in specs}
    return all_or_none(arrays)


def all_or_none(arrays: Mapping[str, Array | None]) -> dict[str, Array] | None:
    """``arrays``, if there is one for every name."""
    found = {name: array for name, array in arrays.items() if array is not None}
    return found if len(found) == len(arrays) else None


@lru_cache(maxsize=4096)
def any_shape(name: str, dtype: DType) -> TensorSpec:
    """A spec of this name and dtype that takes every shape."""
    return TensorSpec(name, dtype, None)


def _columns(rows: Any, specs: Mapping[str, TensorSpec]) -> dict[str, list[Any]] | None:
    """The values of each input in all rows, in the order of the first row; None unless each row has each once."""
    first = rows[0]
    if not any(isinstance(first[name], _PROXIES) for name in first):
        # The parser makes Python objects of a whole row in one go, which is well for scalars only.
        columns = _gather(rows, specs, JsonMembers.items)
        if columns is None or all(_are_scalars(columns[name], specs[name]) for name in columns):
            return columns
    return _gather(rows, specs, _members)


def _gather(
    rows: Any, specs: Mapping[str, TensorSpec], members_of: Callable[[Any], Iterable[tuple[str, Any]]]
) -> dict[str, list[Any]] | None:
    columns: dict[str, list[Any]] = {name: [] for name in rows[0] if name in specs}
    width = len(specs)
    for index, row in enumerate(rows):
        if type(row) is not JsonMembers or len(row) != width:
            return None
        for name, value in members_of(row):
            column = columns.get(name)
            if column is None or len(column) != index:  # unknown, or twice
                return None
            column.append(value)
    return columns


def _members(row: Any) -> Iterable[tuple[str, Any]]:
    return ((name, row[name]) for name in row)


def _are_scalars(column: list[Any], spec: TensorSpec) -> bool:
    """Whether no value of a column of strings is an object, as some may be; others may not."""
    return not spec.dtype.is_string or frozenset(map(type, column)) <= _TEXT


def _decode_column(
    document: ServingDocument, spec: TensorSpec, column: list[Any], row_shape: tuple[int, ...]
) -> Array | None:
    shape = (len(column), *row_shape)
    if spec.dtype.is_string:
        if not row_shape:
            return decode_strings(column, shape)
        strings = decode_nested_strings(spec.name, column, row_shape)
        return None if strings is None else strings.reshape(shape)
    if not row_shape:
        return decode_scalars(spec.dtype, column, shape, document.stand_ins)
    return decode_lists(spec.dtype, column, shape, document.stand_ins)


def _are_proved(
    members: JsonObject,
    columns: Mapping[str, list[Any]],
    shapes: Mapping[str, tuple[int, ...]],
    specs: Mapping[str, TensorSpec],
) -> bool:
    """Whether the numbers in every row come in lists of the shape that the first row's have."""
    lists = {name: shapes[name] for name in columns if shapes[name] and not specs[name].dtype.is_string}
    if not lists:
        return True
    for name, shape in lists.items():
        if any(not isinstance(value, JsonArray) or len(value) != shape[0] for value in columns[name]):
            return False
    rows = len(next(iter(columns.values())))
    if members.has_few_lists(1 + rows * sum(map(count_lists, lists.values()))):
        # No more lists in the whole body than these shapes want: if each is where it belongs, no leaf is one.
        return all(_has_lists(value, shape) for name, shape in lists.items() for value in columns[name])
    if any(rows * (prod(shape) or prod(shape[:-1])) > len(members.text) for shape in lists.values()):
        return False
    if not _is_of_structure(members, columns, shapes, rows) and not all(
        structure_of(minified(value)) == structure_of_shape(shape)
        for name, shape in lists.items()
        for value in columns[name]
    ):
        return False
    return all(holds_every_leaf(value, shape) for name, shape in lists.items() for value in columns[name])


def _has_lists(value: Any, shape: tuple[int, ...]) -> bool:
    """``is_made_of_lists`` for a list that is not the one whose shape was read off."""
    if prod(shape[:-1]) != 1:
        return is_made_of_lists(value, shape)
    for size in shape:
        if not isinstance(value, JsonArray) or len(value) != size:
            return False
        value = value[0] if size else None
    return True


def _is_of_structure(
    members: JsonObject, columns: Mapping[str, list[Any]], shapes: Mapping[str, tuple[int, ...]], rows: int
) -> bool:
    """Whether the whole body is made of rows like the first one, in its order of names; False proves nothing."""
    row = structure_of_object([structure_of_shape(shapes[name]) for name in columns])
    key = "instances"
    if not members.has_plain_rest(key):
        return False
    return members.expected_structure({key: b"[" + (row + b",") * (rows - 1) + row + b"]"}) == members.structure
