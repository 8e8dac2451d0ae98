"""Loading whole models from HDF5 files (``.h5``, ``.hdf5``), of Keras 2 and Keras 3.

The file is looked through before anything is read from it, and its configuration walked for code. A model of Keras 2
is rebuilt with Keras 3 from a translated configuration and given its weights; one of Keras 3 is left to Keras.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tensorhost.runtimes.base import LoadOptions, ModelFormat, Runtime
from tensorhost.runtimes.keras.configuration import H5_SHOWN, read_saved
from tensorhost.runtimes.keras.hdf5 import opened
from tensorhost.runtimes.keras.legacy_h5 import load_weights
from tensorhost.runtimes.keras.package import keras_module
from tensorhost.runtimes.keras.reading import legacy_model, modern_model, read_model
from tensorhost.runtimes.keras.safety import refuse_code
from tensorhost.runtimes.keras.tracing import serve_keras_model
from tensorhost.runtimes.keras.variable_limit import variables_within
from tensorhost.runtimes.keras.weight_count import stored_numbers
from tensorhost.runtimes.tensorflow.process import tensorflow


def load_keras_h5(path: Path, options: LoadOptions) -> Runtime:
    """Load the HDF5 file at ``path``.

    Raises:
        ModelFailedError: the file is damaged, far too large unpacked, leads to other files, holds weights only, or
            weights that do not fit its model.
        UnsupportedModelError: it needs code the operator has not allowed, or a layer that Keras 3 cannot compute.
        RuntimeMissingError: TensorFlow or Keras is not installed.
        OutOfMemoryError: the model does not fit.
    """
    saved = read_saved(path, ModelFormat.KERAS_H5)
    tf = tensorflow(options)
    keras = keras_module()
    custom_objects = refuse_code(saved.configuration, keras, options)

    def read() -> Any:
        with opened(path, H5_SHOWN) as file:
            stored = stored_numbers(file)
        with variables_within(tf, stored):
            if not saved.is_legacy:
                return modern_model(keras, path, custom_objects, options)
            model = legacy_model(keras, saved, options)
        with opened(path, H5_SHOWN) as file:
            load_weights(model, file)
        return model

    return serve_keras_model(tf, keras, lambda: read_model(tf, options, read), options)
