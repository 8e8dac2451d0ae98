"""Clients of TensorFlow Serving as its users have them: the stubs of tensorflow-serving-api, unmodified.

Their messages are TensorFlow's own, in protobuf's default pool: whatever of ours they understand, they understand.
"""

from __future__ import annotations

import warnings
from typing import Any, Self

import grpc
import numpy as np

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import tensorflow as tf
    from tensorflow_serving.apis import (
        classification_pb2,
        get_model_metadata_pb2,
        get_model_status_pb2,
        inference_pb2,
        model_management_pb2,
        model_service_pb2_grpc,
        predict_pb2,
        prediction_service_pb2_grpc,
        regression_pb2,
    )

TIMEOUT_S = 30.0

SpecMessage = Any


def tensor(values: Any, dtype: str | None = None) -> tf.core.framework.tensor_pb2.TensorProto:
    """A TensorProto as TensorFlow makes it: numbers as tensor_content, or as a list where there is one of them."""
    return tf.make_tensor_proto(np.array(values, dtype) if dtype else values)


def fill_spec(spec: SpecMessage, model: str, signature: str = "", version: int | None = None, label: str = "") -> None:
    """Fill in a ModelSpec."""
    spec.name, spec.signature_name = model, signature
    if version is not None:
        spec.version.value = version
    if label:
        spec.version_label = label


def predict_request(model: str, inputs: dict[str, Any], *outputs: str, **spec: Any) -> predict_pb2.PredictRequest:
    """A request; arrays become tensors."""
    request = predict_pb2.PredictRequest(output_filter=outputs)
    fill_spec(request.model_spec, model, **spec)
    for name, value in inputs.items():
        request.inputs[name].CopyFrom(tensor(value) if isinstance(value, np.ndarray | np.generic) else value)
    return request


def example(**features: Any) -> tf.train.Example:
    """An Example: floats make a float feature, whole numbers an int64 one."""
    made = tf.train.Example()
    for name, values in features.items():
        feature = made.features.feature[name]
        kind = feature.int64_list if all(isinstance(value, int) for value in values) else feature.float_list
        kind.value.extend(values)
    return made


def fill_examples(target: Any, *examples: tf.train.Example, context: tf.train.Example | None = None) -> None:
    """Fill in an Input."""
    if context is None:
        target.example_list.examples.extend(examples)
    else:
        target.example_list_with_context.context.CopyFrom(context)
        target.example_list_with_context.examples.extend(examples)


class ServingClient:
    """Blocking stubs of one server, and short ways of calling them. Use as a context manager."""

    def __init__(self, address: str, options: list[tuple[str, Any]] | None = None) -> None:
        self.channel = grpc.insecure_channel(address, [("grpc.max_receive_message_length", -1), *(options or [])])
        self.prediction = prediction_service_pb2_grpc.PredictionServiceStub(self.channel)
        self.models = model_service_pb2_grpc.ModelServiceStub(self.channel)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.channel.close()

    def predict(self, model: str, inputs: dict[str, Any], *outputs: str, **spec: Any) -> predict_pb2.PredictResponse:
        return self.prediction.Predict(predict_request(model, inputs, *outputs, **spec), timeout=TIMEOUT_S)

    def outputs(self, model: str, inputs: dict[str, Any], *outputs: str, **spec: Any) -> dict[str, np.ndarray]:
        """Predict, as arrays."""
        response = self.predict(model, inputs, *outputs, **spec)
        return {name: tf.make_ndarray(value) for name, value in response.outputs.items()}

    def classify(self, model: str, *examples: Any, context: Any = None, **spec: Any) -> Any:
        request = classification_pb2.ClassificationRequest()
        fill_spec(request.model_spec, model, **spec)
        fill_examples(request.input, *examples, context=context)
        return self.prediction.Classify(request, timeout=TIMEOUT_S)

    def regress(self, model: str, *examples: Any, context: Any = None, **spec: Any) -> Any:
        request = regression_pb2.RegressionRequest()
        fill_spec(request.model_spec, model, **spec)
        fill_examples(request.input, *examples, context=context)
        return self.prediction.Regress(request, timeout=TIMEOUT_S)

    def multi_inference(self, *tasks: tuple[str, str, str], examples: tuple[Any, ...]) -> Any:
        """Tasks of model, signature and method (``classify``, ``regress``, or whatever)."""
        request = inference_pb2.MultiInferenceRequest()
        for model, signature, method in tasks:
            task = request.tasks.add(method_name=f"tensorflow/serving/{method}")
            fill_spec(task.model_spec, model, signature)
        fill_examples(request.input, *examples)
        return self.prediction.MultiInference(request, timeout=TIMEOUT_S)

    def metadata(self, model: str, *fields: str, **spec: Any) -> Any:
        request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=fields)
        fill_spec(request.model_spec, model, **spec)
        return self.prediction.GetModelMetadata(request, timeout=TIMEOUT_S)

    def signature_defs(self, model: str, **spec: Any) -> dict[str, Any]:
        """GetModelMetadata, as SignatureDefs by name."""
        found = get_model_metadata_pb2.SignatureDefMap()
        assert self.metadata(model, "signature_def", **spec).metadata["signature_def"].Unpack(found)
        return dict(found.signature_def)

    def status(self, model: str, **spec: Any) -> list[Any]:
        """The versions of GetModelStatus."""
        request = get_model_status_pb2.GetModelStatusRequest()
        fill_spec(request.model_spec, model, **spec)
        return list(self.models.GetModelStatus(request, timeout=TIMEOUT_S).model_version_status)

    def reload(self, request: model_management_pb2.ReloadConfigRequest, **metadata: str) -> Any:
        given = tuple(metadata.items())
        return self.models.HandleReloadConfigRequest(request, timeout=TIMEOUT_S, metadata=given)

    def send(self, method: str, data: bytes, service: str = "PredictionService") -> bytes:
        """A call of bytes that may be no message."""
        call = self.channel.unary_unary(f"/tensorflow.serving.{service}/{method}")
        return call(data, timeout=TIMEOUT_S)
