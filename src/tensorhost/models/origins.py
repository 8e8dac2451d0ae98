"""Where a manager's models come from: a repository, or a list of models."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, overload

from tensorhost.models.base_paths import BasePaths
from tensorhost.models.listed import ModelList
from tensorhost.models.repository import Look, ModelOnDisk, Scan, scan
from tensorhost.models.sightings import Sightings


class Origin(Protocol):
    """What a manager looks at."""

    def scan(self, look: Look) -> Scan:
        """What is there now. One call at a time; blocks."""


class Repository:
    """The models that lie at one path, see ``repository.scan``."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._seen: Sightings[ModelOnDisk] = Sightings()

    def scan(self, look: Look) -> Scan:
        """What is there now."""
        return scan(self.root, now=look.now, settle_s=look.settle_s, seen=self._seen, prefer_tflite=look.prefer_tflite)


@overload
def origin_of(repository: Path, models: ModelList | None) -> Origin: ...
@overload
def origin_of(repository: Path | None, models: ModelList | None) -> Origin | None: ...
def origin_of(repository: Path | None, models: ModelList | None) -> Origin | None:
    """The models of a list where there is one, else those that lie at a path; None for none."""
    if models is not None:
        return BasePaths(models)
    return None if repository is None else Repository(repository)
