"""The inputs of a JSON request to named arrays, checked against the specs of a signature.

One input may come bare (nested lists, a scalar, or ``{"b64": …}``) or by name; several come as an object by
name. Every error names the input, what was expected and what came.

What must stay true: nothing is allocated for a tensor before its shape, its number of elements and the structure
of its lists were checked, and no ragged list ever becomes an array.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

from simdjson import Array as JsonArray
from simdjson import Object as JsonMembers

from tensorhost.codecs.json_document import JsonObject, kind_of, member_names, minified
from tensorhost.codecs.json_numbers import decode_numbers
from tensorhost.codecs.json_shapes import (
    count_lists,
    fill_empty,
    find_ragged,
    holds_every_leaf,
    is_made_of_lists,
    probe_shape,
    ragged_error,
)
from tensorhost.codecs.json_strings import B64_KEY, decode_images, decode_strings, is_b64
from tensorhost.codecs.json_structure import structure_of, structure_of_object, structure_of_shape
from tensorhost.core.errors import InvalidRequestError, MissingInputError
from tensorhost.core.signatures import Signature
from tensorhost.core.tensors import Array, TensorSpec


@dataclass(slots=True)
class _Pending:
    """An input whose shape is known. ``array`` is None for numbers, which are decoded last."""

    spec: TensorSpec
    value: Any
    shape: tuple[int, ...]
    structure: bytes = b""
    array: Array | None = None


def decode_inputs(
    request: JsonObject, specs: Mapping[str, TensorSpec], *, max_elements: int, key: str = "inputs"
) -> dict[str, Array]:
    """The arrays under ``key`` of ``request``, by name, in the order of ``specs``.

    Numbers become arrays of the spec's dtype; strings object arrays of bytes. ``{"b64": …}`` given for a numeric
    input is an encoded image: those become an object array of bytes of shape [N], or [] for a bare one, which the
    spec's shape was not compared with. Lists without elements take the dimensions they cannot show from the spec,
    0 where that does not know them.

    Args:
        request: the parsed body, or one item of it.
        specs: the inputs expected, by name. A shape of None admits any rank.
        max_elements: most elements of one input.
        key: the member that holds the inputs.

    Raises:
        InvalidRequestError: ``key`` is missing, an input is named twice, or lists are nested too deeply.
        MissingInputError, UnknownInputError: the names are not those of ``specs``.
        RaggedInputError: lists differ in length or depth.
        InvalidInputShapeError: the rank or a dimension is not the spec's.
        InvalidInputTypeError: a value does not fit the spec's dtype.
        PayloadTooLargeError: more than ``max_elements`` elements.
    """
    try:
        value = request.element(key)
    except KeyError:
        raise InvalidRequestError(f"{request.where} has no '{key}'.", details={"field": key}) from None
    by_name, values = _by_name(value, specs, key)
    max_depth = request.max_depth - 1 - by_name
    if len(values) == 1:
        [(name, value)] = values.items()
        array = _decode_few_lists(request, specs[name], value, max_depth, max_elements)
        if array is not None:
            return {name: array}
    pending = {name: _probe(specs[name], values[name], max_depth, max_elements) for name in values}
    _check_structure(request, key, pending, by_name=by_name)
    return {name: _finish(pending[name]) for name in specs}


def _by_name(value: Any, specs: Mapping[str, TensorSpec], key: str) -> tuple[bool, dict[str, Any]]:
    """Whether the inputs come as an object by name, and their values in the order of the document."""
    one = next(iter(specs)) if len(specs) == 1 else None
    if one is not None and isinstance(value, JsonArray):
        return False, {one: value}  # what nearly every request has
    if isinstance(value, JsonMembers) and (one is None or one == B64_KEY or not is_b64(value)):
        if len(value) == 1 and one is not None and tuple(value) == (one,) and "\0" not in one:
            return True, {one: value[one]}
        names = member_names(value, f"'{key}'")
        if set(names) != specs.keys():
            Signature("", specs, {}).check_names(names)
        return True, {name: value[name] for name in names}
    if one is None:
        names = tuple(specs)
        expected = ", ".join(f"'{name}'" for name in names) or "none"
        raise MissingInputError(
            f"'{key}' must be an object by name, not {kind_of(value)}; the inputs are {expected}.",
            details={"expected": list(names)},
        )
    return False, {one: value}


def _decode_few_lists(
    request: JsonObject, spec: TensorSpec, value: Any, max_depth: int, max_elements: int
) -> Array | None:
    """The only input of a request as an array, if it is numbers in few lists: what most requests are.

    None where that is not so, or not so simply proved; errors are those of ``decode_inputs``.
    """
    shape, leaf = probe_shape(spec, value, max_depth=max_depth, max_elements=max_elements)
    if not shape or spec.dtype.is_string or isinstance(leaf, JsonMembers):
        return None
    if not request.has_few_lists(count_lists(shape)) or not is_made_of_lists(value, shape):
        return None
    if not shape[-1]:
        shape = fill_empty(shape, spec)
    if not spec.admits(shape):
        raise spec.shape_error(shape)
    return decode_numbers(spec, value, shape)


def _probe(spec: TensorSpec, value: Any, max_depth: int, max_elements: int) -> _Pending:
    shape, leaf = probe_shape(spec, value, max_depth=max_depth, max_elements=max_elements)
    pending = _Pending(spec, value, shape)
    if spec.dtype.is_string:
        pending.array, pending.structure = decode_strings(spec, value, shape)
    elif is_b64(leaf) and not spec.dtype.is_complex:
        pending.array, pending.structure = decode_images(spec, value, shape)
    return pending


def _check_structure(request: JsonObject, key: str, pending: Mapping[str, _Pending], *, by_name: bool) -> None:
    """Raise RaggedInputError unless every list of numbers has the shape that its first elements promise."""
    lists = [entry for entry in pending.values() if entry.array is None and entry.shape]
    # One input alone was tried before.
    if not lists or (len(pending) > 1 and _is_counted_proof(request, pending)):
        return
    actual = request.structure
    for entry in lists:
        # A shape with more elements than the document has commas and brackets is not spelled out to compare it.
        if (prod(entry.shape) or prod(entry.shape[:-1])) > len(actual):
            raise ragged_error(entry.spec.name, entry.value, entry.shape)
        entry.structure = structure_of_shape(entry.shape)
    structures = [entry.structure for entry in pending.values()]
    inputs = structure_of_object(structures) if by_name else structures[0]
    differs = request.expected_structure({key: inputs}) != actual
    for entry in lists:
        if not _is_proved(entry, differs=differs):
            fault = find_ragged(entry.spec.name, entry.value, entry.shape)
            if fault is not None:
                raise fault
            # Objects among the numbers: decoding names the first.


def _is_counted_proof(request: JsonObject, pending: Mapping[str, _Pending]) -> bool:
    """Whether the inputs' shapes are proved by the number of lists in the whole request.

    If a list is wherever the shapes want one, and the request has no more lists than that, then no list is
    anywhere else: no leaf is one. Few lists only, and none in other members; False proves nothing.
    """
    if not request.has_few_lists(sum(count_lists(entry.shape) for entry in pending.values())):
        return False
    return all(is_made_of_lists(entry.value, entry.shape) for entry in pending.values())


def _is_proved(entry: _Pending, *, differs: bool) -> bool:
    """Whether the lists of one input have its shape. ``differs``: the structure of the whole request does not fit."""
    if differs and structure_of(minified(entry.value)) != entry.structure:
        return False
    return holds_every_leaf(entry.value, entry.shape)


def _finish(entry: _Pending) -> Array:
    spec = entry.spec
    if entry.array is not None and not spec.dtype.is_string:
        return entry.array
    shape = fill_empty(entry.shape, spec)
    if entry.array is None and not isinstance(entry.value, JsonArray):
        entry.array = decode_numbers(spec, entry.value, shape)
    if not spec.admits(shape):
        raise spec.shape_error(shape)
    if entry.array is None:
        return decode_numbers(spec, entry.value, shape)
    return entry.array.reshape(shape)
