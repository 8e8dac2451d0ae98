"""The Open Inference Protocol's requests and answers, over HTTP and gRPC, to named arrays and back."""

from tensorhost.codecs.oip.datatypes import DATATYPES, check_answerable, config_type_of, datatype_of, dtype_of
from tensorhost.codecs.oip.generation import read_generate_request, write_generate_response
from tensorhost.codecs.oip.grpc_messages import read_grpc_request, write_grpc_response
from tensorhost.codecs.oip.http_messages import HEADER_LENGTH, HttpBody, read_http_request, write_http_response
from tensorhost.codecs.oip.raw import decode_raw, encode_raw
from tensorhost.codecs.oip.requests import (
    SHARED_MEMORY_REGION,
    InferRequest,
    InferResponse,
    InputTensor,
    OutputTensor,
    Parameter,
    Parameters,
    RawElements,
    RequestedOutput,
)

__all__ = [
    "DATATYPES",
    "HEADER_LENGTH",
    "SHARED_MEMORY_REGION",
    "HttpBody",
    "InferRequest",
    "InferResponse",
    "InputTensor",
    "OutputTensor",
    "Parameter",
    "Parameters",
    "RawElements",
    "RequestedOutput",
    "check_answerable",
    "config_type_of",
    "datatype_of",
    "decode_raw",
    "dtype_of",
    "encode_raw",
    "read_generate_request",
    "read_grpc_request",
    "read_http_request",
    "write_generate_response",
    "write_grpc_response",
    "write_http_response",
]
