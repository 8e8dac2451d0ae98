"""ModelInferRequest and ModelInferResponse, over their wire view."""

from __future__ import annotations

from tensorhost.codecs.oip.requests import InferRequest, InferResponse


def read_grpc_request(data: bytes) -> InferRequest:
    """What the bytes of a ModelInferRequest ask.

    Raises:
        InvalidRequestError: the bytes are no such message, or raw contents and typed ones are mixed, or there are not
            as many raw contents as inputs that need some.
    """
    raise NotImplementedError


def write_grpc_response(response: InferResponse, *, typed_contents: bool) -> bytes:
    """The bytes of a ModelInferResponse.

    Args:
        response: what is answered.
        typed_contents: write ``contents``, not ``raw_output_contents``; where an output is of a type that has no
            field there (FP16, BF16), all outputs are written raw.

    Raises:
        UnsupportedTypeError: an output is of a type that the protocol cannot carry.
    """
    raise NotImplementedError
