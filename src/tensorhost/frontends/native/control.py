"""Loading, unloading and labelling over HTTP: who may, and from where."""

from __future__ import annotations

from typing import Any

from tensorhost.codecs import JsonObject
from tensorhost.core.ids import check_name
from tensorhost.frontends.authorisation import authorise_http
from tensorhost.frontends.http.exchange import Exchange, Reply, json_reply
from tensorhost.frontends.native.descriptions import describe_model, describe_version
from tensorhost.frontends.native.fields import optional_text, required_text
from tensorhost.frontends.permitted_paths import permitted_path
from tensorhost.inference import Group
from tensorhost.models.manager import ModelManager
from tensorhost.settings import Settings

LOAD_FIELDS = frozenset({"version", "path"})
UNLOAD_FIELDS = frozenset({"version"})
LABEL_FIELDS = frozenset({"label", "version"})


class Control:
    """The control routes.

    Args:
        manager: knows the models.
        settings: the admin token, the address bound, the roots a path may lie under.
        group: loads and unloads.
    """

    def __init__(self, manager: ModelManager, settings: Settings, group: Group) -> None:
        self._manager = manager
        self._group = group
        self._settings = settings

    async def load(self, exchange: Exchange) -> Reply:
        """``POST /models/{name}/load``: answers when the version serves, or with why it does not."""
        authorise_http(self._settings, exchange.headers)
        name = check_name(exchange.path_values["name"])
        fields = await self._fields(exchange, LOAD_FIELDS)
        version, path = optional_text(fields, "version"), optional_text(fields, "path")
        source = None if path is None else permitted_path(self._settings, path)
        await self._group.load_model(name, source, version)
        model = self._manager.model(name)
        if version is None:
            return json_reply(describe_model(model))
        return json_reply(describe_version(model, self._manager.version(name, version)))

    async def unload(self, exchange: Exchange) -> Reply:
        """``POST /models/{name}/unload``: answers when the memory is back."""
        authorise_http(self._settings, exchange.headers)
        name = check_name(exchange.path_values["name"])
        version = optional_text(await self._fields(exchange, UNLOAD_FIELDS), "version")
        if version is not None:
            check_name(version, "version")
        await self._group.unload_model(name, version)
        return json_reply({"name": name, "version": version, "state": "END"})

    async def label(self, exchange: Exchange) -> Reply:
        """``POST /models/{name}/labels``: makes a label point to a version, or no longer."""
        authorise_http(self._settings, exchange.headers)
        name = check_name(exchange.path_values["name"])
        fields = await self._fields(exchange, LABEL_FIELDS)
        label, version = required_text(fields, "label"), optional_text(fields, "version")
        await self._group.label_version(name, check_name(label, "label"), version)
        return json_reply(describe_model(self._manager.model(name)))

    async def _fields(self, exchange: Exchange, allowed: frozenset[str]) -> dict[str, Any]:
        exchange.check_is_json()
        body = await exchange.body()
        if not body:
            return {}
        return JsonObject.parse(body, max_depth=self._settings.max_json_depth).fields(allowed, deferred=())
