"""mosec, its front end in Rust, with dynamic batching as its documentation shows it: one worker, JSON in and out.

Usage: ``mosec_server.py --port PORT --address 127.0.0.1``, with the SavedModel's path in ``SAVED_MODEL``: workers are
started anew from this file and see no arguments.
"""

import os
from typing import Any

import numpy as np
import tensorflow as tf
from mosec import Server, Worker

MAX_BATCH_SIZE = 32
MAX_WAIT_MS = 1


class SavedModel(Worker):
    """One row per request; ``forward`` gets a list of parsed bodies."""

    def __init__(self) -> None:
        super().__init__()
        self.model = tf.saved_model.load(os.environ["SAVED_MODEL"])
        self.infer = self.model.signatures["serving_default"]
        ((self.input_name, spec),) = self.infer.structured_input_signature[1].items()
        (self.output_name,) = self.infer.structured_outputs
        self.dtype = spec.dtype.as_numpy_dtype

    def forward(self, data: list[dict[str, Any]]) -> list[dict[str, Any]]:
        rows = np.array([request["inputs"][0] for request in data], self.dtype)
        outputs = self.infer(**{self.input_name: tf.constant(rows)})
        return [{"predictions": [row]} for row in outputs[self.output_name].numpy().tolist()]


if __name__ == "__main__":
    server = Server()
    server.append_worker(SavedModel, max_batch_size=MAX_BATCH_SIZE, max_wait_time=MAX_WAIT_MS, route="/predict")
    server.run()
