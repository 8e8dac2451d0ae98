"""The life of models: what is on disk, what should be loaded, loading, warming up, lending, unloading."""

from tensorhost.models.manager import ModelManager
from tensorhost.models.states import VersionState

__all__ = ["ModelManager", "VersionState"]
