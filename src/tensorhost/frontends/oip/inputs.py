"""The inputs of a request beside those of its model: names, datatypes, shapes, rows. Nothing is decoded here."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence

from tensorhost.codecs.oip import InputTensor, RawElements, datatype_of, dtype_of
from tensorhost.core.tensors import TensorSpec
from tensorhost.frontends.oip import faults
from tensorhost.frontends.oip.shapes import is_admitted, shown_shape
from tensorhost.inference import Call
from tensorhost.models.servable import Servable


def check_inputs(servable: Servable, call: Call, given: Sequence[InputTensor]) -> None:
    """Return where the inputs are the model's, each once, of its datatype and of a shape it takes.

    Args:
        servable, call: what is called, and how.
        given: all that the request has.

    Raises:
        UnknownInputError, MissingInputError: the names are not those of the model's inputs.
        InvalidRequestError: an input is given twice.
        InvalidInputTypeError: an input has another datatype than the model's, or one there is not.
        InvalidInputShapeError: its shape, or its number of rows, is not what the model takes.
    """
    specs, model = call.preprocessing.wire_specs, servable.id.name
    takes_images = call.preprocessing.options.decode is not None
    most = max_batch_size(servable, call)
    seen: set[str] = set()
    for each in given:
        spec = specs.get(each.name)
        if spec is None:
            raise faults.unexpected_input(each.name, model)
        if each.name in seen:
            raise faults.duplicate_input(each.name)
        seen.add(each.name)
        _check_input(each, spec, model, takes_images=takes_images, by_row=most > 0)
        if most and spec.is_batchable and each.shape and each.shape[0] > most:
            raise faults.batch_too_large(each.name, model, each.shape[0], most)
    if len(seen) != len(specs):
        raise faults.missing_inputs(list(specs), [each.name for each in given], model)


def max_batch_size(servable: Servable, call: Call) -> int:
    """Most rows of a request; 0 for a model whose requests share no calls, whose shapes have no dimension for rows."""
    options = servable.queue(call.signature.name).options
    return (options.max_request_rows or options.max_batch_rows) if options.batched else 0


def raw_input(servable: Servable, call: Call, body: memoryview) -> InputTensor:
    """What a body is that is nothing but the data of its model's only input: one row of it.

    A string is the whole body, without the length that otherwise stands before each.

    Raises:
        InvalidRequestError: the model has more than one input.
        InvalidInputShapeError: the input cannot be of that size.
    """
    specs, model = call.preprocessing.wire_specs, servable.id.name
    if len(specs) != 1:
        raise faults.several_raw_inputs(model, len(specs))
    [(name, spec)] = specs.items()
    datatype, shape = datatype_of(spec.dtype), _shape_of_bytes(spec, model, len(body))
    data = struct.pack("<I", len(body)) + body if spec.dtype.is_string else body
    return InputTensor(name, datatype, shape, elements=RawElements(data))


def _check_input(given: InputTensor, spec: TensorSpec, model: str, *, takes_images: bool, by_row: bool) -> None:
    dtype = dtype_of(given.datatype, faults.shown(given.name))
    if dtype is not spec.dtype:
        # The model's owner may have it take encoded images, one string for each row.
        if not (dtype.is_string and takes_images):
            raise faults.wrong_datatype(given.name, given.datatype, model, datatype_of(spec.dtype))
    elif not is_admitted(spec, given.shape, by_row=by_row):
        raise faults.wrong_shape(given.name, model, shown_shape(spec.shape, by_row=by_row), given.shape)


def _shape_of_bytes(spec: TensorSpec, model: str, size: int) -> tuple[int, ...]:
    """The shape of one row of ``size`` bytes; one dimension besides that of rows may be free."""
    if spec.shape is None:
        raise faults.wrong_shape(spec.name, model, None, [size])
    row = [1 if position == 0 and known is None else known for position, known in enumerate(spec.shape)]
    fixed = math.prod(known for known in row if known is not None)
    if spec.dtype.is_string:
        # One text, whatever dimensions it has.
        if fixed != 1:
            raise faults.wrong_shape(spec.name, model, spec.shape, [1])
        return tuple(1 if known is None else known for known in row)
    unit = fixed * spec.dtype.numpy.itemsize
    free = row.count(None)
    if (not free and size != unit) or (free and (not unit or size % unit)) or free > 1:
        raise faults.wrong_size(spec.name, model, unit, size)
    return tuple(size // unit if known is None else known for known in row)
