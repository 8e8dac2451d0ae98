"""A gRPC server as one writes it by hand: grpc.aio, the generated servicer, the model called once per request.

``python grpc_aio_server.py SAVED_MODEL PORT`` serves TensorFlow Serving's Predict for one model.
"""

import asyncio
import sys

import grpc
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc


class Servicer(prediction_service_pb2_grpc.PredictionServiceServicer):
    def __init__(self, path):
        self.loaded = tf.saved_model.load(path)
        self.function = self.loaded.signatures["serving_default"]

    async def Predict(self, request, _context):  # noqa: N802 - the generated name
        inputs = {name: tf.constant(tf.make_ndarray(tensor)) for name, tensor in request.inputs.items()}
        response = predict_pb2.PredictResponse()
        response.model_spec.name = request.model_spec.name
        response.model_spec.version.value = 1
        response.model_spec.signature_name = "serving_default"
        for name, value in self.function(**inputs).items():
            response.outputs[name].CopyFrom(tf.make_tensor_proto(value.numpy()))
        return response


async def main():
    path, port = sys.argv[1:]
    server = grpc.aio.server()
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(Servicer(path), server)
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(main())
