"""``GET /v1/models…``: the status of a model's versions, its signatures, and which models there are."""

from __future__ import annotations

from typing import Any

from google.protobuf import json_format

from tensorhost.codecs.protobuf import POOL
from tensorhost.frontends.http.exchange import Reply
from tensorhost.frontends.tfserving.faults import ServingError
from tensorhost.frontends.tfserving.inference import Inference
from tensorhost.frontends.tfserving.metadata import SIGNATURE_DEF, signature_defs
from tensorhost.frontends.tfserving.model_spec import ModelSpec
from tensorhost.frontends.tfserving.model_status import model_status
from tensorhost.frontends.tfserving.rest.replies import description_reply
from tensorhost.frontends.tfserving.rest.targets import Target
from tensorhost.frontends.versions import number_of
from tensorhost.models.manager import ModelManager


class Descriptions:
    """The routes that only tell.

    Args:
        manager: knows the models.
        inference: lends a model whose signatures are asked for.
    """

    def __init__(self, manager: ModelManager, inference: Inference) -> None:
        self._manager = manager
        self._inference = inference

    def status(self, target: Target) -> Reply:
        """The state of each version, or of the one that is named, by number or by label."""
        return description_reply({"model_version_status": self._versions(target.spec())})

    def all_models(self) -> Reply:
        """Every model, each with the state of its versions; TensorFlow Serving has no such route."""
        models: list[dict[str, Any]] = []
        for name in sorted(self._manager.models()):
            try:
                versions = self._versions(ModelSpec(name))
            except ServingError:
                versions = []  # none of them is named by a number
            models.append({"name": name, "model_version_status": versions})
        return description_reply({"models": models})

    async def metadata(self, target: Target, deadline: float) -> Reply:
        """The signatures of a version; a lazy model is loaded for it."""
        with await self._inference.admit(target.spec(), deadline) as admission:
            name, version = admission.servable.id
            number = number_of(version)
            definitions = json_format.MessageToDict(
                signature_defs(admission.servable),
                always_print_fields_with_no_presence=True,
                preserving_proto_field_name=True,
                descriptor_pool=POOL,
            )
        return description_reply(
            {
                "model_spec": {"name": name, "signature_name": "", "version": "" if number is None else str(number)},
                "metadata": {SIGNATURE_DEF: definitions},
            }
        )

    def _versions(self, spec: ModelSpec) -> list[dict[str, Any]]:
        return [
            {
                "version": str(each.version),
                "state": each.state.name,
                "status": {"error_code": each.error_code.name, "error_message": each.error_message},
            }
            for each in model_status(self._manager, spec)
        ]
