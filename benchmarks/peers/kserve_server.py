"""KServe's Python server with a custom model as its documentation shows it, asked over its V1 protocol.

Usage: ``kserve_server.py SAVED_MODEL PORT``. It does not batch: in KServe that is done by a sidecar written in Go,
which no Python package contains.
"""

import sys
from typing import Any

import kserve
import numpy as np
import tensorflow as tf


class SavedModel(kserve.Model):
    """``{"instances": rows}`` to ``{"predictions": rows}``."""

    def __init__(self, name: str, saved_model: str) -> None:
        super().__init__(name)
        self.saved_model = saved_model
        self.load()

    def load(self) -> bool:
        self.model = tf.saved_model.load(self.saved_model)
        self.infer = self.model.signatures["serving_default"]
        ((self.input_name, spec),) = self.infer.structured_input_signature[1].items()
        (self.output_name,) = self.infer.structured_outputs
        self.dtype = spec.dtype.as_numpy_dtype
        self.ready = True
        return self.ready

    def predict(self, payload: dict[str, Any], headers: dict[str, str] | None = None) -> dict[str, Any]:  # noqa: ARG002 - the name is the framework's
        rows = np.array(payload["instances"], self.dtype)
        outputs = self.infer(**{self.input_name: tf.constant(rows)})
        return {"predictions": outputs[self.output_name].numpy().tolist()}


if __name__ == "__main__":
    server = kserve.ModelServer(http_port=int(sys.argv[2]), enable_grpc=False, enable_latency_logging=False)
    server.start([SavedModel("model", sys.argv[1])])
