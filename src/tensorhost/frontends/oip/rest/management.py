"""Routes that change something, or show what may be changed: the repository, settings, shared memory."""

from __future__ import annotations

from typing import Any

from tensorhost.codecs import JsonObject
from tensorhost.frontends.http.exchange import Exchange, Reply, json_reply
from tensorhost.frontends.oip import faults
from tensorhost.frontends.oip.open_inference import OpenInference
from tensorhost.frontends.oip.rest.replies import empty_reply
from tensorhost.frontends.oip.rest.targets import Target
from tensorhost.inference.regions import Region


class Management:
    """The routes; who may use them has been settled before.

    Args:
        offered: the protocol's calls.
    """

    def __init__(self, offered: OpenInference) -> None:
        self._offered = offered
        self._max_depth = offered.settings.max_json_depth

    async def index(self, exchange: Exchange, target: Target) -> Reply:
        """Every version of every model; with ``{"ready": true}`` those that serve."""
        ready = (await self._fields(exchange, "ready")).get("ready", False)
        if not isinstance(ready, bool):
            raise faults.invalid_parameter("ready", "true or false")
        entries = self._offered.repository.index(ready=ready, repository=_repository(target))
        return json_reply([entry.to_json() for entry in entries])

    async def load(self, exchange: Exchange, target: Target) -> Reply:
        """Answers when the model serves, or with why it does not."""
        parameters = await self._parameters(exchange)
        await self._offered.repository.load(target.name, parameters, _repository(target))
        return empty_reply()

    async def unload(self, exchange: Exchange, target: Target) -> Reply:
        """Answers when the memory is back."""
        await self._parameters(exchange)
        await self._offered.repository.unload(target.name, _repository(target))
        return empty_reply()

    async def trace(self, _exchange: Exchange, target: Target) -> Reply:
        """The trace settings, the same for every model."""
        self._check_model(target)
        return json_reply(self._offered.server_settings.trace())

    async def update_trace(self, exchange: Exchange, target: Target) -> Reply:
        """Nothing of them may change; what they are already is accepted."""
        self._check_model(target)
        wanted = await self._all_fields(exchange)
        return json_reply(self._offered.server_settings.update_trace(wanted))

    async def logging(self, _exchange: Exchange, _target: Target) -> Reply:
        """The logging settings."""
        return json_reply(self._offered.server_settings.logging())

    async def update_logging(self, exchange: Exchange, _target: Target) -> Reply:
        """Change which records are written."""
        wanted = await self._all_fields(exchange)
        return json_reply(await self._offered.server_settings.update_logging(wanted))

    async def shared_status(self, _exchange: Exchange, target: Target) -> Reply:
        """The regions of shared memory that are registered."""
        return json_reply(self._offered.shared_memory.status(target.values.get("region", "")))

    async def shared_register(self, exchange: Exchange, target: Target) -> Reply:
        """Make a part of shared memory known."""
        fields = await self._fields(exchange, "key", "offset", "byte_size")
        key, offset, size = fields.get("key"), fields.get("offset", 0), fields.get("byte_size")
        if not isinstance(key, str):
            raise faults.invalid_parameter("key", "a string")
        if isinstance(offset, bool) or not isinstance(offset, int):
            raise faults.invalid_parameter("offset", "a number of bytes")
        if isinstance(size, bool) or not isinstance(size, int):
            raise faults.invalid_parameter("byte_size", "a number of bytes")
        await self._offered.shared_memory.register(Region(target.values["region"], key, offset, size))
        return empty_reply()

    async def shared_unregister(self, _exchange: Exchange, target: Target) -> Reply:
        """Forget a region, or all of them."""
        await self._offered.shared_memory.unregister(target.values.get("region", ""))
        return empty_reply()

    async def cuda_status(self, _exchange: Exchange, _target: Target) -> Reply:
        """No region of CUDA shared memory is ever registered."""
        return json_reply([])

    async def cuda_register(self, _exchange: Exchange, _target: Target) -> Reply:
        """Refused."""
        raise faults.no_cuda()

    async def cuda_unregister(self, _exchange: Exchange, _target: Target) -> Reply:
        """Nothing to forget: clients ask for it before they use any kind of shared memory."""
        return empty_reply()

    def _check_model(self, target: Target) -> None:
        if target.name and target.name not in self._offered.engine.manager.models():
            raise faults.unknown_model(target.name)

    async def _parameters(self, exchange: Exchange) -> dict[str, Any]:
        parameters = (await self._fields(exchange, "parameters")).get("parameters")
        if parameters is None:
            return {}
        if not isinstance(parameters, dict):
            raise faults.invalid_parameter("parameters", "an object")
        return parameters

    async def _fields(self, exchange: Exchange, *allowed: str) -> dict[str, Any]:
        body = await exchange.body()
        if not body:
            return {}
        return JsonObject.parse(body, max_depth=self._max_depth).fields(allowed, deferred=())

    async def _all_fields(self, exchange: Exchange) -> dict[str, Any]:
        body = await exchange.body()
        if not body:
            return {}
        document = JsonObject.parse(body, max_depth=self._max_depth)
        return document.fields(document.keys, deferred=())


def _repository(target: Target) -> str:
    return target.values.get("repository", "")
