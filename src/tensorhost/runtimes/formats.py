"""Every format of model behind three calls: what is it, is it all there, load it.

Imports no runtime until a model of its format is loaded.
"""

from __future__ import annotations

import importlib
from pathlib import Path

from tensorhost.core.errors import ModelFailedError
from tensorhost.runtimes.base import Loader, LoadOptions, ModelFormat, Runtime
from tensorhost.runtimes.completeness import missing_files
from tensorhost.runtimes.detection import detect_format, locate_model

__all__ = ["detect_format", "load", "locate_model", "missing_files"]

_LOOKED_FOR = (
    "a SavedModel folder (saved_model.pb), a frozen graph (.pb), or one .keras, .h5, .tflite or TensorFlow.js "
    "model.json file"
)
_LOADERS = {
    ModelFormat.SAVED_MODEL: "tensorhost.runtimes.tensorflow.saved_model:load_saved_model",
    ModelFormat.GRAPH_DEF: "tensorhost.runtimes.tensorflow.graph_def:load_graph_def",
    ModelFormat.KERAS: "tensorhost.runtimes.keras.loader:load_keras_file",
    ModelFormat.KERAS_H5: "tensorhost.runtimes.keras.h5:load_keras_h5",
    ModelFormat.TFJS: "tensorhost.runtimes.tfjs.loader:load_tfjs",
    ModelFormat.TFLITE: "tensorhost.runtimes.litert.loader:load_tflite",
}


def load(path: Path, options: LoadOptions) -> Runtime:
    """Load the model at ``path`` with the runtime of its format; blocks for as long as that takes.

    Raises:
        ModelFailedError: nothing recognised, or files the runtime refuses.
        RuntimeMissingError: the package that executes the format is not installed.
        OutOfMemoryError: the model does not fit.
    """
    found = locate_model(path)
    if found is None:
        raise ModelFailedError(f"No model was found; expected {_LOOKED_FOR}.", log_detail=f"path: {path}")
    location, model_format = found
    return _loader(model_format)(location, options)


def _loader(model_format: ModelFormat) -> Loader:
    module, _, function = _LOADERS[model_format].partition(":")
    loader: Loader = getattr(importlib.import_module(module), function)
    return loader
