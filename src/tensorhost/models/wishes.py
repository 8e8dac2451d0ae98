"""What operators ask for, as a value: it can be kept, sent to another process and carried out there. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class Action(StrEnum):
    """What to do with a model."""

    LOAD = "load"
    UNLOAD = "unload"


@dataclass(frozen=True, slots=True)
class Wish:
    """One call of an operator; see ``ModelManager.load_model`` and ``unload_model`` for what the fields mean."""

    action: Action
    name: str
    version: str | None = None
    source: Path | None = None
