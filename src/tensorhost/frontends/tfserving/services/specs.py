"""``tensorflow.serving.ModelSpec``, from the wire and onto it."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from tensorhost.codecs.protobuf import message_class
from tensorhost.frontends.tfserving import faults
from tensorhost.frontends.tfserving.model_spec import AnsweredBy, ModelSpec

_MODEL_SPEC = message_class("tensorflow.serving.ModelSpec")


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


@lru_cache(maxsize=1024)
def encoded_spec(answered_by: AnsweredBy) -> bytes:
    """The ModelSpec that ``write_spec`` fills in, serialized: the same for every request to one signature."""
    message = _MODEL_SPEC()
    write_spec(message, answered_by)
    return bytes(message.SerializeToString())
