"""Python values to the arrays a signature takes, for callers inside the process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tensorhost.core.dtypes import DType
from tensorhost.core.errors import InvalidInputTypeError, MissingInputError, RaggedInputError
from tensorhost.core.signatures import Signature
from tensorhost.core.tensors import Array, TensorSpec


def as_tensors(inputs: Any, specs: Mapping[str, TensorSpec]) -> dict[str, Array]:
    """Arrays by name from arrays, nested lists or scalars; bare for a single input, a mapping by name for several.

    Values are converted to the spec's dtype where nothing but floating-point precision is lost.

    Raises:
        MissingInputError, UnknownInputError: names that are not exactly the inputs.
        RaggedInputError, InvalidInputTypeError, InvalidInputShapeError: values that do not fit their spec.
    """
    if not isinstance(inputs, Mapping):
        if len(specs) != 1:
            names = ", ".join(f"'{name}'" for name in specs)
            raise MissingInputError(f"Inputs must be given by name: {names}.", details={"expected": list(specs)})
        inputs = {next(iter(specs)): inputs}
    Signature("", specs, {}).check_names(inputs)
    return {name: _convert(spec, inputs[name]) for name, spec in specs.items()}


def _convert(spec: TensorSpec, value: Any) -> Array:
    if spec.dtype is DType.STRING:
        array = _strings(spec, value)
    else:
        array = _numbers(spec, value)
        if array.dtype == object:
            # Encoded images for a numeric input: preprocessing decodes them and checks the shape then.
            return array
    if not spec.admits(array.shape):
        raise spec.shape_error(array.shape)
    return array


def _numbers(spec: TensorSpec, value: Any) -> Array:
    try:
        array = np.asarray(value)
    except ValueError:
        raise _ragged_error(spec) from None
    wanted = spec.dtype.numpy
    if array.dtype == wanted:
        return array
    if array.dtype.kind == "S":
        # From the values themselves: numpy's fixed-length bytes drop zeros at the end of an encoded image.
        return np.array(value, dtype=object)
    if array.size == 0:
        return array.astype(wanted)
    if array.dtype == object:
        if all(isinstance(item, bytes) for item in array.flat):
            return array
        raise _type_error(spec, "values that are not all numbers of at most 64 bits")
    try:
        held = DType.of(array)
    except KeyError:
        raise _type_error(spec, str(array.dtype)) from None
    fits = held is not DType.STRING and (held is DType.BOOL) == (spec.dtype is DType.BOOL)
    if not fits or (held.is_complex and not spec.dtype.is_complex):
        raise _type_error(spec, held.value)
    with np.errstate(over="ignore", invalid="ignore"):
        converted = array.astype(wanted)
        lost = _changed(array, converted) if spec.dtype.is_integer else _overflowed(array, converted)
    if lost:
        raise _type_error(spec, f"{held.value} values that {spec.dtype} cannot hold")
    return converted


def _changed(array: Array, converted: Array) -> bool:
    """Whether integers differ from what they were made of. Signs too, since -1 and 2^64-1 are one bit pattern."""
    same = converted.astype(array.dtype) == array
    return not bool(np.all(same & ((converted.astype(np.float64) < 0) == (array.astype(np.float64) < 0))))


def _overflowed(array: Array, converted: Array) -> bool:
    wide = np.complex128 if converted.dtype.kind == "c" else np.float64
    return bool(np.any(np.isfinite(array.astype(wide)) & ~np.isfinite(converted.astype(wide))))


def _strings(spec: TensorSpec, value: Any) -> Array:
    # As objects: numpy's fixed-length strings drop zeros at the end.
    array = value if isinstance(value, np.ndarray) else _objects(spec, value)
    if array.dtype.kind not in "OSU":
        raise _type_error(spec, str(array.dtype))
    encoded = np.empty(array.shape, dtype=object)
    flat = encoded.reshape(-1)
    for index, item in enumerate(array.reshape(-1).tolist()):
        flat[index] = _bytes(spec, item)
    return encoded


def _objects(spec: TensorSpec, value: Any) -> Array:
    try:
        return np.array(value, dtype=object)
    except ValueError:
        raise _ragged_error(spec) from None


def _bytes(spec: TensorSpec, item: Any) -> bytes:
    if isinstance(item, bytes):
        return item
    if isinstance(item, list | tuple):
        raise _ragged_error(spec)
    if not isinstance(item, str):
        raise _type_error(spec, "values that are not all text or bytes")
    try:
        return item.encode()
    except UnicodeEncodeError:
        raise _type_error(spec, "text that UTF-8 cannot hold") from None


def _ragged_error(spec: TensorSpec) -> RaggedInputError:
    return RaggedInputError(f"Input '{spec.name}' is ragged: its lists differ in length.", details={"input": spec.name})


def _type_error(spec: TensorSpec, actual: str) -> InvalidInputTypeError:
    return InvalidInputTypeError(
        f"Input '{spec.name}' must be {spec.dtype}, not {actual}.",
        details={"input": spec.name, "expected": spec.dtype.value, "actual": actual},
    )
