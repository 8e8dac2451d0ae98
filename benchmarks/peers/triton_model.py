"""NVIDIA Triton with its Python backend and dynamic batching: the real ``tritonserver``, from nvidia-pytriton's wheel.

``triton_model.py SAVED_MODEL PORT GRPC_PORT`` writes a model repository into a folder of its own, whose model is this
file, and becomes ``tritonserver`` on it. One instance, because a second one would take the first one's cores; the
batcher waits for nobody, which is its default. Triton has had no TensorFlow backend since 25.03; this is what is left
to its users.
"""

import json
import os
import shutil
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

MAX_BATCH_SIZE = 32
CONFIG = """\
name: "model"
backend: "python"
max_batch_size: {max_batch_size}
input [{{ name: "{input_name}", data_type: TYPE_{input_type}, dims: {input_dims} }}]
output [{{ name: "{output_name}", data_type: TYPE_{output_type}, dims: {output_dims} }}]
instance_group [{{ count: 1, kind: KIND_CPU }}]
dynamic_batching {{ }}
parameters [{{ key: "saved_model", value: {{ string_value: "{saved_model}" }} }}]
"""
TYPES = {"float32": "FP32", "int32": "INT32"}


class TritonPythonModel:
    """Triton hands over the requests of one batch; putting them together is the model's part."""

    def initialize(self, args: dict[str, str]) -> None:
        import triton_python_backend_utils as pb_utils

        self.pb = pb_utils
        saved_model = json.loads(args["model_config"])["parameters"]["saved_model"]["string_value"]
        self.model = tf.saved_model.load(saved_model)
        self.infer = self.model.signatures["serving_default"]
        (self.input_name,) = self.infer.structured_input_signature[1]
        (self.output_name,) = self.infer.structured_outputs

    def execute(self, requests: list[Any]) -> list[Any]:
        inputs = [self.pb.get_input_tensor_by_name(request, self.input_name).as_numpy() for request in requests]
        rows = np.concatenate(inputs)
        output = self.infer(**{self.input_name: tf.constant(rows)})[self.output_name].numpy()
        ends = np.cumsum([len(one) for one in inputs])[:-1]
        return [
            self.pb.InferenceResponse(output_tensors=[self.pb.Tensor(self.output_name, part)])
            for part in np.split(output, ends)
        ]


def write_repository(folder: Path, saved_model: str) -> None:
    """One model named ``model``: its configuration, taken from the signature, and this file."""
    infer = tf.saved_model.load(saved_model).signatures["serving_default"]
    ((input_name, spec),) = infer.structured_input_signature[1].items()
    ((output_name, output),) = infer.structured_outputs.items()
    config = CONFIG.format(
        max_batch_size=MAX_BATCH_SIZE,
        input_name=input_name,
        input_type=TYPES[spec.dtype.name],
        input_dims=spec.shape.as_list()[1:],
        output_name=output_name,
        output_type=TYPES[output.dtype.name],
        output_dims=output.shape.as_list()[1:],
        saved_model=saved_model,
    )
    (folder / "model" / "1").mkdir(parents=True)
    (folder / "model" / "config.pbtxt").write_text(config, encoding="utf-8")
    shutil.copy(__file__, folder / "model" / "1" / "model.py")


def become_tritonserver(folder: Path, port: str, grpc_port: str) -> None:
    """As pytriton arranges it: the backend needs the stub of this Python's version beside it."""
    import pytriton

    package = Path(pytriton.__file__).parent / "tritonserver"
    shutil.copytree(package / "backends", folder / "backends")
    stub = package / "python_backend_stubs" / f"{sys.version_info.major}.{sys.version_info.minor}"
    shutil.copy(stub / "triton_python_backend_stub", folder / "backends" / "python")
    libraries = (package.parents[1] / "nvidia_pytriton.libs", sysconfig.get_config_var("LIBDIR"))
    os.environ["LD_LIBRARY_PATH"] = ":".join(map(str, libraries))
    os.environ["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    program = str(package / "bin" / "tritonserver")
    command = [program, f"--model-repository={folder / 'repository'}", f"--backend-directory={folder / 'backends'}"]
    command += ["--http-address=127.0.0.1", f"--http-port={port}", f"--id={port}"]
    command += ["--grpc-address=127.0.0.1", f"--grpc-port={grpc_port}", "--allow-metrics=false"]
    command += [f"--backend-config=python,shm-region-prefix-name=triton{port}"]
    os.execv(program, command)


if __name__ == "__main__":
    scratch = Path(tempfile.mkdtemp(prefix="triton-"))
    write_repository(scratch / "repository", sys.argv[1])
    become_tritonserver(scratch, *sys.argv[2:])
