"""A look at the models of a list: which versions their base paths hold.

A version is a folder named by a whole number; what has another name is not looked at. Like ``repository.scan``, a look
loads nothing and raises nothing: a folder that is missing or empty is that model's problem and no other's.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

from tensorhost.models.listed import ListedModel, ModelList, version_of
from tensorhost.models.repository import UNREADABLE, Look, ModelOnDisk, Scan, VersionOnDisk, children
from tensorhost.models.sightings import Sightings
from tensorhost.telemetry import get_logger

_NO_FOLDER = "The model's base path does not exist or cannot be read."
_NO_VERSIONS = "There is no version in the model's base path: no folder is named by a whole number, such as 1."

log = get_logger(__name__)


class BasePaths:
    """The base paths of a list, looked at again and again."""

    def __init__(self, models: ModelList) -> None:
        self.models = models
        self._seen: Sightings[VersionOnDisk] = Sightings()
        self._doubles: set[Path] = set()

    def scan(self, look: Look) -> Scan:
        """What is there now. One call at a time; blocks."""
        found = Scan()
        self._seen.begin()
        for model in self.models:
            found.models[model.name] = self._look_at(model, look)
        self._seen.end()
        return found

    def _look_at(self, model: ListedModel, look: Look) -> ModelOnDisk:
        try:
            folders = self._version_folders(model.base_path)
            on_disk = look.model(model.name, model.base_path, folders, partial(self._version, look))
        except UNREADABLE:
            return ModelOnDisk(model.name, model.base_path, problem=_NO_FOLDER, readable=False, listed=model)
        return replace(on_disk, problem=on_disk.problem if folders else _NO_VERSIONS, listed=model)

    def _version_folders(self, base_path: Path) -> dict[str, Path]:
        folders: dict[str, Path] = {}
        for child in children(base_path):
            version = version_of(child.name)
            if version is None or not child.is_dir():
                continue
            if version in folders and child not in self._doubles:
                log.warning("two folders are one version; the last is served", path=str(child), version=version)
                self._doubles.add(child)
            folders[version] = child
        return folders

    def _version(self, look: Look, version: str, path: Path, settings: str) -> VersionOnDisk:
        found = self._seen.find(path, look.now, partial(look.version, version, path, settings), _is_sound)
        # The model's own settings may have changed where the version's files have not.
        return found if found.settings == settings else replace(found, settings=settings)


def _is_sound(version: VersionOnDisk) -> bool:
    return not version.problem
