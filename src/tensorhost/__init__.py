"""tensorhost serves trained TensorFlow-family models over HTTP.

From Python::

    async with ModelManager() as manager:
        engine = InferenceEngine(manager)
        await manager.load_model("classifier", "models/classifier/1")
        result = await engine.predict("classifier", [[1.0, 2.0, 3.0]])
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from tensorhost.core.version import __version__

if TYPE_CHECKING:
    from tensorhost.inference import InferenceEngine
    from tensorhost.models import ModelManager
    from tensorhost.pipelines import PreprocessingPipeline
    from tensorhost.telemetry import MetricsCollector

__all__ = ["InferenceEngine", "MetricsCollector", "ModelManager", "PreprocessingPipeline", "__version__"]

_HOMES = {
    "InferenceEngine": "tensorhost.inference",
    "MetricsCollector": "tensorhost.telemetry",
    "ModelManager": "tensorhost.models",
    "PreprocessingPipeline": "tensorhost.pipelines",
}


def __getattr__(name: str) -> Any:
    # Looked up when first used: the command line must not wait for rooms it does not enter.
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'tensorhost' has no attribute '{name}'")
