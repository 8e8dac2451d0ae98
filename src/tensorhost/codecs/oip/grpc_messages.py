"""ModelInferRequest, read over its wire view, and ModelInferResponse, put together from pieces.

What must stay true: the elements of a large request are not copied on their way to the arrays, those of an answer
once, into the bytes that are sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from tensorhost.codecs.oip.contents import TypedElements, encode_contents, has_contents
from tensorhost.codecs.oip.datatypes import check_answerable, datatype_of
from tensorhost.codecs.oip.raw import check_shape, encode_raw
from tensorhost.codecs.oip.raw_fields import split_raw_inputs
from tensorhost.codecs.oip.requests import (
    SHARED_MEMORY_REGION,
    InferRequest,
    InferResponse,
    InputTensor,
    OutputTensor,
    Parameters,
    RawElements,
    RequestedOutput,
    check_items,
    check_name,
    check_one_source,
)
from tensorhost.codecs.protobuf import decode, message_class
from tensorhost.codecs.protobuf.framing import field_key, varint
from tensorhost.codecs.tensor_forms import Octets
from tensorhost.core.dtypes import DType
from tensorhost.core.errors import InvalidRequestError

_WireRequest = message_class("tensorhost.wire.ModelInferRequest")
_TensorHead: Any = message_class("inference.ModelInferResponse.InferOutputTensor")
_ResponseHead: Any = message_class("inference.ModelInferResponse")

_RESPONSE_OUTPUTS, _RESPONSE_RAW, _TENSOR_CONTENTS = field_key(5), field_key(6), field_key(5)
_WORTH_SPLITTING_BYTES = 2**16
_MAX_PARAMETERS = 10_000
_LARGEST_INT64 = 2**63 - 1


def read_grpc_request(data: bytes) -> InferRequest:
    """What the bytes of a ModelInferRequest ask. Raw inputs of a large message are views of it.

    Raises:
        InvalidRequestError: the bytes are no such message, raw contents and typed ones are mixed, or there are not as
            many raw contents as inputs that need some.
    """
    rest, raw = split_raw_inputs(data) if len(data) >= _WORTH_SPLITTING_BYTES else (data, [])
    wire = decode(_WireRequest, rest)
    check_items("inputs", len(wire.inputs))
    check_items("outputs", len(wire.outputs))
    request = InferRequest(
        id=wire.id,
        parameters=_parameters(wire.parameters),
        outputs=[RequestedOutput(check_name(output.name), _parameters(output.parameters)) for output in wire.outputs],
        model_name=wire.model_name,
        model_version=wire.model_version,
    )
    for tensor in wire.inputs:
        request.inputs.append(_input(tensor))
        request.has_typed_contents = request.has_typed_contents or tensor.HasField("contents")
    _place_raw(request, raw or wire.raw_input_contents)
    return request


def _input(tensor: Any) -> InputTensor:
    name = check_name(tensor.name)
    shape = tensor.shape
    check_shape(shape, name)
    parameters = _parameters(tensor.parameters)
    elements = None if SHARED_MEMORY_REGION in parameters else TypedElements(tensor.contents)
    if elements is None:
        found = [SHARED_MEMORY_REGION, *(["contents"] if tensor.HasField("contents") else [])]
        check_one_source(name, found, ("contents", SHARED_MEMORY_REGION))
    return InputTensor(name, tensor.datatype, tuple(shape), parameters, elements)


def _place_raw(request: InferRequest, raw: Sequence[Octets]) -> None:
    """Give each input its part of the raw contents; those in shared memory have none."""
    if not len(raw):
        return
    if request.has_typed_contents:
        raise InvalidRequestError("The request has both contents of inputs and raw_input_contents; send one of them.")
    waiting = [tensor for tensor in request.inputs if tensor.elements is not None]
    if len(waiting) != len(raw):
        raise InvalidRequestError(
            f"The request has {len(raw)} raw_input_contents, expected {len(waiting)}: one for each input that is "
            "not in shared memory.",
            details={"expected": len(waiting), "actual": len(raw)},
        )
    for tensor, data in zip(waiting, raw, strict=True):
        tensor.elements = RawElements(data)


def _parameters(given: Any) -> Parameters:
    if not len(given):
        return {}
    if len(given) > _MAX_PARAMETERS:
        raise InvalidRequestError(
            f"The request has {len(given)} parameters in one place; at most {_MAX_PARAMETERS} are allowed."
        )
    chosen = {name: (value, value.WhichOneof("parameter_choice")) for name, value in given.items()}
    return {name: getattr(value, choice) for name, (value, choice) in chosen.items() if choice is not None}


def write_grpc_response(response: InferResponse, *, typed_contents: bool = False) -> bytes:
    """The bytes of a ModelInferResponse.

    Args:
        response: what is answered.
        typed_contents: write ``contents``, not ``raw_output_contents``; where an output is of a type that has no
            field there (FP16, BF16), all outputs are written raw.

    Raises:
        UnsupportedTypeError: an output is of a type that the protocol cannot carry.
    """
    typed = typed_contents and all(
        output.array is None or has_contents(DType.of(output.array)) for output in response.outputs
    )
    pieces: list[Octets] = [_head(response)]
    raw: list[Octets] = []
    for output in response.outputs:
        pieces += _output(output, typed=typed)
        if typed:
            continue
        # Also for an output in shared memory: clients find the contents of the others by counting.
        data = b"" if output.array is None else encode_raw(output.array)
        raw += [_RESPONSE_RAW + varint(len(data)), data]
    return b"".join(pieces + raw)


def _head(response: InferResponse) -> bytes:
    if not response.id and not response.parameters:
        return _plain_head(response.model_name, response.model_version)
    message = _ResponseHead(model_name=response.model_name, model_version=response.model_version, id=response.id)
    _fill(message.parameters, response.parameters)
    data: bytes = message.SerializeToString()
    return data


@lru_cache(maxsize=256)
def _plain_head(model_name: str, model_version: str) -> bytes:
    data: bytes = _ResponseHead(model_name=model_name, model_version=model_version).SerializeToString()
    return data


def _output(output: OutputTensor, *, typed: bool) -> list[Octets]:
    datatype, shape = output.datatype, output.shape
    contents: list[Octets] = []
    if output.array is not None:
        dtype = DType.of(output.array)
        check_answerable(dtype, output.name)
        datatype, shape = datatype_of(dtype), output.array.shape
        if typed:
            contents = encode_contents(output.array)
    head = _plain_tensor(output.name, datatype, shape)
    if typed:
        size = sum(map(len, contents))
        head += _TENSOR_CONTENTS + varint(size)
        return [_RESPONSE_OUTPUTS + varint(len(head) + size) + head, *contents]
    return [_RESPONSE_OUTPUTS + varint(len(head)) + head]


@lru_cache(maxsize=1024)
def _plain_tensor(name: str, datatype: str, shape: tuple[int, ...]) -> bytes:
    data: bytes = _TensorHead(name=name, datatype=datatype, shape=shape).SerializeToString()
    return data


def _fill(message: Any, parameters: Parameters) -> None:
    for name, value in parameters.items():
        if isinstance(value, bool):
            message[name].bool_param = value
        elif isinstance(value, int):
            setattr(message[name], "int64_param" if value <= _LARGEST_INT64 else "uint64_param", value)
        elif isinstance(value, float):
            message[name].double_param = value
        else:
            message[name].string_param = value
