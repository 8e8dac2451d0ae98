"""``ModelInfer`` and ``ModelStreamInfer``: from the bytes of a request to those of its answer.

ModelInfer is the hot path of this protocol: raw tensors are views of the message they came in. An answer has the form
of its request: raw contents, or typed ones.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator

from tensorhost.codecs.oip import InferResponse, read_grpc_request, write_grpc_response
from tensorhost.codecs.protobuf import decode, message_class
from tensorhost.core.dtypes import DType
from tensorhost.core.errors import InvalidRequestError, TensorhostError
from tensorhost.frontends.http.exchange import OFF_LOOP_ELEMENTS
from tensorhost.frontends.oip.admitting import parse_version
from tensorhost.frontends.oip.inference import Inference
from tensorhost.frontends.oip.services.ordered import answered_in_order
from tensorhost.frontends.oip.services.stream_messages import stream_answer, stream_error
from tensorhost.frontends.oip.statuses import as_rpc_error
from tensorhost.frontends.rpc import RpcContext

FINAL_RESPONSE = "triton_final_response"
"""The parameter that tells a client of a stream that no other answer to this request follows."""

_STRICT = "triton_grpc_error"
"""Metadata by which a client asks for its streams to end with a status at the first failure."""

_IDENTIFIED = message_class("tensorhost.wire.ModelInferRequest")


class ModelInfer:
    """The two methods that ask a model.

    Args:
        inference: answers.
        max_streamed: most requests of a stream in hand at once.
    """

    def __init__(self, inference: Inference, *, max_streamed: int) -> None:
        self._inference = inference
        self._max_streamed = max_streamed

    async def infer(self, data: bytes, context: RpcContext) -> bytes:
        """``ModelInferRequest`` to ``ModelInferResponse``. Raises RpcError, with Triton's status."""
        try:
            return await self._infer(data, context.deadline, streamed=False)
        except TensorhostError as error:
            raise as_rpc_error(error) from error

    async def stream(self, requests: AsyncIterator[bytes], context: RpcContext) -> AsyncGenerator[bytes, None]:
        """``ModelInferRequest`` to ``ModelStreamInferResponse``, in their order; failures are answers, too.

        Raises RpcError at the first failure where the client's metadata asks for that.
        """
        strict = context.metadata.get(_STRICT) == "true"

        async def answer(data: bytes) -> bytes:
            try:
                return stream_answer(await self._infer(data, context.deadline, streamed=True))
            except TensorhostError as error:
                known = as_rpc_error(error)
                if strict:
                    raise known from error
                return stream_error(known.message, _id_of(data))

        responses = answered_in_order(requests, answer, most=self._max_streamed)
        try:
            async for response in responses:
                yield response
        finally:
            await responses.aclose()

    async def _infer(self, data: bytes, deadline: float, *, streamed: bool) -> bytes:
        request = read_grpc_request(data)
        number = parse_version(request.model_version)
        response = await self._inference.infer(request, request.model_name, number, deadline)
        if streamed:
            response.parameters = {**response.parameters, FINAL_RESPONSE: True}
        typed = request.has_typed_contents
        if _elements_to_go_through(response, typed=typed) > OFF_LOOP_ELEMENTS:
            return await asyncio.to_thread(write_grpc_response, response, typed_contents=typed)
        return write_grpc_response(response, typed_contents=typed)


def _elements_to_go_through(response: InferResponse, *, typed: bool) -> int:
    """How many elements are written one by one, or by more than a copy."""
    arrays = [output.array for output in response.outputs if output.array is not None]
    return sum(array.size for array in arrays if typed or DType.of(array) is DType.STRING)


def _id_of(data: bytes) -> str:
    """The id of a request that has failed; empty where nothing of it can be read."""
    try:
        identifier: str = decode(_IDENTIFIED, data).id
    except InvalidRequestError:
        return ""
    return identifier
