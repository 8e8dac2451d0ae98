"""What of a server's settings is for one of its workers."""

from __future__ import annotations

import contextlib
import tempfile
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from pydantic import ByteSize

from tensorhost.settings import Settings


def scratch_folder(settings: Settings) -> AbstractContextManager[str]:
    """A folder for as long as the server lives, where the settings keep nothing beyond that."""
    if settings.cache_size:
        return contextlib.nullcontext("")
    return tempfile.TemporaryDirectory(prefix="tensorhost-trials-", ignore_cleanup_errors=True)


def worker_settings(settings: Settings, count: int, scratch: Path) -> Settings:
    """The settings of one worker of ``count``.

    What bounds the memory of all models is divided. What trying a model has shown is kept where all find it: where the
    settings keep nothing longer, in ``scratch``.
    """
    changed: dict[str, Any] = {}
    if settings.memory_budget is not None:
        changed["memory_budget"] = ByteSize(max(settings.memory_budget // count, 1))
    if not settings.cache_size:
        changed |= {"cache_dir": scratch, "cache_size": Settings.model_fields["cache_size"].default}
    return settings.model_copy(update=changed)
