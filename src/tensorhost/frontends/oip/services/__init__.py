"""``inference.GRPCInferenceService``: from the bytes of a request to those of its response.

``model_infer`` asks models, ``descriptions`` tells of them, ``control`` changes what is served; ``calls`` is what the
last two have in common, ``ordered`` how a stream works, ``stream_messages`` what it says.
"""

from __future__ import annotations

from functools import partial

from tensorhost.frontends.authorisation import authorise_rpc
from tensorhost.frontends.oip.inference import Inference
from tensorhost.frontends.oip.repository import Repository
from tensorhost.frontends.oip.server_settings import ServerSettings
from tensorhost.frontends.oip.services.calls import SERVICE
from tensorhost.frontends.oip.services.control import Control
from tensorhost.frontends.oip.services.descriptions import Descriptions
from tensorhost.frontends.oip.services.model_infer import ModelInfer
from tensorhost.frontends.oip.shared_memory import SharedMemory
from tensorhost.frontends.rpc import Rpc, StreamRpc
from tensorhost.inference import Group, InferenceEngine
from tensorhost.settings import Settings

__all__ = ["InferenceService"]


class InferenceService:
    """The service.

    Args:
        engine: answers, and knows the models.
        settings: limits, and who may control.
        group: all processes of the server.
        memory: where tensors may lie.
    """

    def __init__(self, engine: InferenceEngine, settings: Settings, group: Group, memory: SharedMemory) -> None:
        inference = Inference(engine, memory)
        self._infer = ModelInfer(inference, max_streamed=settings.grpc_stream_requests)
        self._descriptions = Descriptions(engine, inference, group)
        self._control = Control(
            Repository(engine.manager, group),
            memory,
            ServerSettings(settings, group),
            partial(authorise_rpc, settings),
        )

    def rpcs(self) -> list[Rpc | StreamRpc]:
        """Every method a transport has to offer."""
        return [
            Rpc(f"/{SERVICE}/ModelInfer", self._infer.infer),
            StreamRpc(f"/{SERVICE}/ModelStreamInfer", self._infer.stream, finishes=True),
            *self._descriptions.rpcs(),
            *self._control.rpcs(),
        ]

    def begin_drain(self) -> None:
        """The server says that it is not ready from now on; calls are answered all the same."""
        self._descriptions.begin_drain()
