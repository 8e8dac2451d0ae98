"""Ray Serve with ``serve.batch`` as its documentation shows it: one replica behind one proxy, for HTTP and gRPC.

Usage: ``ray_server.py SAVED_MODEL PORT GRPC_PORT CORES``. A replica takes five requests at a time by default, which
would keep batches at five; the documentation says to raise that with the batch size. Over gRPC it serves whatever
service it is given: here the Open Inference Protocol's, of which Triton's client has the generated code. Annotations
are postponed: Ray pickles the class, and the message's class in one cannot be.
"""

from __future__ import annotations

import signal
import sys
import tempfile
from typing import Any

import numpy as np
import ray
import tensorflow as tf
from ray import serve
from starlette.requests import Request
from tritonclient.grpc import service_pb2

MAX_BATCH_SIZE = 32
BATCH_WAIT_S = 0.001
MAX_ONGOING_REQUESTS = 256
OBJECT_STORE_BYTES = 256 * 1024 * 1024
SERVICER = "tritonclient.grpc.service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server"


@serve.deployment(max_ongoing_requests=MAX_ONGOING_REQUESTS)
class SavedModel:
    """One row per request."""

    def __init__(self, saved_model: str) -> None:
        self.model = tf.saved_model.load(saved_model)
        self.infer = self.model.signatures["serving_default"]
        ((self.input_name, spec),) = self.infer.structured_input_signature[1].items()
        (self.output_name,) = self.infer.structured_outputs
        self.dtype = spec.dtype.as_numpy_dtype

    @serve.batch(max_batch_size=MAX_BATCH_SIZE, batch_wait_timeout_s=BATCH_WAIT_S)
    async def predict(self, rows: list[np.ndarray[Any, Any]]) -> list[np.ndarray[Any, Any]]:
        outputs = self.infer(**{self.input_name: tf.constant(np.stack(rows))})
        return list(outputs[self.output_name].numpy())

    async def __call__(self, request: Request) -> dict[str, Any]:
        body = await request.json()
        output = await self.predict(np.array(body["inputs"][0], self.dtype))
        return {"predictions": [output.tolist()]}

    async def ModelInfer(self, request: service_pb2.ModelInferRequest) -> service_pb2.ModelInferResponse:  # noqa: N802 - the method's name
        row = np.frombuffer(request.raw_input_contents[0], self.dtype).reshape(request.inputs[0].shape[1:])
        output = await self.predict(row)
        response = service_pb2.ModelInferResponse(model_name=request.model_name, id=request.id)
        response.outputs.add(name=self.output_name, datatype="FP32", shape=(1, *output.shape))
        response.raw_output_contents.append(output.tobytes())
        return response


if __name__ == "__main__":
    saved_model, port, grpc_port, cores = sys.argv[1:]
    ray.init(
        num_cpus=int(cores),
        object_store_memory=OBJECT_STORE_BYTES,
        include_dashboard=False,
        _temp_dir=tempfile.gettempdir(),
    )
    serve.start(
        http_options={"host": "127.0.0.1", "port": int(port)},
        grpc_options={"port": int(grpc_port), "grpc_servicer_functions": [SERVICER]},
        logging_config={"enable_access_log": False},
    )
    serve.run(SavedModel.bind(saved_model), route_prefix="/predict", logging_config={"enable_access_log": False})
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    serve.shutdown()
    ray.shutdown()
