"""Request parameters: those with a meaning, read and checked; the others are the client's own and come back. Pure."""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import NamedTuple

from tensorhost.batching.entries import NORMAL_PRIORITY
from tensorhost.codecs.oip import SHARED_MEMORY_REGION, Parameters, RequestedOutput
from tensorhost.frontends.oip import faults
from tensorhost.frontends.oip.shared_tensors import SharedPart, read_part

_RESERVED = frozenset(
    {"sequence_id", "sequence_start", "sequence_end", "priority", "timeout", "headers", "binary_data_output"}
)
_RESERVED_PREFIX = "triton_"
_LARGEST = 2**64 - 1
_DIGITS = re.compile(r"[0-9]{1,64}", re.ASCII)

PRIORITY_LEVELS = 3
"""1 goes first; a priority that is none of these means the default, as in Triton."""
DEFAULT_PRIORITY_LEVEL = NORMAL_PRIORITY


class RequestParameters(NamedTuple):
    """What a request says besides its tensors.

    Attributes:
        timeout_us: microseconds within which it is to be answered; 0 for the server's default.
        priority: 1 is the highest, 3 the lowest; anything else stands for 2.
        binary_data_output: whether all outputs are wanted as raw bytes, over HTTP.
        echoed: parameters without a meaning, which the response repeats.
    """

    timeout_us: int = 0
    priority: int = 0
    binary_data_output: bool = False
    echoed: Parameters = MappingProxyType({})


class OutputWish(NamedTuple):
    """An output asked for.

    Attributes:
        name: the output's.
        classes: how many of its highest values are wanted as strings; 0 for the tensor itself.
        binary_data: whether it is wanted as raw bytes, over HTTP; None for what the request says of all.
        shared: where in shared memory it is wanted; None for in the answer.
    """

    name: str
    classes: int = 0
    binary_data: bool | None = None
    shared: SharedPart | None = None


NO_PARAMETERS = RequestParameters()
"""Of a request without any."""


def read_parameters(parameters: Parameters) -> RequestParameters:
    """The meaning of a request's parameters.

    Raises InvalidRequestError: one that has a meaning is not what it should be.
    """
    if not parameters:
        return NO_PARAMETERS
    binary = parameters.get("binary_data_output", False)
    if not isinstance(binary, bool):
        raise faults.invalid_parameter("binary_data_output", "true or false")
    return RequestParameters(
        _unsigned(parameters, "timeout"),
        _unsigned(parameters, "priority"),
        binary,
        {name: value for name, value in parameters.items() if not _is_reserved(name)},
    )


def read_output(output: RequestedOutput) -> OutputWish:
    """What is wanted of an output.

    Raises InvalidRequestError: a parameter is not what it should be, or contradicts another.
    """
    parameters = output.parameters
    if not parameters:
        return OutputWish(output.name)
    binary = parameters.get("binary_data")
    if not (binary is None or isinstance(binary, bool)):
        raise faults.invalid_parameter("binary_data", "true or false")
    count, shared = _unsigned(parameters, "classification"), read_part(parameters, output.name)
    if shared is not None and (count or binary):
        # Classes are strings of whatever length; and what lies in shared memory is nowhere in the answer.
        other = "classification" if count else "binary_data"
        raise faults.contradicting_wishes(output.name, SHARED_MEMORY_REGION, other)
    return OutputWish(output.name, count, binary, shared)


def _unsigned(parameters: Parameters, name: str) -> int:
    value = parameters.get(name, 0)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _LARGEST:
        # Over gRPC some clients send every parameter as text.
        if isinstance(value, str) and _DIGITS.fullmatch(value) and int(value) <= _LARGEST:
            return int(value)
        raise faults.invalid_parameter(name, "a whole number that is not negative")
    return value


def _is_reserved(name: str) -> bool:
    return name in _RESERVED or name.startswith(_RESERVED_PREFIX)
