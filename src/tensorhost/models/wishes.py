"""What operators ask for, as a value: it can be kept, sent to another process and carried out there. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from tensorhost.models.listed import ModelList


class Action(StrEnum):
    """What to do with a model."""

    LOAD = "load"
    ADD = "add"
    """As LOAD, for a model that does not serve yet; one that fails is not tried again."""
    UNLOAD = "unload"
    LABEL = "label"
    RELABEL = "relabel"
    """As LABEL, whatever the version is doing: for what has been decided already."""
    REPLACE = "replace"
    """Serve ``models`` and nothing else; without ``name``."""


@dataclass(frozen=True, slots=True)
class Wish:
    """One call of an operator; what the fields mean, the manager's method of the same name says."""

    action: Action
    name: str
    version: str | None = None
    source: Path | None = None
    label: str | None = None
    models: ModelList = ()
    labels_may_wait: bool = False
