"""The methods that tell of the server and of its models, and change nothing."""

from __future__ import annotations

from typing import Any

from google.protobuf.json_format import ParseDict

from tensorhost.codecs.protobuf import POOL
from tensorhost.core.errors import ModelNotFoundError, VersionNotFoundError
from tensorhost.frontends.oip.admitting import parse_version, version_name
from tensorhost.frontends.oip.inference import Inference
from tensorhost.frontends.oip.metadata import TensorMetadata, model_metadata, ready, server_metadata
from tensorhost.frontends.oip.model_config import model_config
from tensorhost.frontends.oip.services.calls import response_class, rpc
from tensorhost.frontends.oip.statistics import Statistics
from tensorhost.frontends.rpc import Rpc, RpcContext
from tensorhost.inference import Admission, Group, InferenceEngine

_SERVER_LIVE, _SERVER_READY, _MODEL_READY = map(response_class, ("ServerLive", "ServerReady", "ModelReady"))
_SERVER_METADATA, _MODEL_METADATA = map(response_class, ("ServerMetadata", "ModelMetadata"))
_MODEL_CONFIG, _MODEL_STATISTICS = map(response_class, ("ModelConfig", "ModelStatistics"))


class Descriptions:
    """The methods, from message to message.

    Args:
        engine: knows the models.
        inference: lets requests in.
        group: knows whether the server is ready, and its counters.
    """

    def __init__(self, engine: InferenceEngine, inference: Inference, group: Group) -> None:
        self._engine = engine
        self._manager = engine.manager
        self._inference = inference
        self._group = group
        self._statistics = Statistics(engine.manager, group)
        self._draining = False

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

    def begin_drain(self) -> None:
        """From now on the server is not ready; calls are answered all the same."""
        self._draining = True

    async def server_live(self, _request: Any, _context: RpcContext) -> Any:
        """Whoever answers is alive."""
        return _SERVER_LIVE(live=True)

    async def server_ready(self, _request: Any, _context: RpcContext) -> Any:
        """Whether the server has acted on what it found at its start, and is not about to stop."""
        return _SERVER_READY(ready=self._group.ready and not self._draining)

    async def model_ready(self, request: Any, _context: RpcContext) -> Any:
        """Whether a model, or a version of it, answers requests; an unknown one does not.

        Raises InvalidRequestError for a version that is no number.
        """
        number = parse_version(request.version)
        try:
            version = None if number is None else version_name(self._engine, request.name, number)
            serves = ready(self._manager, request.name, version)
        except (ModelNotFoundError, VersionNotFoundError):
            serves = False
        return _MODEL_READY(ready=serves)

    async def server_metadata(self, _request: Any, _context: RpcContext) -> Any:
        """Name, version and extensions."""
        return _SERVER_METADATA(**server_metadata())

    async def model_metadata(self, request: Any, context: RpcContext) -> Any:
        """Versions, platform, inputs and outputs. Raises as ``Inference.admit``."""
        number = parse_version(request.version)
        with await self._admit(request.name, number, context) as admission:
            servable = admission.servable
            told = model_metadata(self._manager, servable, self._inference.prepare(admission), number)
        response = _MODEL_METADATA(name=told.name, versions=told.versions, platform=told.platform)
        for described, target in ((told.inputs, response.inputs), (told.outputs, response.outputs)):
            _fill(target, described)
        return response

    async def model_config(self, request: Any, context: RpcContext) -> Any:
        """A version's configuration. Raises as ``Inference.admit``."""
        with await self._admit(request.name, parse_version(request.version), context) as admission:
            told = model_config(self._manager, admission.servable, self._inference.prepare(admission))
        return ParseDict({"config": told}, _MODEL_CONFIG(), descriptor_pool=POOL)

    async def model_statistics(self, request: Any, _context: RpcContext) -> Any:
        """Counters of the versions that serve. Raises InvalidRequestError where the one asked for does not."""
        parse_version(request.version)
        told = await self._statistics.model_statistics(request.name, request.version)
        return ParseDict(told, _MODEL_STATISTICS(), descriptor_pool=POOL)

    async def _admit(self, name: str, number: int | None, context: RpcContext) -> Admission:
        return await self._inference.admit(name, number, self._inference.deadline(context.deadline))


def _fill(target: Any, described: list[TensorMetadata]) -> None:
    for tensor in described:
        target.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
