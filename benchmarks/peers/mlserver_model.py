"""MLServer with adaptive batching as its documentation shows it: a custom runtime, one inference worker, V2 protocol.

``mlserver_model.py SAVED_MODEL PORT`` writes the two settings files into a folder of its own and becomes
``mlserver start`` on it, with this file as the runtime's module.
"""

import json
import os
import sys
import tempfile
from pathlib import Path

import tensorflow as tf
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse

MAX_BATCH_SIZE = 32
MAX_BATCH_TIME_S = 0.001


class SavedModel(MLModel):
    """MLServer merges the requests; the first dimension of each is its rows."""

    async def load(self) -> bool:
        self.model = tf.saved_model.load(self.settings.parameters.uri)
        self.infer = self.model.signatures["serving_default"]
        (self.input_name,) = self.infer.structured_input_signature[1]
        (self.output_name,) = self.infer.structured_outputs
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        rows = NumpyCodec.decode_input(payload.inputs[0])
        output = self.infer(**{self.input_name: tf.constant(rows)})[self.output_name].numpy()
        return InferenceResponse(
            model_name=self.name, outputs=[NumpyCodec.encode_output(name=self.output_name, payload=output)]
        )


def write_settings(folder: Path, saved_model: str, port: int) -> None:
    """What MLServer reads at its start; the next two ports are for gRPC and metrics."""
    server = {"host": "127.0.0.1", "http_port": port, "grpc_port": port + 1, "metrics_port": port + 2, "debug": False}
    model = {
        "name": "model",
        "implementation": f"{Path(__file__).stem}.SavedModel",
        "max_batch_size": MAX_BATCH_SIZE,
        "max_batch_time": MAX_BATCH_TIME_S,
        "parameters": {"uri": saved_model},
    }
    (folder / "settings.json").write_text(json.dumps(server), encoding="utf-8")
    (folder / "model-settings.json").write_text(json.dumps(model), encoding="utf-8")


if __name__ == "__main__":
    settings = Path(tempfile.mkdtemp(prefix="mlserver-"))
    write_settings(settings, sys.argv[1], int(sys.argv[2]))
    program = Path(sys.executable).parent / "mlserver"
    os.chdir(settings)
    os.environ["PYTHONPATH"] = str(Path(__file__).parent)
    os.execv(program, [str(program), "start", str(settings)])
