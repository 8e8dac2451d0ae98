"""A request for inference as both wires bring it: what is asked, and where the elements of the inputs still lie.

``read_http_request`` and ``read_grpc_request`` make one; names, datatypes and shapes are as the client wrote them, for
the front end to compare with the model before ``InputTensor.decode`` is called.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from tensorhost.codecs.oip.datatypes import dtype_of
from tensorhost.codecs.oip.raw import decode_raw
from tensorhost.codecs.tensor_forms import Octets
from tensorhost.core.dtypes import DType
from tensorhost.core.errors import InvalidRequestError
from tensorhost.core.tensors import Array

Parameter: TypeAlias = bool | int | float | str
"""The value of a parameter."""

Parameters: TypeAlias = Mapping[str, Parameter]
"""Parameters by name."""

SHARED_MEMORY_REGION = "shared_memory_region"
"""The parameter of a tensor whose elements lie in shared memory: the name of the region."""

_MOST_ITEMS = 1000
_LONGEST_NAME = 1000
_LONGEST_SHOWN = 32


def check_name(name: str) -> str:
    """``name``, of an input or output as a client wrote it. Errors repeat it: InvalidRequestError if it is too long."""
    if len(name) > _LONGEST_NAME:
        raise InvalidRequestError(
            f"The name '{name[:_LONGEST_SHOWN]}…' of a tensor has {len(name)} characters; at most {_LONGEST_NAME} are "
            "allowed."
        )
    return name


def check_items(what: str, count: int) -> None:
    """Raise InvalidRequestError where a request has too many of ``what``: ``inputs`` or ``outputs``."""
    if count > _MOST_ITEMS:
        raise InvalidRequestError(
            f"The request has {count} {what}; at most {_MOST_ITEMS} are allowed.",
            details={"field": what, "expected": _MOST_ITEMS, "actual": count},
        )


def check_one_source(name: str, found: Sequence[str], possible: Sequence[str]) -> None:
    """Raise InvalidRequestError unless an input has its elements in one place; places are as the wire calls them."""
    if len(found) == 1:
        return
    *first, last = (f"'{each}'" for each in possible)
    among = "has " + " and ".join(f"'{each}'" for each in found) if found else "has none"
    raise InvalidRequestError(
        f"Input '{name}' must have one of {', '.join(first)} and {last}, but {among}.",
        details={"input": name, "actual": list(found)},
    )


class Elements(Protocol):
    """The elements of one input, in the form in which they came."""

    def decode(self, dtype: DType, shape: Sequence[int], name: str, *, max_elements: int) -> Array:
        """The array of this dtype and shape; raises TensorhostError, which names the input, where they make none."""


@dataclass(slots=True)
class RawElements:
    """Elements as raw bytes: binary tensor data, ``raw_input_contents``, or what lies in shared memory."""

    data: Octets

    def decode(self, dtype: DType, shape: Sequence[int], name: str, *, max_elements: int) -> Array:
        """See ``decode_raw``."""
        return decode_raw(dtype, shape, self.data, name, max_elements=max_elements)


@dataclass(slots=True)
class InputTensor:
    """One input of a request.

    Attributes:
        name, datatype, shape: as the client wrote them.
        parameters: ``shared_memory_region`` and its like; ``binary_data_size`` has been used up but is still there.
        elements: None where they lie elsewhere, in shared memory: whoever knows it puts ``RawElements`` here.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    parameters: Parameters = field(default_factory=dict)
    elements: Elements | None = None

    def decode(self, *, max_elements: int) -> Array:
        """The array: not to be written to, perhaps not aligned; strings as objects of bytes.

        Raises:
            InvalidRequestError, InvalidInputTypeError, InvalidInputShapeError, RaggedInputError: the datatype is none,
                or the elements do not make an array of it and of the shape; the message names the input.
            PayloadTooLargeError: more than ``max_elements``.
        """
        dtype = dtype_of(self.datatype, self.name)
        if self.elements is None:
            raise InvalidRequestError(f"Input '{self.name}' has no data.", details={"input": self.name})
        return self.elements.decode(dtype, self.shape, self.name, max_elements=max_elements)


@dataclass(slots=True)
class RequestedOutput:
    """One of the outputs that a request asks for; ``parameters`` hold ``classification``, ``binary_data`` and so on."""

    name: str
    parameters: Parameters = field(default_factory=dict)


@dataclass(slots=True)
class InferRequest:
    """What a request asks.

    Attributes:
        id: as the client wrote it; empty where it gave none.
        parameters: of the request.
        inputs: in their order; names may come twice.
        outputs: in their order; empty for all of the model.
        model_name, model_version: over gRPC; empty over HTTP, where the path has them.
        raw_body: over HTTP, the whole body where it is the elements of the model's only input.
        has_typed_contents: over gRPC, whether the inputs came as typed contents: the answer then does, too.
    """

    id: str = ""
    parameters: Parameters = field(default_factory=dict)
    inputs: list[InputTensor] = field(default_factory=list)
    outputs: list[RequestedOutput] = field(default_factory=list)
    model_name: str = ""
    model_version: str = ""
    raw_body: memoryview | None = None
    has_typed_contents: bool = False


@dataclass(slots=True)
class OutputTensor:
    """One output of an answer.

    Attributes:
        name: the output's.
        array: its elements; None where they have been written elsewhere, into shared memory.
        datatype, shape: of ``array``; to be given where it is None.
        as_binary: over HTTP, whether the elements come as binary tensor data.
    """

    name: str
    array: Array | None
    datatype: str = ""
    shape: tuple[int, ...] = ()
    as_binary: bool = False


@dataclass(slots=True)
class InferResponse:
    """What is answered; ``id`` is left out where it is empty."""

    model_name: str
    model_version: str
    outputs: Sequence[OutputTensor]
    id: str = ""
    parameters: Parameters = field(default_factory=dict)
