"""What clients are told of a model's inputs and outputs, and of the server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from tensorhost.codecs.oip import datatype_of
from tensorhost.core.tensors import TensorSpec
from tensorhost.core.version import __version__
from tensorhost.frontends.oip.admitting import version_text
from tensorhost.frontends.oip.inputs import max_batch_size
from tensorhost.frontends.oip.shapes import shown_shape
from tensorhost.inference import Call
from tensorhost.models.manager import ModelManager
from tensorhost.models.servable import Servable
from tensorhost.runtimes import ModelFormat

SERVER_NAME = "tensorhost"
SERVER_VERSION = __version__
EXTENSIONS = (
    "classification",
    "model_repository",
    "schedule_policy",
    "model_configuration",
    "system_shared_memory",
    "binary_tensor_data",
    "parameters",
    "statistics",
    "trace",
    "logging",
)
"""The extensions of the protocol that this server has."""

PLATFORM: Mapping[ModelFormat | None, str] = {
    None: "",
    ModelFormat.SAVED_MODEL: "tensorflow_savedmodel",
    ModelFormat.GRAPH_DEF: "tensorflow_graphdef",
    ModelFormat.KERAS: "keras",
    ModelFormat.KERAS_H5: "keras",
    ModelFormat.TFJS: "tensorflowjs",
    ModelFormat.TFLITE: "tensorflow_lite",
}
"""What clients are told of a format; Triton's names where it has one."""


class TensorMetadata(NamedTuple):
    """An input or output; sizes that are free are -1, and so is the one dimension shown of a tensor of any rank."""

    name: str
    datatype: str
    shape: list[int]


class ModelMetadata(NamedTuple):
    """A model, or one version of it.

    Attributes:
        name: the model.
        versions: those that serve, the lowest first; the one asked for alone, where one was.
        platform: how it lies on disk.
        inputs, outputs: of the default signature, in its order.
    """

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]

    def to_json(self) -> dict[str, Any]:
        """As REST has it."""
        described = self._asdict()
        described["inputs"] = [tensor._asdict() for tensor in self.inputs]
        described["outputs"] = [tensor._asdict() for tensor in self.outputs]
        return described


def server_metadata() -> dict[str, Any]:
    """The server, as REST has it."""
    return {"name": SERVER_NAME, "version": SERVER_VERSION, "extensions": list(EXTENSIONS)}


def model_metadata(manager: ModelManager, servable: Servable, call: Call, number: int | None) -> ModelMetadata:
    """What is told of a model.

    Args:
        manager: knows the other versions.
        servable: the version described.
        call: what a request without requested outputs asks of it, from ``Inference.prepare``.
        number: of the version asked for; None where none was.
    """
    name, version = servable.id
    model = manager.models().get(name)
    if number is not None or model is None:
        versions = [version_text(version)]
    else:
        versions = [version_text(record.id.version) for record in reversed(model.newest_first()) if record.available]
    by_row = max_batch_size(servable, call) > 0
    return ModelMetadata(
        name,
        versions,
        platform_of(manager, servable),
        [_describe(spec, by_row=by_row) for spec in call.preprocessing.wire_specs.values()],
        [_describe(spec, by_row=by_row) for spec in call.signature.outputs.values()],
    )


def platform_of(manager: ModelManager, servable: Servable) -> str:
    """How a version lies on disk, by the name clients know; empty where that is not known any more."""
    model = manager.models().get(servable.id.name)
    record = None if model is None else model.versions.get(servable.id.version)
    return "" if record is None else PLATFORM[record.on_disk.format]


def _describe(spec: TensorSpec, *, by_row: bool) -> TensorMetadata:
    shown = shown_shape(spec.shape, by_row=by_row)
    shape = [-1] if shown is None else [-1 if size is None else size for size in shown]
    return TensorMetadata(spec.name, datatype_of(spec.dtype), shape)
