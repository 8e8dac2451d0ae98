"""Loading a model that does not serve yet, or not at all: what one who counts models needs, as SageMaker does.

Elsewhere a load of what serves already is done at once, and one that failed is tried again. What must stay true: after
a failure nothing of the model is loaded later on its own account.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from tensorhost.core.errors import (
    AlreadyLoadedError,
    ModelFailedError,
    ModelNotFoundError,
    ModelNotReadyError,
    OutOfMemoryError,
    RuntimeMissingError,
)
from tensorhost.models.records import ModelRecord

_FAILED = (ModelFailedError, ModelNotReadyError, OutOfMemoryError, RuntimeMissingError)


class Loads(Protocol):
    """What loads and unloads models: the manager."""

    def models(self) -> Mapping[str, ModelRecord]:
        """Every model known."""

    async def load_model(self, name: str, source: Path | None = None, version: str | None = None) -> None:
        """Load a version and wait until it serves."""

    async def unload_model(self, name: str, version: str | None = None) -> None:
        """Unload all of a model and wait until the memory is back."""


def serves(models: Mapping[str, ModelRecord], name: str) -> bool:
    """Whether a version of the model answers requests."""
    model = models.get(name)
    return model is not None and any(record.available for record in model.versions.values())


def check_absent(models: Mapping[str, ModelRecord], name: str) -> None:
    """Raise AlreadyLoadedError where the model serves."""
    if serves(models, name):
        raise AlreadyLoadedError(f"Model {name} is already loaded.", details={"model": name})


async def add_model(manager: Loads, name: str, source: Path | None, version: str | None) -> None:
    """``ModelManager.load_model``, for a model that does not serve yet. Two calls about one model must not overlap.

    Raises AlreadyLoadedError where it does, else as that; nothing of what failed is tried again.
    """
    check_absent(manager.models(), name)
    try:
        await manager.load_model(name, source, version)
    except _FAILED:
        with contextlib.suppress(ModelNotFoundError):
            await manager.unload_model(name)
        raise
