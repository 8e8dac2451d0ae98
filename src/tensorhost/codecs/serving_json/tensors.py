"""The inputs of a Predict request to named arrays: in rows under ``instances``, in columns under ``inputs``.

Rows: each element of the list is one row of every input, and the first dimension is the number of elements. One input
may come as plain values, several come as objects by name. Columns: whole tensors, bare for one input, by name for
several. The signature says names and dtypes; shapes are what the lists have, and whoever calls the model judges them.

Here a document is decoded or found wanting; what exactly is wrong with it, ``explanation`` says. What must stay true:
no number becomes a Python object where it comes in a list, and no ragged list ever becomes an array.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from math import prod
from typing import Any

from simdjson import Array as JsonArray
from simdjson import Object as JsonMembers

from tensorhost.codecs.json_document import JsonObject, member_names, minified
from tensorhost.codecs.json_shapes import (
    count_lists,
    holds_every_leaf,
    is_made_of_lists,
    probe_shape,
)
from tensorhost.codecs.json_structure import structure_of, structure_of_object, structure_of_shape
from tensorhost.codecs.serving_json.document import ServingDocument
from tensorhost.codecs.serving_json.explanation import explain_columns, explain_rows
from tensorhost.codecs.serving_json.numbers import decode_lists, decode_scalars
from tensorhost.codecs.serving_json.rows import all_or_none, any_shape, decode_rows
from tensorhost.codecs.serving_json.strings import decode_nested_strings, is_binary
from tensorhost.core.errors import InvalidRequestError
from tensorhost.core.tensors import Array, TensorSpec

ROWS_KEY = "instances"
COLUMNS_KEY = "inputs"


class Layout(Enum):
    """How tensors are written; answers come as requests do."""

    ROWS = "predictions"
    COLUMNS = "outputs"


@dataclass(slots=True)
class _Numbers:
    """An input of numbers, whose shape is not proved yet if it has one."""

    name: str
    value: Any
    shape: tuple[int, ...]


def signature_name(document: ServingDocument) -> str:
    """The signature asked for; empty for the default one. Raises InvalidRequestError where it is no string."""
    members = document.members
    if "signature_name" not in members.keys:
        return ""
    name = members.element("signature_name")
    if not isinstance(name, str):
        raise InvalidRequestError(
            f"JSON Value: {document.excerpt()} not formatted correctly. 'signature_name' key must be a string value."
        )
    return name


def decode_predict(
    document: ServingDocument, specs: Mapping[str, TensorSpec], *, max_elements: int
) -> tuple[Layout, dict[str, Array]]:
    """The layout of a Predict request, and its inputs by name, in the order of ``specs``.

    Strings become object arrays of bytes. Other members than the one that holds the inputs are ignored.

    Args:
        document: the parsed body.
        specs: the inputs of the signature; their shapes do not matter.
        max_elements: most elements of one input.

    Raises:
        InvalidRequestError: what TensorFlow Serving refuses, in its words.
        UnsupportedTypeError: an input is of a type that JSON cannot carry.
        PayloadTooLargeError: more than ``max_elements`` elements.
    """
    keys = document.members.keys
    if ROWS_KEY in keys and COLUMNS_KEY in keys:
        raise InvalidRequestError(
            f"JSON Value: {document.excerpt()} Not formatted correctly expecting only one of '{COLUMNS_KEY}' or "
            f"'{ROWS_KEY}' keys to exist "
        )
    if ROWS_KEY in keys:
        return Layout.ROWS, _decode_rows(document, specs, max_elements)
    if COLUMNS_KEY in keys:
        return Layout.COLUMNS, _decode_columns(document, specs, max_elements)
    raise InvalidRequestError(f"Missing '{COLUMNS_KEY}' or '{ROWS_KEY}' key")


def _decode_rows(document: ServingDocument, specs: Mapping[str, TensorSpec], max_elements: int) -> dict[str, Array]:
    value = document.members.element(ROWS_KEY)
    if not isinstance(value, JsonArray):
        raise InvalidRequestError(f"JSON Value: {document.excerpt()} Expecting '{ROWS_KEY}' to be an list/array")
    if not len(value):
        raise InvalidRequestError(f"JSON Value: {document.excerpt()} No values in '{ROWS_KEY}' array")
    first: Any = value[0]
    if isinstance(first, JsonMembers) and not is_binary(first):
        arrays = decode_rows(document, value, specs, max_elements)
    elif len(specs) == 1:
        arrays = _decode_values(document, ROWS_KEY, {next(iter(specs)): value}, specs, max_elements, by_name=False)
    else:
        raise InvalidRequestError(
            "instances is a plain list, but expecting list of objects as multiple input tensors required as per "
            "tensorinfo_map"
        )
    if arrays is None:
        raise explain_rows(document, value, specs)
    return arrays


def _decode_columns(document: ServingDocument, specs: Mapping[str, TensorSpec], max_elements: int) -> dict[str, Array]:
    value = document.members.element(COLUMNS_KEY)
    by_name = isinstance(value, JsonMembers) and not is_binary(value)
    if by_name:
        names = member_names(value, f"'{COLUMNS_KEY}'")
        for name in specs:
            if name not in names:
                raise InvalidRequestError(f"Missing named input: {name} in '{COLUMNS_KEY}' object.")
        values = {name: value[name] for name in names if name in specs}
        by_name = len(values) == len(names)
        arrays = _decode_values(document, COLUMNS_KEY, values, specs, max_elements, by_name=by_name, all_of_it=by_name)
    elif len(specs) == 1:
        values = {next(iter(specs)): value}
        arrays = _decode_values(document, COLUMNS_KEY, values, specs, max_elements, by_name=False)
    else:
        raise InvalidRequestError(
            "inputs is a plain value/list, but expecting an object as multiple input tensors required as per "
            "tensorinfo_map"
        )
    if arrays is None:
        raise explain_columns(document, values, specs)
    return {name: arrays[name] for name in specs}


def _decode_values(
    document: ServingDocument,
    key: str,
    values: Mapping[str, Any],
    specs: Mapping[str, TensorSpec],
    max_elements: int,
    *,
    by_name: bool,
    all_of_it: bool = True,
) -> dict[str, Array] | None:
    """Whole tensors as arrays, or None where one is not as it must be.

    ``all_of_it`` says whether ``values``, in the order of the document, are all that stands under ``key``.
    """
    if len(values) == 1:
        [(name, value)] = values.items()
        array = _decode_few_lists(document, specs[name], value, max_elements)
        if array is not None:
            return {name: array}
    arrays: dict[str, Array | None] = {}
    numbers: list[_Numbers] = []
    for name, value in values.items():
        dtype = specs[name].dtype
        limits = {"max_depth": document.members.max_depth, "max_elements": max_elements}
        shape, _ = probe_shape(any_shape(name, dtype), value, **limits)
        if dtype.is_string:
            all_of_it = False  # their structure is not compared
            arrays[name] = decode_nested_strings(name, [value], shape)
        else:
            numbers.append(_Numbers(name, value, shape))
    if not _are_proved(document.members, key, numbers, by_name=by_name, all_of_it=all_of_it):
        return None
    for entry in numbers:
        dtype = specs[entry.name].dtype
        if entry.shape:
            arrays[entry.name] = decode_lists(dtype, [entry.value], entry.shape, document.stand_ins)
        else:
            arrays[entry.name] = decode_scalars(dtype, [entry.value], (), document.stand_ins)
    return all_or_none(arrays)


def _decode_few_lists(document: ServingDocument, spec: TensorSpec, value: Any, max_elements: int) -> Array | None:
    """The only input of a request, if it is numbers in few lists: what most requests are. None where it is not."""
    members, dtype = document.members, spec.dtype
    if dtype.is_string or not isinstance(value, JsonArray):
        return None
    shape, _ = probe_shape(any_shape(spec.name, dtype), value, max_depth=members.max_depth, max_elements=max_elements)
    if members.has_few_lists(count_lists(shape)) and is_made_of_lists(value, shape):
        return decode_lists(dtype, [value], shape, document.stand_ins)
    return None


def _are_proved(members: JsonObject, key: str, numbers: Sequence[_Numbers], *, by_name: bool, all_of_it: bool) -> bool:
    """Whether every input has the shape that its first elements promise."""
    lists = [entry for entry in numbers if entry.shape]
    if not lists:
        return True
    if members.has_few_lists(sum(count_lists(entry.shape) for entry in lists)):
        # No more lists in the whole body than these shapes want: if each is where it belongs, no leaf is one.
        return all(is_made_of_lists(entry.value, entry.shape) for entry in lists)
    if any((prod(entry.shape) or prod(entry.shape[:-1])) > len(members.text) for entry in lists):
        return False
    if all_of_it and members.has_plain_rest(key):
        structures = [structure_of_shape(entry.shape) for entry in numbers]
        whole = members.expected_structure({key: structure_of_object(structures) if by_name else structures[0]})
        proved = whole == members.structure
    else:
        proved = all(structure_of(minified(entry.value)) == structure_of_shape(entry.shape) for entry in lists)
    return proved and all(holds_every_leaf(entry.value, entry.shape) for entry in lists)
