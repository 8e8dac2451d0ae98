"""Loading, unloading and labelling over HTTP: who may, and from where."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tensorhost.codecs import JsonObject
from tensorhost.core.errors import InvalidRequestError, PermissionDeniedError
from tensorhost.core.ids import check_name
from tensorhost.frontends.authorisation import Caller, authorise_control
from tensorhost.frontends.http.exchange import Exchange, Reply, json_reply
from tensorhost.frontends.native.descriptions import describe_model, describe_version
from tensorhost.frontends.native.fields import optional_text, required_text
from tensorhost.inference import Group
from tensorhost.models.manager import ModelManager, local_path
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
        self._authorise(exchange)
        name = check_name(exchange.path_values["name"])
        fields = await self._fields(exchange, LOAD_FIELDS)
        version, path = optional_text(fields, "version"), optional_text(fields, "path")
        source = None if path is None else self._permitted(path)
        await self._group.load_model(name, source, version)
        model = self._manager.model(name)
        if version is None:
            return json_reply(describe_model(model))
        return json_reply(describe_version(model, self._manager.version(name, version)))

    async def unload(self, exchange: Exchange) -> Reply:
        """``POST /models/{name}/unload``: answers when the memory is back."""
        self._authorise(exchange)
        name = check_name(exchange.path_values["name"])
        version = optional_text(await self._fields(exchange, UNLOAD_FIELDS), "version")
        if version is not None:
            check_name(version, "version")
        await self._group.unload_model(name, version)
        return json_reply({"name": name, "version": version, "state": "END"})

    async def label(self, exchange: Exchange) -> Reply:
        """``POST /models/{name}/labels``: makes a label point to a version, or no longer."""
        self._authorise(exchange)
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

    def _authorise(self, exchange: Exchange) -> None:
        headers = exchange.headers
        caller = Caller(
            # As UTF-8, which a token may be; other bytes stay what they are, and wrong.
            authorization=headers.get(b"authorization", b"").decode("utf-8", "surrogateescape"),
            header_names={name.decode("latin-1") for name in headers},
            origin=headers.get(b"origin", b"").decode("latin-1"),
            local=self._settings.bound_to_loopback,
        )
        authorise_control(self._settings, caller)

    def _permitted(self, source: str) -> Path:
        """The real path of ``source``, if it lies under the model path or an allowed root."""
        if "\0" in source or "\\" in source:
            raise InvalidRequestError("'path' must not contain a backslash or a zero byte.", details={"field": "path"})
        model_path = self._settings.model_path
        roots = [model_path, *self._settings.allowed_roots]
        try:
            path = local_path(source)
            # Relative paths mean the model path first: that is the folder the client knows about.
            candidates = [path] if path.is_absolute() else [model_path / path, path]
            resolved = [candidate.resolve() for candidate in candidates]
            inside = [
                candidate for candidate in resolved if any(candidate.is_relative_to(root.resolve()) for root in roots)
            ]
            existing = [candidate for candidate in inside if candidate.exists()]
        except (OSError, RuntimeError, ValueError) as error:
            raise InvalidRequestError("'path' is not a valid path.", details={"field": "path"}) from error
        if not inside:
            raise PermissionDeniedError("'path' must lie under the model path or an allowed root.")
        return (existing or inside)[0]
