"""LitServe with its own batching, as its documentation shows it.

Usage: ``litserve_server.py SAVED_MODEL PORT MAX_BATCH_SIZE BATCH_TIMEOUT_MS``. A batch of 1 turns its batching off.
``decode_request`` stays without an annotation, as in the documentation: LitServe reads it, and one would have FastAPI
validate the body first.
"""

import sys
from typing import Any

import litserve
import numpy as np
import tensorflow as tf


class SavedModelAPI(litserve.LitAPI):
    """One row per request; rows are stacked by LitServe."""

    def __init__(self, saved_model: str, max_batch_size: int, batch_timeout_s: float) -> None:
        super().__init__(max_batch_size=max_batch_size, batch_timeout=batch_timeout_s)
        self.saved_model = saved_model

    def setup(self, device: str) -> None:  # noqa: ARG002 - the name is the framework's
        self.model = tf.saved_model.load(self.saved_model)
        self.infer = self.model.signatures["serving_default"]
        ((self.input_name, self.spec),) = self.infer.structured_input_signature[1].items()
        (self.output_name,) = self.infer.structured_outputs

    def decode_request(self, request) -> np.ndarray[Any, Any]:
        return np.array(request["inputs"][0], dtype=self.spec.dtype.as_numpy_dtype)

    def predict(self, rows: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        batched = self.max_batch_size > 1
        outputs = self.infer(**{self.input_name: tf.constant(rows if batched else rows[np.newaxis])})
        array = outputs[self.output_name].numpy()
        return array if batched else array[0]

    def encode_response(self, output: np.ndarray[Any, Any]) -> dict[str, Any]:
        return {"predictions": [output.tolist()]}


if __name__ == "__main__":
    api = SavedModelAPI(sys.argv[1], int(sys.argv[3]), float(sys.argv[4]) / 1e3)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=1)
    server.run(host="127.0.0.1", port=int(sys.argv[2]), generate_client_file=False, log_level="warning")
