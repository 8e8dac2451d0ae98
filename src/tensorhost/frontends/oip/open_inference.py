"""What the Open Inference Protocol offers, put together once for both wires."""

from __future__ import annotations

from typing import Any

from tensorhost.frontends.oip.admitting import version_name
from tensorhost.frontends.oip.inference import Inference
from tensorhost.frontends.oip.metadata import ModelMetadata, model_metadata
from tensorhost.frontends.oip.model_config import model_config
from tensorhost.frontends.oip.repository import Repository
from tensorhost.frontends.oip.server_settings import ServerSettings
from tensorhost.frontends.oip.shared_memory import SharedMemory
from tensorhost.frontends.oip.statistics import Statistics
from tensorhost.inference import Group, InferenceEngine
from tensorhost.settings import Settings


class OpenInference:
    """The protocol's calls, without a wire.

    Args:
        engine: answers inference requests; its manager the others.
        settings: limits, and what may be used.
        group: all processes of the server.
    """

    def __init__(self, engine: InferenceEngine, settings: Settings, group: Group) -> None:
        self.engine = engine
        self.settings = settings
        self.shared_memory = SharedMemory(settings, group)
        self.inference = Inference(engine, self.shared_memory)
        self.repository = Repository(engine.manager, group)
        self.statistics = Statistics(engine.manager, group)
        self.server_settings = ServerSettings(settings, group)
        self._group = group
        self._draining = False

    def begin_drain(self) -> None:
        """The server is not ready from now on; requests are answered all the same."""
        self._draining = True

    def server_ready(self) -> bool:
        """Whether the server has acted on what it found at its start, and is not being stopped."""
        return self._group.ready and not self._draining

    def model_ready(self, name: str, number: int | None) -> bool:
        """Whether a request for a model, or for a version of it, would be answered; a lazy one is loaded for it."""
        manager = self.engine.manager
        model = manager.models().get(name)
        if model is None:
            return False
        version = None if number is None else version_name(manager, name, number)
        if version is None and number is not None:
            return False
        if manager.find(name, version) is not None:
            return True
        record = model.resolve(version) if model.lazy and not model.problem else None
        return record is not None and not record.failed and record.id.version in model.wanted()

    def model_names(self) -> list[str]:
        """Every model known, loaded or not."""
        return sorted(self.engine.manager.models())

    async def model_metadata(self, name: str, number: int | None, deadline: float) -> ModelMetadata:
        """What a model, or a version of it, takes and gives; a lazy one is loaded for it.

        Raises what ``Inference.admit`` does.
        """
        with await self.inference.admit(name, number, deadline) as admission:
            call = self.inference.prepare(admission)
            return model_metadata(self.engine.manager, admission.servable, call, number)

    async def model_config(self, name: str, number: int | None, deadline: float) -> dict[str, Any]:
        """The configuration of a model, see ``model_config.model_config``; as ``model_metadata`` otherwise."""
        with await self.inference.admit(name, number, deadline) as admission:
            call = self.inference.prepare(admission)
            return model_config(self.engine.manager, admission.servable, call)
