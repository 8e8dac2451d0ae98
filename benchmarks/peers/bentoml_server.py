"""BentoML with adaptive batching as its documentation shows it: a batchable API of NumPy arrays, one worker.

Usage: ``bentoml serve bentoml_server:SavedModel --working-dir FOLDER_OF_THIS_FILE --host 127.0.0.1 --port PORT``, with
the SavedModel's path in ``SAVED_MODEL``. The batch size is the one the others have; the latency goal stays at its
default of a minute, since requests that would miss it are refused.
"""

import os

import bentoml
import numpy as np
import tensorflow as tf

MAX_BATCH_SIZE = 32


@bentoml.service(logging={"access": {"enabled": False}})
class SavedModel:
    """The answer is the bare array."""

    def __init__(self) -> None:
        self.model = tf.saved_model.load(os.environ["SAVED_MODEL"])
        self.infer = self.model.signatures["serving_default"]
        ((self.input_name, spec),) = self.infer.structured_input_signature[1].items()
        (self.output_name,) = self.infer.structured_outputs
        self.dtype = spec.dtype.as_numpy_dtype

    @bentoml.api(route="/predict", batchable=True, max_batch_size=MAX_BATCH_SIZE)
    def predict(self, inputs: np.ndarray) -> np.ndarray:
        outputs = self.infer(**{self.input_name: tf.constant(inputs.astype(self.dtype))})
        return outputs[self.output_name].numpy()
