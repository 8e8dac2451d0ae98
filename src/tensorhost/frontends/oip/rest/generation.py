"""``POST /v2/models/…/generate`` and ``generate_stream``: values by the names of inputs, flat answers back.

Models answer once, so a stream has one event. Whatever fails before it is an ordinary error, with its status.
"""

from __future__ import annotations

import asyncio

from tensorhost.codecs.oip import InferRequest, InferResponse, read_generate_request, write_generate_response
from tensorhost.core.errors import TensorhostError
from tensorhost.frontends.http.exchange import OFF_LOOP_BYTES, OFF_LOOP_ELEMENTS, Exchange, Reply
from tensorhost.frontends.oip.admitting import parse_version
from tensorhost.frontends.oip.open_inference import OpenInference
from tensorhost.frontends.oip.rest.targets import Target

_EVENTS = b"text/event-stream; charset=utf-8"


class Generation:
    """The routes.

    Args:
        offered: the protocol's calls.
    """

    def __init__(self, offered: OpenInference) -> None:
        self._offered = offered
        self._max_depth = offered.settings.max_json_depth

    async def generate(self, exchange: Exchange, target: Target) -> Reply:
        """The model's outputs by name: a single value bare, others in one list."""
        return Reply(await self._answer(exchange, target))

    async def generate_stream(self, exchange: Exchange, target: Target) -> Reply:
        """The same as the one event of a stream."""
        return Reply(b"data: %b\n\n" % await self._answer(exchange, target), content_type=_EVENTS)

    async def _answer(self, exchange: Exchange, target: Target) -> bytes:
        inference = self._offered.inference
        try:
            number = parse_version(target.version)
        except TensorhostError as error:
            self._count(error)
            raise
        request = await self._read(exchange, target.name, number)
        response = await inference.infer(request, target.name, number)
        if _elements(response) > OFF_LOOP_ELEMENTS:
            return await asyncio.to_thread(write_generate_response, response)
        return write_generate_response(response)

    async def _read(self, exchange: Exchange, name: str, number: int | None) -> InferRequest:
        model = await self._offered.model_metadata(name, number, self._offered.inference.deadline())
        inputs = {each.name: (each.datatype, each.shape) for each in model.inputs}
        try:
            body = await exchange.body()
            if len(body) > OFF_LOOP_BYTES:
                return await asyncio.to_thread(read_generate_request, body, inputs, max_depth=self._max_depth)
            return read_generate_request(body, inputs, max_depth=self._max_depth)
        except TensorhostError as error:
            self._count(error)
            raise

    def _count(self, error: TensorhostError) -> None:
        # No version will count it.
        self._offered.engine.metrics.record_unattributed_error(error.code)


def _elements(response: InferResponse) -> int:
    return sum(output.array.size for output in response.outputs if output.array is not None)
