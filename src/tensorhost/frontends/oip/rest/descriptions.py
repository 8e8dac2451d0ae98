"""Routes that only tell: of the server, its models, and how they do."""

from __future__ import annotations

from tensorhost.frontends.http.exchange import Exchange, Reply, json_reply
from tensorhost.frontends.oip.admitting import parse_version
from tensorhost.frontends.oip.metadata import server_metadata
from tensorhost.frontends.oip.open_inference import OpenInference
from tensorhost.frontends.oip.rest.targets import Target

_NOT_READY = 400
"""As in Triton, also for a model that there is not."""


class Descriptions:
    """The routes.

    Health says what it has to say twice: by its status, to Triton's clients, and in the body, to others.

    Args:
        offered: the protocol's calls.
    """

    def __init__(self, offered: OpenInference) -> None:
        self._offered = offered

    async def server(self, _exchange: Exchange, _target: Target) -> Reply:
        """Name, version, extensions."""
        return json_reply(server_metadata())

    async def live(self, _exchange: Exchange, _target: Target) -> Reply:
        """Whether the server answers at all."""
        return json_reply({"live": True})

    async def ready(self, _exchange: Exchange, _target: Target) -> Reply:
        """Whether it should be sent requests."""
        if self._offered.server_ready():
            return json_reply({"ready": True})
        return json_reply({"ready": False, "error": "Server not ready"}, _NOT_READY)

    async def models(self, _exchange: Exchange, _target: Target) -> Reply:
        """Names of all models, as KServe lists them."""
        return json_reply({"models": self._offered.model_names()})

    async def model(self, _exchange: Exchange, target: Target) -> Reply:
        """Metadata of a model, or of a version of it."""
        deadline = self._offered.inference.deadline()
        found = await self._offered.model_metadata(target.name, parse_version(target.version), deadline)
        return json_reply(found.to_json())

    async def model_ready(self, _exchange: Exchange, target: Target) -> Reply:
        """Whether a model, or a version of it, answers requests."""
        if self._offered.model_ready(target.name, parse_version(target.version)):
            return json_reply({"name": target.name, "ready": True})
        return json_reply({"name": target.name, "ready": False, "error": "Model version not ready"}, _NOT_READY)

    async def config(self, _exchange: Exchange, target: Target) -> Reply:
        """The configuration of a model, as Triton writes it."""
        deadline = self._offered.inference.deadline()
        return json_reply(await self._offered.model_config(target.name, parse_version(target.version), deadline))

    async def statistics(self, _exchange: Exchange, target: Target) -> Reply:
        """Counters of all models, of one, or of a version of it."""
        return json_reply(await self._offered.statistics.model_statistics(target.name, target.version))
