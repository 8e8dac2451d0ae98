"""``tensorflow_model_server`` as its users start it, and the real client library's stubs over grpcio."""

from __future__ import annotations

import socket
import warnings
from pathlib import Path
from typing import Any, Self

import grpc
import numpy as np
from native_server import COMMAND, TIMEOUT_S, RunningServer

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from tensorflow_serving.apis import (
        get_model_status_pb2,
        model_management_pb2,
        model_service_pb2_grpc,
        predict_pb2,
        prediction_service_pb2_grpc,
    )

LINE = [str(COMMAND), "model-server"]
QUICK = {
    "TENSORHOST_LOG_FORMAT": "json",
    "TENSORHOST_PROBE": "false",
    "TENSORHOST_SETTLE_S": "0",
    "TENSORHOST_DRAIN_WINDOW_S": "0",
    "HOST": "127.0.0.1",
}
"""What keeps a test short; nothing that TensorFlow Serving has a flag for."""


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class ModelServer(RunningServer):
    """The command with TensorFlow Serving's flags, gRPC and REST on free ports. Leaving it ends the process."""

    def __init__(self, *flags: str, grpc_port: int | None = None, rest_port: int | None = None, **environment: str):
        self.grpc_port = free_port() if grpc_port is None else grpc_port
        self.rest_port = free_port() if rest_port is None else rest_port
        super().__init__(
            f"--port={self.grpc_port}", f"--rest_api_port={self.rest_port}", *flags, **(QUICK | environment)
        )

    def _line(self, command: str, args: tuple[object, ...], port: int) -> list[str]:
        return [*LINE, *map(str, args)]

    @property
    def port(self) -> int:
        return self.rest_port

    def stubs(self, address: str = "") -> Stubs:
        """Clients of the gRPC port, or of another address."""
        return Stubs(grpc.insecure_channel(address or f"127.0.0.1:{self.grpc_port}"))


class Stubs:
    """The services of one server, through a channel that is closed on leaving."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.channel = channel
        self.prediction = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        self.models = model_service_pb2_grpc.ModelServiceStub(channel)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.channel.close()

    def predict(self, model: str, values: Any, **spec: Any) -> predict_pb2.PredictResponse:
        """Predict with one float input ``x``."""
        return self.prediction.Predict(request(model, values, **spec), timeout=TIMEOUT_S)

    def values(self, model: str, values: Any, **spec: Any) -> list[float]:
        """What comes out as ``y``."""
        return list(self.predict(model, values, **spec).outputs["y"].float_val)

    def states(self, model: str) -> dict[int, str]:
        """The state of each version."""
        spec = get_model_status_pb2.GetModelStatusRequest(model_spec={"name": model})
        found = self.models.GetModelStatus(spec, timeout=TIMEOUT_S).model_version_status
        return {one.version: get_model_status_pb2.ModelVersionStatus.State.Name(one.state) for one in found}

    def reload(self, models: dict[str, Path]) -> None:
        """Serve these and no others."""
        configs = [
            {"name": name, "base_path": str(path), "model_platform": "tensorflow"} for name, path in models.items()
        ]
        config = {"model_config_list": {"config": configs}}
        self.models.HandleReloadConfigRequest(
            model_management_pb2.ReloadConfigRequest(config=config), timeout=TIMEOUT_S
        )


def request(model: str, values: Any, **spec: Any) -> predict_pb2.PredictRequest:
    """A Predict request with one float input ``x``; ``spec`` has ``version`` (an int) or ``version_label``."""
    if "version" in spec:
        spec["version"] = {"value": spec["version"]}
    made = predict_pb2.PredictRequest(model_spec={"name": model, **spec})
    array = np.asarray(values, np.float32)
    tensor = made.inputs["x"]
    tensor.dtype = 1  # DT_FLOAT
    tensor.float_val.extend(array.ravel().tolist())
    for size in array.shape:
        tensor.tensor_shape.dim.add(size=size)
    return made
