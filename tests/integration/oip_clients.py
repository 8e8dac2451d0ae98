"""Triton's gRPC client as its users have it, and short ways of calling it."""

from __future__ import annotations

import queue
from typing import Any, Self

import numpy as np
import tritonclient.grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import np_to_triton_dtype

TIMEOUT_S = 30.0
SERVICE = "inference.GRPCInferenceService"


def given(name: str, array: np.ndarray, kind: Any = tritonclient.grpc) -> Any:
    """An input with its data; ``kind`` is the client's module."""
    made = kind.InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype))
    made.set_data_from_numpy(array)
    return made


def wanted(name: str, kind: Any = tritonclient.grpc, **options: Any) -> Any:
    """An output asked for."""
    return kind.InferRequestedOutput(name, **options)


def typed_request(model: str, **fields: Any) -> service_pb2.ModelInferRequest:
    """A request as hand-made clients write it."""
    return service_pb2.ModelInferRequest(model_name=model, **fields)


def stub(client: tritonclient.grpc.InferenceServerClient) -> service_pb2_grpc.GRPCInferenceServiceStub:
    """The stub of the client's channel, for what its methods do not say."""
    return client._client_stub


class Stream:
    """One stream of a client; its answers as they come. Use as a context manager."""

    def __init__(self, client: tritonclient.grpc.InferenceServerClient, **options: Any) -> None:
        self.answers: queue.Queue[tuple[Any, Any]] = queue.Queue()
        self._client = client
        self._options = options

    def __enter__(self) -> Self:
        self._client.start_stream(lambda result, error: self.answers.put((result, error)), **self._options)
        return self

    def __exit__(self, *exception: object) -> None:
        self._client.stop_stream(cancel_requests=exception[0] is not None)

    def send(self, *args: Any, **options: Any) -> None:
        self._client.async_stream_infer(*args, **options)

    def next(self) -> tuple[Any, Any]:
        """The next result and error; one of them is None."""
        return self.answers.get(timeout=TIMEOUT_S)
