"""Every format of model behind three calls: what is it, is it all there, load it.

Imports no runtime until a model of its format is loaded.
"""

from __future__ import annotations

import importlib
from pathlib import Path

from tensorhost.core.errors import ModelFailedError, UnsupportedModelError
from tensorhost.runtimes.base import Loader, LoadOptions, ModelFormat, Runtime, RuntimeName
from tensorhost.runtimes.completeness import missing_files
from tensorhost.runtimes.detection import detect_format, locate_model
from tensorhost.runtimes.installed import is_installed

__all__ = ["detect_format", "is_direct", "load", "locate_model", "missing_files", "refuse_runtime"]

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
_DIRECT_LOADERS = {
    ModelFormat.SAVED_MODEL: "tensorhost.runtimes.openvino.loader:load_saved_model",
    ModelFormat.TFLITE: "tensorhost.runtimes.openvino.tflite:load_tflite_file",
}
"""Formats that OpenVINO reads as they are."""


def is_direct(model_format: ModelFormat | None, options: LoadOptions) -> bool:
    """Whether OpenVINO reads the model's files as they are, since the format's own runtime is not installed."""
    return (
        model_format in _DIRECT_LOADERS
        and options.runtime in (RuntimeName.AUTO, RuntimeName.OPENVINO)
        and not is_installed(RuntimeName.native_of(model_format))
        and is_installed(RuntimeName.OPENVINO)
    )


def load(path: Path, options: LoadOptions) -> Runtime:
    """Load the model at ``path`` with the runtime of its format; blocks for as long as that takes.

    Where that is not installed, OpenVINO reads the formats that it can.

    Raises:
        UnsupportedModelError: ``options.runtime`` names the runtime of another format.
        ModelFailedError: nothing recognised, or files the runtime refuses.
        RuntimeMissingError: the package that executes the format is not installed.
        OutOfMemoryError: the model does not fit.
    """
    found = locate_model(path)
    if found is None:
        raise ModelFailedError(f"No model was found; expected {_LOOKED_FOR}.", log_detail=f"path: {path}")
    location, model_format = found
    if is_direct(model_format, options):
        return _loader(_DIRECT_LOADERS[model_format])(location, options)
    refuse_runtime(model_format, options)
    return _loader(_LOADERS[model_format])(location, options)


def refuse_runtime(model_format: ModelFormat, options: LoadOptions) -> None:
    """Raise UnsupportedModelError where ``options`` ask for TensorFlow for a format it does not read."""
    if options.runtime is RuntimeName.TENSORFLOW and model_format is ModelFormat.TFLITE:
        raise UnsupportedModelError(
            "TensorFlow does not serve TensorFlow Lite files (runtime = tensorflow); native, auto, litert, openvino do."
        )


def _loader(name: str) -> Loader:
    module, _, function = name.partition(":")
    loader: Loader = getattr(importlib.import_module(module), function)
    return loader
