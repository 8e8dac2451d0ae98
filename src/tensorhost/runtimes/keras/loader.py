"""Loading ``.keras`` files, which ``tracing`` then turns into a runtime.

The archive and the weights within are looked through before Keras opens them, and the configuration walked for code.
A model of Keras 3 is left to Keras; one of Keras 2 is rebuilt from a translated configuration and given its weights.
What must stay true: nothing a request or a file says can turn Keras's safe mode off.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from tensorhost.runtimes.base import LoadOptions, ModelFormat, Runtime
from tensorhost.runtimes.keras.archive import opened_archive, unpack_member
from tensorhost.runtimes.keras.configuration import read_saved
from tensorhost.runtimes.keras.hdf5 import opened
from tensorhost.runtimes.keras.legacy_archive import load_weights
from tensorhost.runtimes.keras.package import keras_module
from tensorhost.runtimes.keras.reading import legacy_model, modern_model, read_model
from tensorhost.runtimes.keras.safety import refuse_code
from tensorhost.runtimes.keras.tracing import serve_keras_model
from tensorhost.runtimes.keras.variable_limit import variables_within
from tensorhost.runtimes.keras.weight_count import stored_numbers
from tensorhost.runtimes.tensorflow.process import tensorflow

_WEIGHTS = "model.weights.h5"
_WEIGHTS_SHOWN = "The file of weights in the .keras file"


def load_keras_file(path: Path, options: LoadOptions) -> Runtime:
    """Load the ``.keras`` file at ``path``.

    Raises:
        ModelFailedError: the archive is damaged, far too large unpacked or leads to other files, or its weights do
            not fit its model, which may claim no more than them.
        UnsupportedModelError: it needs code the operator has not allowed, or a layer that Keras 3 cannot compute.
        RuntimeMissingError: TensorFlow or Keras is not installed.
        OutOfMemoryError: the model does not fit.
    """
    saved = read_saved(path, ModelFormat.KERAS)
    tf = tensorflow(options)
    keras = keras_module()
    custom_objects = refuse_code(saved.configuration, keras, options)

    def read() -> Any:
        with tempfile.TemporaryDirectory(prefix="tensorhost-") as folder, opened_archive(path) as archive:
            weights = Path(folder, _WEIGHTS)
            unpack_member(archive, _WEIGHTS, weights)
            with opened(weights, _WEIGHTS_SHOWN) as file:
                stored = stored_numbers(file)
                if saved.is_legacy:
                    with variables_within(tf, stored):
                        model = legacy_model(keras, saved, options)
                    load_weights(model, saved.configuration, archive, file, Path(folder))
                    return model
        with variables_within(tf, stored):
            return modern_model(keras, path, custom_objects, options)

    return serve_keras_model(tf, keras, lambda: read_model(tf, options, read), options)
