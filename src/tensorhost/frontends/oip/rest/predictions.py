"""``POST /v2/models/…/infer``: a body to the shared inference and back."""

from __future__ import annotations

import asyncio

from tensorhost.codecs.oip import HEADER_LENGTH, InferRequest, InferResponse, read_http_request, write_http_response
from tensorhost.codecs.tensor_forms import Octets
from tensorhost.core.errors import TensorhostError
from tensorhost.frontends.http.exchange import JSON, OFF_LOOP_BYTES, OFF_LOOP_ELEMENTS, Exchange, Reply
from tensorhost.frontends.oip.admitting import parse_version
from tensorhost.frontends.oip.open_inference import OpenInference
from tensorhost.frontends.oip.rest.targets import Target

_OCTETS = b"application/octet-stream"


class Predictions:
    """The route that asks a model.

    Args:
        offered: the protocol's calls.
    """

    def __init__(self, offered: OpenInference) -> None:
        self._offered = offered
        self._max_depth = offered.settings.max_json_depth

    async def infer(self, exchange: Exchange, target: Target) -> Reply:
        """Tensors as JSON or as binary tensor data, and the answer as the request wants it."""
        try:
            request = await self._read(exchange)
            number = parse_version(target.version)
        except TensorhostError as error:
            # No model is known yet to count it for.
            self._offered.engine.metrics.record_unattributed_error(error.code)
            raise
        response = await self._offered.inference.infer(request, target.name, number)
        if _written_elements(response) > OFF_LOOP_ELEMENTS:
            return await asyncio.to_thread(_reply, response)
        return _reply(response)

    async def _read(self, exchange: Exchange) -> InferRequest:
        body = await exchange.body(in_place=True)
        # The content type says nothing: aiohttp sends JSON that it was given as bytes for an octet stream.
        given = exchange.header(HEADER_LENGTH)
        header_length = None if given is None else given.decode("latin-1")
        if _json_bytes(header_length, body) > OFF_LOOP_BYTES:
            return await asyncio.to_thread(read_http_request, body, header_length, max_depth=self._max_depth)
        return read_http_request(body, header_length, max_depth=self._max_depth)


def _json_bytes(header_length: str | None, body: Octets) -> int:
    """How much JSON there is to read, at most."""
    if header_length is not None and header_length.isascii() and header_length.isdecimal():
        return min(int(header_length[:20]), len(body))
    return len(body)


def _written_elements(response: InferResponse) -> int:
    """How many elements are to be written one by one."""
    return sum(
        output.array.size
        for output in response.outputs
        if output.array is not None and (not output.as_binary or output.array.dtype.hasobject)
    )


def _reply(response: InferResponse) -> Reply:
    written = write_http_response(response)
    if written.header_length is None:
        return Reply(written.text, content_type=JSON)
    headers = ((HEADER_LENGTH, b"%d" % written.header_length),)
    return Reply(written.text, content_type=_OCTETS, headers=headers, tail=written.binary)
