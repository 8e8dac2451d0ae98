"""SageMaker's calls for endpoints of many models: load, list, describe and unload. All of them are control routes."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

from tensorhost.codecs import JsonObject
from tensorhost.core.errors import ModelNotFoundError, NotFoundError
from tensorhost.core.ids import check_name, version_key
from tensorhost.frontends.authorisation import authorise_http, control_is_open
from tensorhost.frontends.http.exchange import Exchange, Reply, json_reply
from tensorhost.frontends.native.fields import required_text
from tensorhost.frontends.permitted_paths import permitted_path
from tensorhost.inference import Group
from tensorhost.models.adding import check_absent, serves
from tensorhost.models.manager import ModelManager
from tensorhost.models.records import ModelRecord
from tensorhost.settings import Settings

_FIELDS = frozenset({"model_name", "url"})
_VERSION = re.compile(r"[0-9]{1,19}", re.ASCII)
_DEEPEST = 3
"""Levels of folders that are looked through for versions."""


class MultiModel:
    """Answers the calls.

    Args:
        manager: knows the models.
        settings: who may call, and which paths may be named.
        group: loads and unloads.
    """

    def __init__(self, manager: ModelManager, settings: Settings, group: Group) -> None:
        self._manager = manager
        self._settings = settings
        self._group = group

    async def load(self, exchange: Exchange) -> Reply:
        """``POST /models``: answers when the model serves.

        Raises AlreadyLoadedError where it does already, also by another such call that came just before.
        """
        self._authorise(exchange)
        body = JsonObject.parse(await exchange.body(), max_depth=self._settings.max_json_depth)
        fields = body.fields(_FIELDS, deferred=())
        name, url = check_name(required_text(fields, "model_name")), required_text(fields, "url")
        exchange.subject = name, None
        check_absent(self._manager.models(), name)
        found = await asyncio.to_thread(_find, permitted_path(self._settings, url, "url"))
        if found is None:
            raise NotFoundError("There is nothing at 'url'.")
        path, version = found
        await self._group.add_model(name, path, version)
        return json_reply(_described(self._manager.model(name)))

    async def list(self, exchange: Exchange) -> Reply:
        """``GET /models``: those that serve, all on one page."""
        self._authorise(exchange)
        models = self._manager.models()
        return json_reply({"models": [_described(models[name]) for name in sorted(models) if self.serves(name)]})

    async def describe(self, exchange: Exchange) -> Reply:
        """``GET /models/NAME``."""
        self._authorise(exchange)
        return json_reply(_described(self._known(exchange)))

    async def unload(self, exchange: Exchange) -> Reply:
        """``DELETE /models/NAME``: answers when the memory is back."""
        self._authorise(exchange)
        await self._group.unload_model(self._known(exchange).name)
        return json_reply({})

    def serves(self, name: str) -> bool:
        """Whether a version of the model answers requests."""
        return serves(self._manager.models(), name)

    def _authorise(self, exchange: Exchange) -> None:
        # The platform has no token to send. Whoever lets it in without one says so with the same setting as over gRPC.
        if not control_is_open(self._settings):
            authorise_http(self._settings, exchange.headers)

    def _known(self, exchange: Exchange) -> ModelRecord:
        name = exchange.path_values["name"]
        if not self.serves(name):
            raise ModelNotFoundError(f"Model {name[:128]} is not loaded.")
        return self._manager.model(name)


def _find(path: Path) -> tuple[Path, str | None] | None:
    """Where the newest version below ``path`` lies, and its name where it has one; None where there is nothing.

    SageMaker unpacks archives as they were made: with a model, its versions, or one more folder around those.
    """
    for _ in range(_DEEPEST):
        if not path.is_dir():
            break
        # A link could lead out of where paths may lie.
        folders = [child for child in path.iterdir() if child.is_dir() and not child.is_symlink()]
        versions = [child for child in folders if _VERSION.fullmatch(child.name)]
        if versions:
            newest = max(versions, key=lambda child: version_key(child.name))
            return newest, newest.name
        if len(folders) != 1 or any(child.is_file() for child in path.iterdir()):
            break
        path = folders[0]
    return (path, None) if path.exists() else None


def _described(model: ModelRecord) -> dict[str, str]:
    return {"modelName": model.name, "modelUrl": str(model.folder)}
