"""Inputs that lie in shared memory, and outputs that are wanted there."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from tensorhost.codecs.oip import InputTensor, OutputTensor, Parameters, RawElements, datatype_of, dtype_of, encode_raw
from tensorhost.codecs.oip.raw import checked_count
from tensorhost.core.dtypes import DType
from tensorhost.core.errors import PayloadTooLargeError
from tensorhost.core.tensors import Array
from tensorhost.frontends.oip import faults
from tensorhost.frontends.oip.shared_memory import SharedMemory

_REGION = "shared_memory_region"
_OFFSET = "shared_memory_offset"
_SIZE = "shared_memory_byte_size"
_LARGEST = 2**63 - 1


class SharedPart(NamedTuple):
    """A part of a registered region: its name, and ``byte_size`` bytes from ``offset`` on."""

    region: str
    offset: int
    byte_size: int


def read_part(parameters: Parameters, tensor: str) -> SharedPart | None:
    """Where in shared memory the elements of a tensor are or go; None where they do not.

    Raises InvalidRequestError: the parameters do not say it.
    """
    region = parameters.get(_REGION)
    if region is None:
        return None
    if not isinstance(region, str) or not region:
        raise faults.invalid_parameter(_REGION, f"the name of a region, for '{faults.shown(tensor)}'")
    offset, size = parameters.get(_OFFSET, 0), parameters.get(_SIZE)
    if not _is_size(offset):
        raise faults.invalid_parameter(_OFFSET, f"a number of bytes, for '{faults.shown(tensor)}'")
    if not _is_size(size):
        raise faults.invalid_parameter(_SIZE, f"a number of bytes, for '{faults.shown(tensor)}'")
    return SharedPart(region, int(offset), int(size or 0))


def read_inputs(
    shared: SharedMemory, model: str, inputs: Iterable[InputTensor], *, max_elements: int, max_text_bytes: int
) -> None:
    """Give the inputs that lie in shared memory their elements, which are copied.

    Args:
        shared: the regions.
        model: for messages.
        inputs: of one request, compared with the model already.
        max_elements: most that an input may have.
        max_text_bytes: most bytes of an input of texts, whose shape says nothing of their length.

    Raises:
        InvalidRequestError, InvalidInputShapeError: the part is not of the input's size, or lies outside its region.
        PayloadTooLargeError: more elements, or bytes of texts, than are allowed.
        TensorhostError: as ``SharedMemory.view``.
    """
    for each in inputs:
        if each.elements is not None:
            continue
        part = read_part(each.parameters, each.name)
        if part is None:
            continue
        dtype = dtype_of(each.datatype, each.name)
        # Before so much memory is taken; the length of texts is told by nothing but the part.
        count = checked_count(each.shape, each.name, max_elements=max_elements)
        if dtype.is_string:
            if part.byte_size > max_text_bytes:
                raise PayloadTooLargeError(
                    f"Input '{each.name}' has {part.byte_size} bytes of texts in shared memory; at most "
                    f"{max_text_bytes} are allowed (max_body_bytes).",
                    details={"input": each.name, "expected": max_text_bytes, "actual": part.byte_size},
                )
        elif part.byte_size != (expected := count * dtype.numpy.itemsize):
            raise faults.wrong_size(each.name, model, expected, part.byte_size)
        each.elements = RawElements(shared.view(*part))


def write_output(shared: SharedMemory, name: str, array: Array, part: SharedPart) -> OutputTensor:
    """Put an output into shared memory; what is answered of it is its datatype and shape.

    Raises:
        InvalidRequestError: the part is too small for it, or lies outside its region.
        TensorhostError: as ``SharedMemory.write``.
    """
    data = memoryview(encode_raw(array))
    if data.nbytes > part.byte_size:
        raise faults.no_room(name, part.region, data.nbytes, part.byte_size)
    shared.write(part.region, part.offset, data)
    return OutputTensor(name, None, datatype_of(DType.of(array)), array.shape)


def _is_size(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _LARGEST
