"""Every format of model behind three calls: what is it, is it all there, load it.

Imports no runtime until a model of its format is loaded.
"""

from __future__ import annotations

from pathlib import Path

from tensorhost.core.errors import ModelFailedError, UnsupportedModelError
from tensorhost.runtimes.base import LoadOptions, ModelFormat, Runtime
from tensorhost.runtimes.completeness import missing_files
from tensorhost.runtimes.detection import detect_format, locate_model

__all__ = ["detect_format", "load", "locate_model", "missing_files"]

_LOOKED_FOR = "a SavedModel folder (saved_model.pb), or one .keras, .h5, .tflite or TensorFlow.js model.json file"
_TITLES = {
    ModelFormat.KERAS_H5: "Keras HDF5",
    ModelFormat.TFJS: "TensorFlow.js",
    ModelFormat.TFLITE: "TensorFlow Lite",
}


def load(path: Path, options: LoadOptions) -> Runtime:
    """Load the model at ``path`` with the runtime of its format; blocks for as long as that takes.

    Raises:
        ModelFailedError: nothing recognised, or files the runtime refuses.
        UnsupportedModelError: a format that is recognised and not executed yet.
        RuntimeMissingError: the package that executes the format is not installed.
        OutOfMemoryError: the model does not fit.
    """
    found = locate_model(path)
    if found is None:
        raise ModelFailedError(f"No model was found; expected {_LOOKED_FOR}.", log_detail=f"path: {path}")
    location, model_format = found
    if model_format is ModelFormat.SAVED_MODEL:
        from tensorhost.runtimes.saved_model import load_saved_model

        return load_saved_model(location, options)
    if model_format is ModelFormat.KERAS:
        from tensorhost.runtimes.keras_file import load_keras_file

        return load_keras_file(location, options)
    raise UnsupportedModelError(
        f"This is a model in {_TITLES[model_format]} format: "
        "this format is recognised but this version of tensorhost does not execute it.",
        details={"format": model_format.value},
    )
