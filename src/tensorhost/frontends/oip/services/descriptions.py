"""The methods that tell of the server and of its models, and change nothing."""

from __future__ import annotations

from typing import Any

from google.protobuf.json_format import ParseDict

from tensorhost.codecs.protobuf import POOL
from tensorhost.frontends.oip.admitting import parse_version
from tensorhost.frontends.oip.metadata import TensorMetadata, server_metadata
from tensorhost.frontends.oip.open_inference import OpenInference
from tensorhost.frontends.oip.services.calls import response_class, rpc
from tensorhost.frontends.rpc import Rpc, RpcContext

_SERVER_LIVE, _SERVER_READY, _MODEL_READY = map(response_class, ("ServerLive", "ServerReady", "ModelReady"))
_SERVER_METADATA, _MODEL_METADATA = map(response_class, ("ServerMetadata", "ModelMetadata"))
_MODEL_CONFIG, _MODEL_STATISTICS = map(response_class, ("ModelConfig", "ModelStatistics"))


class Descriptions:
    """The methods, from message to message.

    Args:
        protocol: does the work.
    """

    def __init__(self, protocol: OpenInference) -> None:
        self._protocol = protocol

    def rpcs(self) -> list[Rpc]:
        """What a transport needs to know."""
        return [
            rpc("ServerLive", self.server_live),
            rpc("ServerReady", self.server_ready),
            rpc("ModelReady", self.model_ready),
            rpc("ServerMetadata", self.server_metadata),
            rpc("ModelMetadata", self.model_metadata),
            rpc("ModelConfig", self.model_config),
            rpc("ModelStatistics", self.model_statistics),
        ]

    async def server_live(self, _request: Any, _context: RpcContext) -> Any:
        """Whoever answers is alive."""
        return _SERVER_LIVE(live=True)

    async def server_ready(self, _request: Any, _context: RpcContext) -> Any:
        """Whether the server has acted on what it found at its start, and is not about to stop."""
        return _SERVER_READY(ready=self._protocol.server_ready())

    async def model_ready(self, request: Any, _context: RpcContext) -> Any:
        """Whether a model, or a version of it, answers requests; an unknown one does not.

        Raises InvalidRequestError for a version that is no number.
        """
        return _MODEL_READY(ready=self._protocol.model_ready(request.name, parse_version(request.version)))

    async def server_metadata(self, _request: Any, _context: RpcContext) -> Any:
        """Name, version and extensions."""
        return _SERVER_METADATA(**server_metadata())

    async def model_metadata(self, request: Any, context: RpcContext) -> Any:
        """Versions, platform, inputs and outputs. Raises as ``Inference.admit``."""
        number, deadline = parse_version(request.version), self._deadline(context)
        told = await self._protocol.model_metadata(request.name, number, deadline)
        response = _MODEL_METADATA(name=told.name, versions=told.versions, platform=told.platform)
        for described, target in ((told.inputs, response.inputs), (told.outputs, response.outputs)):
            _fill(target, described)
        return response

    async def model_config(self, request: Any, context: RpcContext) -> Any:
        """A version's configuration. Raises as ``Inference.admit``."""
        number, deadline = parse_version(request.version), self._deadline(context)
        told = await self._protocol.model_config(request.name, number, deadline)
        return ParseDict({"config": told}, _MODEL_CONFIG(), descriptor_pool=POOL)

    async def model_statistics(self, request: Any, _context: RpcContext) -> Any:
        """Counters of the versions that serve. Raises InvalidRequestError where the one asked for does not."""
        parse_version(request.version)
        told = await self._protocol.statistics.model_statistics(request.name, request.version)
        return ParseDict(told, _MODEL_STATISTICS(), descriptor_pool=POOL)

    def _deadline(self, context: RpcContext) -> float:
        return self._protocol.inference.deadline(context.deadline)


def _fill(target: Any, described: list[TensorMetadata]) -> None:
    for tensor in described:
        target.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
