"""Bodies of ``/infer`` over HTTP: JSON, behind which tensors may lie as raw bytes (binary tensor data)."""

from __future__ import annotations

from dataclasses import dataclass

from tensorhost.codecs.oip.requests import InferRequest, InferResponse
from tensorhost.codecs.tensor_forms import Octets


@dataclass(frozen=True, slots=True)
class HttpBody:
    """An answer's body in pieces, and how many bytes of it are JSON: None where all of it is."""

    pieces: list[Octets]
    header_length: int | None


def read_http_request(body: bytes, header_length: str | None, *, max_depth: int = 64) -> InferRequest:
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
    raise NotImplementedError


def write_http_response(response: InferResponse) -> HttpBody:
    """The body of an answer: outputs with ``as_binary`` behind the JSON, the others in it.

    Raises:
        UnsupportedTypeError: an output is of a type that the protocol, or JSON, cannot carry.
        InvalidRequestError: an output that is wanted as JSON holds bytes that are no UTF-8.
    """
    raise NotImplementedError
