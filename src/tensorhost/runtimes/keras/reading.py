"""What happens the same way whichever Keras file is loaded: Keras is called, and its errors become ours.

What must stay true: Keras's safe mode is set anew around every load, whatever was set before, and only the operator's
``allow_lambda`` turns it off.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tensorhost.core.errors import ModelFailedError, TensorhostError, UnsupportedModelError
from tensorhost.runtimes.base import LoadOptions
from tensorhost.runtimes.keras.configuration import Saved
from tensorhost.runtimes.keras.legacy_config import modernise
from tensorhost.runtimes.tensorflow.errors import is_out_of_memory, load_error

_CANNOT_LOAD = "Keras cannot load the file: it is damaged or made by an incompatible version."


def read_model(tf: Any, options: LoadOptions, read: Callable[[], Any]) -> Any:
    """The Keras model that ``read`` gives.

    Raises:
        ModelFailedError: ``read`` failed.
        OutOfMemoryError: the model does not fit.
    """
    scope = importlib.import_module("keras.src.saving.serialization_lib").SafeModeScope
    try:
        with warnings.catch_warnings(), scope(not options.allow_lambda):
            warnings.simplefilter("ignore")
            return read()
    except TensorhostError:
        raise
    except Exception as error:  # what a hostile file makes Keras raise is not enumerable
        if is_out_of_memory(tf, error):
            raise load_error(tf, error) from error
        raise ModelFailedError(_CANNOT_LOAD, log_detail=f"{type(error).__name__}: {error}") from error


def modern_model(keras: Any, path: Path, custom_objects: Mapping[str, Any], options: LoadOptions) -> Any:
    """The model in a Keras 3 file, weights included. Raises whatever Keras does."""
    return keras.saving.load_model(
        path, custom_objects=dict(custom_objects), compile=False, safe_mode=not options.allow_lambda
    )


def legacy_model(keras: Any, saved: Saved, options: LoadOptions) -> Any:
    """The Keras 3 model for the configuration of a Keras 2 model, with every weight zero.

    Raises UnsupportedModelError for a model of Keras 1, what ``modernise`` raises, and whatever Keras does.
    """
    if saved.version.startswith(("0.", "1.")):
        raise UnsupportedModelError(
            f"The model was saved by Keras {saved.version[:20]}; only models of Keras 2 and 3 are executed.",
            details={"keras_version": saved.version[:20]},
        )
    modern = modernise(saved.configuration)
    return keras.saving.deserialize_keras_object(modern, safe_mode=not options.allow_lambda)
