"""KServe's Python server with a custom model as its documentation shows it, asked over its V1 and V2 protocols.

Usage: ``kserve_server.py SAVED_MODEL PORT GRPC_PORT``. It does not batch: in KServe that is done by a sidecar written
in Go, which no Python package contains.
"""

import sys
from typing import Any

import kserve
import numpy as np
import tensorflow as tf
from kserve.utils.utils import get_predict_response


class SavedModel(kserve.Model):
    """Over V1 ``{"instances": rows}`` to ``{"predictions": rows}``; over V2 the only input to the only output."""

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

    def predict(
        self,
        payload: dict[str, Any] | kserve.InferRequest,
        headers: dict[str, str] | None = None,  # noqa: ARG002 - the name is the framework's
    ) -> dict[str, Any] | kserve.InferResponse:
        over_v2 = isinstance(payload, kserve.InferRequest)
        rows = payload.inputs[0].as_numpy() if over_v2 else np.array(payload["instances"], self.dtype)
        outputs = self.infer(**{self.input_name: tf.constant(rows)})
        return get_predict_response(payload, outputs[self.output_name].numpy(), self.name)


if __name__ == "__main__":
    http_port, grpc_port = map(int, sys.argv[2:])
    server = kserve.ModelServer(http_port=http_port, grpc_port=grpc_port, enable_latency_logging=False)
    server.start([SavedModel("model", sys.argv[1])])
