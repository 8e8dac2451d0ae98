"""``tensorflow.serving.ModelSpec``, from the wire and onto it."""

from __future__ import annotations

from typing import Any

from tensorhost.frontends.tfserving import faults
from tensorhost.frontends.tfserving.model_spec import AnsweredBy, ModelSpec


def read_spec(request: Any) -> ModelSpec:
    """What ``request.model_spec`` asks for. Raises ServingError where there is none, or it has no name."""
    if not request.HasField("model_spec"):
        raise faults.missing_model_spec()
    message = request.model_spec
    name = message.name
    if not name:
        raise faults.unnamed_model()
    choice = message.WhichOneof("version_choice")
    if choice is None:
        return ModelSpec(name, None, None, message.signature_name)
    if choice == "version":
        return ModelSpec(name, message.version.value, None, message.signature_name)
    return ModelSpec(name, None, message.version_label, message.signature_name)


def write_spec(target: Any, answered_by: AnsweredBy) -> None:
    """Fill in the ModelSpec of a response; a version that is no number is left out."""
    target.name = answered_by.name
    target.signature_name = answered_by.signature
    if answered_by.version is not None:
        target.version.value = answered_by.version
