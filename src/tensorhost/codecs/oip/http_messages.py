"""Bodies of ``/infer`` over HTTP: JSON, behind which tensors may lie as raw bytes (binary tensor data)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from tensorhost.codecs.json_response import writable_numbers
from tensorhost.codecs.oip.datatypes import check_answerable, datatype_of
from tensorhost.codecs.oip.json_request import read_json_request
from tensorhost.codecs.oip.raw import encode_raw, strings_of
from tensorhost.codecs.oip.requests import (
    SHARED_MEMORY_REGION,
    InferRequest,
    InferResponse,
    InputTensor,
    OutputTensor,
    RawElements,
    check_one_source,
)
from tensorhost.codecs.tensor_forms import Octets
from tensorhost.core.dtypes import DType
from tensorhost.core.errors import InvalidRequestError, UnsupportedTypeError
from tensorhost.core.tensors import Array

HEADER_LENGTH = b"inference-header-content-length"
"""The header, in lower case, that says how many bytes of a body are JSON, before its binary tensor data."""

BINARY_SIZE = "binary_data_size"
"""The parameter of a tensor whose elements come as binary tensor data: how many bytes."""

_LONGEST_LENGTH = 20
_MOST_KEPT = 2
"""How many times its own size an output may keep alive until its client has read it."""


@dataclass(slots=True)
class HttpBody:
    """An answer's body in pieces: its JSON, and behind it the binary outputs where they lie in memory.

    ``header_length`` is how many bytes of it are JSON, None where no output was wanted as binary data.
    """

    text: bytes
    binary: list[Octets]
    header_length: int | None

    @property
    def pieces(self) -> list[Octets]:
        """All of it, in order."""
        return [self.text, *self.binary]


def read_http_request(body: Octets, header_length: str | None, *, max_depth: int = 64) -> InferRequest:
    """What the body of an infer request asks.

    Args:
        body: all of it, decompressed. Raw inputs are views of it.
        header_length: the value of ``Inference-Header-Content-Length``; None where it is missing: the body is then
            JSON altogether. ``0`` makes the whole body the elements of the only input (``raw_body``).
        max_depth: deepest nesting of lists.

    Raises:
        InvalidRequestError: the header is no number from 0 to the length of the body; what it covers is no JSON, or
            no infer request; the tensors behind it are too short or too long.
    """
    size = len(body) if header_length is None else _json_size(header_length, len(body))
    if header_length is not None and not size:
        return InferRequest(raw_body=memoryview(body))
    request = read_json_request(bytes(body[:size]), max_depth=max_depth)
    _take_binary(request, memoryview(body)[size:])
    return request


def _json_size(header_length: str, body_bytes: int) -> int:
    is_number = header_length.isascii() and header_length.isdigit() and len(header_length) <= _LONGEST_LENGTH
    if not is_number or int(header_length) > body_bytes:
        shown = header_length[:_LONGEST_LENGTH]
        raise InvalidRequestError(
            f"Inference-Header-Content-Length must be a whole number from 0 to {body_bytes}, the length of the body, "
            f"not '{shown}'.",
            details={"expected": body_bytes, "actual": shown},
        )
    return int(header_length)


def _take_binary(request: InferRequest, binary: memoryview) -> None:
    """Give each input that has binary data its part, and see that nothing is left."""
    position = 0
    for tensor in request.inputs:
        _check_source(tensor)
        size = tensor.parameters.get(BINARY_SIZE)
        if size is None:
            continue
        if type(size) is not int or size < 0:
            raise InvalidRequestError(
                f"Input '{tensor.name}': '{BINARY_SIZE}' must be a whole number from 0.",
                details={"input": tensor.name, "field": BINARY_SIZE},
            )
        left = len(binary) - position
        if size > left:
            raise InvalidRequestError(
                f"Input '{tensor.name}' has {left} bytes of binary data in the body, expected {size}.",
                details={"input": tensor.name, "expected": size, "actual": left},
            )
        tensor.elements = RawElements(binary[position : position + size])
        position += size
    if position != len(binary):
        raise InvalidRequestError(
            f"The body has {len(binary) - position} bytes behind the binary data of its inputs.",
            details={"expected": position, "actual": len(binary)},
        )


def _check_source(tensor: InputTensor) -> None:
    found = [key for key in (BINARY_SIZE, SHARED_MEMORY_REGION) if key in tensor.parameters]
    if tensor.elements is not None:
        found.append("data")
    check_one_source(tensor.name, found, ("data", BINARY_SIZE, SHARED_MEMORY_REGION))


def write_http_response(response: InferResponse) -> HttpBody:
    """The body of an answer: outputs with ``as_binary`` behind the JSON, the others in it.

    Floating-point numbers are written with the fewest digits that give the same value back, NaN and infinities, which
    JSON does not have, as null.

    Raises:
        UnsupportedTypeError: an output is of a type that the protocol cannot carry, or, wanted as JSON, holds bytes
            that are no UTF-8.
    """
    binary: list[Octets] = []
    head: dict[str, Any] = {"id": response.id} if response.id else {}
    head |= {"model_name": response.model_name, "model_version": response.model_version}
    if response.parameters:
        head["parameters"] = response.parameters
    head["outputs"] = [_output(output, binary) for output in response.outputs]
    text = orjson.dumps(head, option=orjson.OPT_SERIALIZE_NUMPY)
    is_binary = any(output.as_binary for output in response.outputs)
    return HttpBody(text, binary, len(text) if is_binary else None)


def _output(output: OutputTensor, binary: list[Octets]) -> dict[str, Any]:
    """One output as JSON has it; the elements of a binary one are added to ``binary``."""
    array = output.array
    if array is None:
        # Without parameters: where they are not of binary data, Triton's C++ client takes the answer for broken.
        return _item(output.name, output.datatype, output.shape)
    dtype = DType.of(array)
    check_answerable(dtype, output.name)
    if output.as_binary:
        data = encode_raw(_on_its_own(array))
        binary.append(data)
        return _item(output.name, datatype_of(dtype), array.shape) | {"parameters": {BINARY_SIZE: len(data)}}
    return _item(output.name, datatype_of(dtype), array.shape) | {"data": json_data(output.name, array, dtype)}


def _on_its_own(array: Array) -> Array:
    """``array``, or a copy where it is a small part of a larger one: a slow client would keep all of a batch alive."""
    whole = array.base
    is_part = isinstance(whole, np.ndarray) and whole.nbytes > _MOST_KEPT * array.nbytes
    return array.copy() if is_part else array


def _item(name: str, datatype: str, shape: tuple[int, ...]) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": shape}


def json_data(name: str, array: Array, dtype: DType) -> Any:
    """The elements of an output in one list, as the writer takes it.

    Raises UnsupportedTypeError: they are bytes that are no UTF-8.
    """
    if not dtype.is_string:
        return writable_numbers(array.reshape(-1), dtype)
    try:
        return [value.decode() for value in strings_of(array)]
    except UnicodeDecodeError:
        raise UnsupportedTypeError(
            f"Output '{name}' holds bytes that are no UTF-8, which JSON cannot carry: ask for it as binary data.",
            details={"output": name},
        ) from None
