"""The Keras package, imported when the first model needs it, with TensorFlow under it."""

from __future__ import annotations

import importlib
import os
from typing import Any

from tensorhost.core.errors import ModelFailedError, RuntimeMissingError


def keras_module() -> Any:
    """The ``keras`` module. Import TensorFlow first, through ``tensorflow.process``.

    Raises:
        RuntimeMissingError: Keras is not installed.
        ModelFailedError: the user has set Keras to run on something else than TensorFlow.
    """
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    try:
        keras = importlib.import_module("keras")
    except ImportError as error:
        raise RuntimeMissingError(
            "Loading a Keras model needs Keras 3: pip install 'tensorhost[tensorflow]'."
        ) from error
    if keras.backend.backend() != "tensorflow":
        raise ModelFailedError(f"Keras is set to run on {keras.backend.backend()}; tensorhost needs it on tensorflow.")
    return keras
