"""Loading ``.keras`` files (Keras 3), which ``tracing`` then turns into a runtime.

Safe mode is always on and nothing a request or a file says can turn it off; the archive is checked before Keras opens
it.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from tensorhost.core.errors import ModelFailedError
from tensorhost.runtimes.base import LoadOptions, Runtime
from tensorhost.runtimes.keras.archive import check_archive
from tensorhost.runtimes.keras.package import keras_module
from tensorhost.runtimes.keras.tracing import serve_keras_model
from tensorhost.runtimes.tensorflow.errors import is_out_of_memory, load_error
from tensorhost.runtimes.tensorflow.process import tensorflow


def load_keras_file(path: Path, options: LoadOptions) -> Runtime:
    """Load the ``.keras`` file at ``path``.

    Raises:
        ModelFailedError: the archive is damaged or too large unpacked, needs code that safe mode refuses, or was
            written by legacy Keras.
        RuntimeMissingError: TensorFlow or Keras is not installed.
        OutOfMemoryError: the model does not fit.
    """
    check_archive(path)
    tf = tensorflow(options)
    keras = keras_module()
    return serve_keras_model(tf, keras, lambda: _deserialise(tf, keras, path), options)


def _deserialise(tf: Any, keras: Any, path: Path) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # what a hostile archive makes Keras raise is not enumerable
        if is_out_of_memory(tf, error):
            raise load_error(tf, error) from error
        raise ModelFailedError(_explain(str(error)), log_detail=f"{type(error).__name__}: {error}") from error


def _explain(message: str) -> str:
    """One sentence for what Keras says in many."""
    lowered = message.lower()
    if "lambda" in lowered or "safe_mode" in lowered or "unsafe" in lowered:
        return "The model holds Python code (such as a Lambda layer), which tensorhost does not run."
    if "could not locate class" in lowered or "custom" in lowered or "could not locate function" in lowered:
        return "The model uses a class or function that Keras itself does not have; tensorhost loads no custom code."
    return "Keras cannot load the file: it is damaged or made by an incompatible version."
