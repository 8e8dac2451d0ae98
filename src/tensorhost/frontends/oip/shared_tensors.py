"""Inputs of a request that lie in shared memory, and outputs that are wanted there.

What must stay true: the model gets a copy that no client can reach; memory for copies is counted before it is taken,
and until its request has ended, as a body's is, and no thread fills it any more; and nothing is written before all that
is to be written is known to fit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from types import TracebackType
from typing import NamedTuple, Self

from tensorhost.codecs.oip import (
    SHARED_MEMORY_REGION,
    InputTensor,
    OutputTensor,
    Parameters,
    RawElements,
    datatype_of,
    dtype_of,
    encode_raw,
)
from tensorhost.codecs.oip.raw import checked_count
from tensorhost.core.dtypes import DType
from tensorhost.core.errors import OverloadedError, PayloadTooLargeError
from tensorhost.core.tensors import Array, aligned_bytes
from tensorhost.frontends.oip import faults
from tensorhost.frontends.oip.copies import OFF_LOOP_BYTES, Copier, Copy
from tensorhost.frontends.oip.shared_memory import SharedMemory
from tensorhost.frontends.unsent_memory import Claim
from tensorhost.inference.regions import Part

_OFFSET = "shared_memory_offset"
_SIZE = "shared_memory_byte_size"
_LARGEST = 2**63 - 1
_QUICK_TEXTS = 2**12
"""More are put one behind the other on a thread."""


class SharedPart(NamedTuple):
    """A part of a registered region: its name, and ``byte_size`` bytes from ``offset`` on."""

    region: str
    offset: int
    byte_size: int


def read_part(parameters: Parameters, tensor: str) -> SharedPart | None:
    """Where in shared memory the elements of a tensor are or go; None where they do not.

    Raises InvalidRequestError: the parameters do not say it.
    """
    region = parameters.get(SHARED_MEMORY_REGION)
    if region is None:
        return None
    if not isinstance(region, str) or not region:
        raise faults.invalid_parameter(SHARED_MEMORY_REGION, f"the name of a region, for '{faults.shown(tensor)}'")
    offset, size = parameters.get(_OFFSET, 0), parameters.get(_SIZE)
    if not _is_size(offset):
        raise faults.invalid_parameter(_OFFSET, f"a number of bytes, for '{faults.shown(tensor)}'")
    if not _is_size(size):
        raise faults.invalid_parameter(_SIZE, f"a number of bytes, for '{faults.shown(tensor)}'")
    return SharedPart(region, int(offset), int(size or 0))


class SharedTensors:
    """The tensors of one request in shared memory. Use it in a ``with`` block.

    The regions are held until the end of the block, and longer where a thread still copies then.

    Args:
        memory: lends parts of regions.
        model: for messages.
        wanted: where outputs are wanted, by name.
        deadline: of the request, on the event loop's clock.
    """

    __slots__ = ("_claim", "_copier", "_deadline", "_held", "_memory", "_model", "_outputs", "_wanted")

    def __init__(self, memory: SharedMemory, model: str, wanted: Mapping[str, SharedPart], deadline: float) -> None:
        self._memory = memory
        self._model = model
        self._wanted = wanted
        self._deadline = deadline
        self._claim = Claim(memory.copied)
        self._copier = Copier()
        self._held: list[Part] = []
        self._outputs: dict[str, Part] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._copier.close(self._release)

    async def read_inputs(self, inputs: Iterable[InputTensor], *, max_elements: int) -> None:
        """Give the inputs that lie in shared memory their elements, once there are the parts for all outputs, too.

        Args:
            inputs: of the request, compared with the model already; those without elements lie there.
            max_elements: most that an input may have.

        Raises:
            InvalidRequestError, InvalidInputShapeError: a part is not of the input's size, or lies outside its region.
            NotFoundError, UnsupportedError: there is no such region.
            PayloadTooLargeError: more elements, or bytes of texts, than are allowed.
            OverloadedError: requests under way have copied too much.
            DeadlineExceededError: the deadline passed.
        """
        self._outputs = {name: self._hold(where) for name, where in self._wanted.items()}
        shared: list[tuple[InputTensor, Part]] = []
        for each in inputs:
            where = read_part(each.parameters, each.name) if each.elements is None else None
            if where is not None:
                self._check_size(each, where.byte_size, max_elements)
                shared.append((each, self._hold(where)))
        size = sum(part.byte_size for _, part in shared)
        if size and not self._claim.take(size):
            raise OverloadedError(
                "The server holds as much data from shared memory as it takes (max_buffered_body_bytes)."
            )
        copied = [aligned_bytes(part.byte_size) for _, part in shared]
        await self._copier.run(
            [Copy(part.read, data) for (_, part), data in zip(shared, copied, strict=True)], self._deadline
        )
        for (tensor, _), data in zip(shared, copied, strict=True):
            tensor.elements = RawElements(data)

    async def write_outputs(self, outputs: Sequence[OutputTensor]) -> list[OutputTensor]:
        """All outputs of the request; those that are wanted in shared memory are there now, and only described.

        Raises:
            InvalidRequestError: an output does not fit into its part, or two would lie over each other; nothing has
                been written then. Or a region has become shorter.
            DeadlineExceededError: the deadline passed.
            OutOfMemoryError: the system has no memory left for a region.
        """
        arrays = {each.name: each.array for each in outputs if each.array is not None and each.name in self._outputs}
        if any(map(_is_slow, arrays.values())):
            data = await asyncio.to_thread(_encode_all, arrays)
        else:
            data = _encode_all(arrays)
        for name, part in self._outputs.items():
            if len(data[name]) > part.byte_size:
                raise faults.no_room(name, part.region, len(data[name]), part.byte_size)
        self._check_apart(data)
        await self._copier.run([Copy(part.write, data[name]) for name, part in self._outputs.items()], self._deadline)
        return [_described(each.name, arrays[each.name]) if each.name in arrays else each for each in outputs]

    def _check_size(self, tensor: InputTensor, byte_size: int, max_elements: int) -> None:
        """Before so much memory is taken; the length of texts is told by nothing but the part."""
        dtype, most = dtype_of(tensor.datatype, tensor.name), self._memory.max_text_bytes
        count = checked_count(tensor.shape, tensor.name, max_elements=max_elements)
        if dtype.is_string:
            if byte_size > most:
                raise PayloadTooLargeError(
                    f"Input '{tensor.name}' has {byte_size} bytes of texts in shared memory; at most {most} are "
                    "allowed (max_body_bytes).",
                    details={"input": tensor.name, "expected": most, "actual": byte_size},
                )
        elif byte_size != (expected := count * dtype.numpy.itemsize):
            raise faults.wrong_size(tensor.name, self._model, expected, byte_size)

    def _check_apart(self, data: Mapping[str, memoryview]) -> None:
        """Raise where two outputs would be written to the same bytes, by whatever names of regions."""
        places = sorted(
            (part.file, part.begin, part.begin + len(data[name]), name)
            for name, part in self._outputs.items()
            if data[name]
        )
        for (file, _, end, name), (next_file, begin, _, next_name) in pairwise(places):
            if file == next_file and begin < end:
                raise faults.overlapping_outputs(name, next_name)

    def _hold(self, where: SharedPart) -> Part:
        part = self._memory.hold(*where)
        self._held.append(part)
        return part

    def _release(self) -> None:
        self._claim.release()
        for part in self._held:
            part.release()


def _is_size(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _LARGEST


def _is_slow(array: Array) -> bool:
    """Whether to make an array's bytes takes long: those of numbers that lie in order are there already."""
    if array.dtype.hasobject or array.dtype.kind == "U":
        return array.size > _QUICK_TEXTS
    return array.nbytes > OFF_LOOP_BYTES and not array.flags.c_contiguous


def _encode_all(arrays: Mapping[str, Array]) -> dict[str, memoryview]:
    return {name: memoryview(encode_raw(array)) for name, array in arrays.items()}


def _described(name: str, array: Array) -> OutputTensor:
    """What is answered of an output that is elsewhere."""
    return OutputTensor(name, None, datatype_of(DType.of(array)), array.shape)
