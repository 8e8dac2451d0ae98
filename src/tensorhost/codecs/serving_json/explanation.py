"""What is wrong with inputs that could not be decoded, in TensorFlow Serving's words.

The lists are walked as TensorFlow Serving walks them, value by value, up to the first that does not fit. What must
stay true: this is only asked about documents that were found wanting, and it ends after ``MAX_SEARCH`` values.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

from simdjson import Array as JsonArray
from simdjson import Object as JsonMembers

from tensorhost.codecs.json_document import depth_error
from tensorhost.codecs.json_shapes import MAX_SEARCH
from tensorhost.codecs.serving_json.document import ServingDocument
from tensorhost.codecs.serving_json.numbers import INTEGER_RANGES
from tensorhost.codecs.serving_json.strings import decode_string, is_binary
from tensorhost.core.dtypes import DType
from tensorhost.core.errors import InvalidInputTypeError, InvalidRequestError, RaggedInputError, UnsupportedTypeError
from tensorhost.core.tensors import TensorSpec


def explain_columns(
    document: ServingDocument, values: Mapping[str, Any], specs: Mapping[str, TensorSpec]
) -> InvalidRequestError | InvalidInputTypeError | RaggedInputError:
    """The error for whole tensors of which one cannot be decoded."""
    walk = _Walk(document)
    try:
        for name in specs:
            walk.check(values[name], specs[name].dtype)
    except _FAULTS as fault:
        return fault
    return _unnamed()


def explain_rows(
    document: ServingDocument, rows: Any, specs: Mapping[str, TensorSpec]
) -> InvalidRequestError | InvalidInputTypeError | RaggedInputError:
    """The error for rows that cannot be decoded, plain ones of one input or objects by name."""
    walk = _RowWalk(document, specs)
    by_name = _is_object(rows[0])
    try:
        for index, row in enumerate(rows):
            if by_name:
                walk.check_object(index, row)
            else:
                walk.check_plain(index, row)
    except _FAULTS as fault:
        return fault
    return _unnamed()


_FAULTS = (InvalidRequestError, InvalidInputTypeError, RaggedInputError)


class _Walk:
    """Looks at values, of which it may see so many."""

    def __init__(self, document: ServingDocument) -> None:
        self._document = document
        self._left = MAX_SEARCH

    def check(self, value: Any, dtype: DType) -> tuple[int, ...]:
        """The shape of ``value``; raises what is wrong with it."""
        shape = self._shape_of(value)
        self._check_level(value, 0, shape, dtype)
        return shape

    def _excerpt(self, value: Any) -> str:
        return "null" if value is None else self._document.excerpt(value)

    def _shape_of(self, value: Any) -> tuple[int, ...]:
        shape: list[int] = []
        while isinstance(value, JsonArray):
            if len(shape) == self._document.members.max_depth:
                raise depth_error("The input", len(shape))
            shape.append(len(value))
            value = value[0] if shape[-1] else None
        return tuple(shape)

    def _check_level(self, value: Any, level: int, shape: tuple[int, ...], dtype: DType) -> None:
        if not isinstance(value, JsonArray):
            if level != len(shape):
                raise RaggedInputError(
                    f"JSON Value: {self._excerpt(value)} found at incorrect level: {level + 1} in the JSON "
                    f"DOM. Expected at level: {len(shape)}"
                )
            self._check_leaf(value, dtype)
            return
        if level >= len(shape):
            raise RaggedInputError(f"Encountered list at unexpected level: {level} expected < {len(shape)}")
        if len(value) != shape[level]:
            raise RaggedInputError(
                f"Encountered list at unexpected size: {len(value)} at level: {level} expected size: {shape[level]}"
            )
        for element in value:
            self._check_level(element, level + 1, shape, dtype)

    def _check_leaf(self, value: Any, dtype: DType) -> None:
        self._left -= 1
        if self._left < 0:
            raise _unnamed()
        if dtype.is_complex:
            raise UnsupportedTypeError(
                f"Conversion of JSON Value: {self._excerpt(value)} to type: {dtype.tensorflow_name}"
            )
        if dtype.is_string and isinstance(value, JsonMembers):
            if not is_binary(value):
                raise InvalidRequestError(f"JSON Value: {self._excerpt(value)} not formatted correctly for base64 data")
            if decode_string(value) is None:
                raise InvalidRequestError("Unable to base64 decode")
        elif not _fits(value, dtype):
            raise InvalidInputTypeError(
                f"JSON Value: {self._excerpt(value)} Type: {_type_name(value)} is not of expected type: "
                f"{dtype.tensorflow_name}"
            )


class _RowWalk(_Walk):
    """Looks at rows, which must agree with the first one."""

    def __init__(self, document: ServingDocument, specs: Mapping[str, TensorSpec]) -> None:
        super().__init__(document)
        self._specs = specs
        self._shapes: dict[str, tuple[int, ...]] = {}

    def check_plain(self, index: int, row: Any) -> None:
        """Raises what is wrong with a row of the only input."""
        if _is_object(row):
            raise InvalidRequestError(f"Expecting value/list but got object at item {index} of input list")
        self._check_item(next(iter(self._specs)), row, f"Failed to process element: {index} of 'instances' list.")

    def check_object(self, index: int, row: Any) -> None:
        """Raises what is wrong with a row of several inputs."""
        if not _is_object(row):
            raise InvalidRequestError(f"Expecting object but got list at item {index} of input list")
        names: set[str] = set()
        where = f"Failed to process element: {index}"
        for name in row:
            value = row[name]
            at = f"{where} key: {name} of 'instances' list."
            if name not in self._specs:
                fault = f"JSON object: does not have named input: {name}"
                raise InvalidRequestError(f"{at} Error: INVALID_ARGUMENT: {fault}")
            if name in names:
                raise InvalidRequestError(f"{at} Error: INVALID_ARGUMENT: JSON object: has it twice")
            names.add(name)
            self._check_item(name, value, at)
        if names != self._specs.keys():
            raise InvalidRequestError(
                f"{where} of 'instances' list. JSON object: {self._document.excerpt(row)} keys must be equal to: "
                f"{','.join(sorted(self._specs))}"
            )

    def _check_item(self, name: str, value: Any, at: str) -> None:
        try:
            shape = self.check(value, self._specs[name].dtype)
        except _FAULTS as fault:
            status = "UNIMPLEMENTED" if isinstance(fault, UnsupportedTypeError) else "INVALID_ARGUMENT"
            raise InvalidRequestError(f"{at} Error: {status}: {fault.message}") from None
        first = self._shapes.setdefault(name, shape)
        if prod(first) != prod(shape):
            fault_text = f"Expecting tensor size: {prod(first)} but got: {prod(shape)}"
        elif first != shape:
            fault_text = f"Expecting shape {_shape_text(first)} but got: {_shape_text(shape)}"
        else:
            return
        raise RaggedInputError(f"{at} Error: INVALID_ARGUMENT: {fault_text}")


def _unnamed() -> InvalidRequestError:
    return InvalidRequestError("JSON Value: an input holds a value or a list that does not fit its signature")


def _is_object(value: Any) -> bool:
    return isinstance(value, JsonMembers) and not is_binary(value)


def _fits(value: Any, dtype: DType) -> bool:
    if dtype.is_string:
        return isinstance(value, str)
    if dtype is DType.BOOL:
        return isinstance(value, bool)
    if isinstance(value, bool):
        return False
    if dtype.is_floating:
        return isinstance(value, int | float)
    low, high = INTEGER_RANGES[dtype]
    return isinstance(value, int) and low <= value <= high


def _type_name(value: Any) -> str:
    """The type of a JSON value, as RapidJSON calls it."""
    if value is None:
        return "Null"
    if isinstance(value, bool):
        return "True" if value else "False"
    if isinstance(value, str):
        return "String"
    if isinstance(value, int | float):
        return "Number"
    return "Object" if isinstance(value, JsonMembers) else "Array"


def _shape_text(shape: tuple[int, ...]) -> str:
    return "[" + ",".join(map(str, shape)) + "]"
