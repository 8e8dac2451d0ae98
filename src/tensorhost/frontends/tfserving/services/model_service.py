"""``tensorflow.serving.ModelService``: GetModelStatus and HandleReloadConfigRequest."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from tensorhost.codecs.protobuf import decode, message_class
from tensorhost.core.errors import InvalidRequestError, LabelNotReadyError, ModelFailedError, PermissionDeniedError
from tensorhost.frontends.rpc import Role, Rpc, RpcContext, RpcError, RpcStatus
from tensorhost.frontends.tfserving.model_status import model_status
from tensorhost.frontends.tfserving.monitoring import counters
from tensorhost.frontends.tfserving.services.specs import read_spec
from tensorhost.inference import Group
from tensorhost.models.listed import ModelList
from tensorhost.models.manager import ModelManager
from tensorhost.models.tfserving_config import model_list
from tensorhost.settings import Settings

NAME = "tensorflow.serving.ModelService"

_STATUS_REQUEST = message_class("tensorflow.serving.GetModelStatusRequest")
_STATUS_RESPONSE: Any = message_class("tensorflow.serving.GetModelStatusResponse")
_RELOAD_REQUEST = message_class("tensorflow.serving.ReloadConfigRequest")
_RELOAD_RESPONSE: Any = message_class("tensorflow.serving.ReloadConfigResponse")


class ModelService:
    """The service's methods.

    Args:
        manager: knows the models.
        group: loads and unloads them, in every process.
        settings: where models may lie.
    """

    def __init__(self, manager: ModelManager, group: Group, settings: Settings) -> None:
        self._manager = manager
        self._group = group
        self._settings = settings

    def rpcs(self) -> list[Rpc]:
        """What a transport needs to know."""
        return [
            Rpc(f"/{NAME}/GetModelStatus", self.get_model_status),
            Rpc(f"/{NAME}/HandleReloadConfigRequest", self.handle_reload_config_request, Role.CONTROL),
        ]

    async def get_model_status(self, data: bytes, context: RpcContext) -> bytes:
        """``GetModelStatusRequest`` to ``GetModelStatusResponse``."""
        del context  # answered at once
        spec = read_spec(decode(_STATUS_REQUEST, data))
        response = _STATUS_RESPONSE()
        for status in model_status(self._manager, spec):
            added = response.model_version_status.add()
            added.version, added.state = status.version, status.state
            # Also where all is well: clients look at it.
            added.status.SetInParent()
            added.status.error_code, added.status.error_message = status.error_code, status.error_message
        return bytes(response.SerializeToString())

    async def handle_reload_config_request(self, data: bytes, context: RpcContext) -> bytes:
        """``ReloadConfigRequest`` to ``ReloadConfigResponse``, when all models of the new list serve.

        A client that leaves stops the waiting only. Of each of ``metric_names`` that is a counter, the response says by
        how much it has grown.

        Raises:
            RpcError: FAILED_PRECONDITION for a label of a version that does not serve, UNKNOWN where not all of the
                list could be loaded.
            TensorhostError: the list cannot be served, and nothing has changed.
        """
        del context
        request = decode(_RELOAD_REQUEST, data)
        models = model_list(request.config)
        self._check_paths(models)
        before = await self._counters(request.metric_names)
        try:
            await self._group.replace_models(models, labels_may_wait=self._settings.labels_may_wait)
        except LabelNotReadyError as error:
            raise RpcError(RpcStatus.FAILED_PRECONDITION, error.message) from None
        except ModelFailedError as error:
            raise RpcError(RpcStatus.UNKNOWN, error.message) from None
        response = _RELOAD_RESPONSE()
        response.status.SetInParent()
        after = await self._counters(request.metric_names)
        for name in request.metric_names:
            metric = response.metric.add(name=name)
            if name in after:
                metric.int64_value_increase = after[name] - before.get(name, 0)
        return bytes(response.SerializeToString())

    async def _counters(self, names: Collection[str]) -> dict[str, int]:
        """The counters of ``names`` that there are, added up over all processes; names may have slashes or colons."""
        if not names:
            return {}
        known = counters(await self._group.view())
        return {name: known[path] for name in names if (path := name.replace("/", ":")) in known}

    def _check_paths(self, models: ModelList) -> None:
        if self._settings.open_control:
            return
        roots = [root.resolve() for root in (self._settings.model_path, *self._settings.allowed_roots)]
        for listed in models:
            if not _lies_in(listed.base_path, roots):
                raise PermissionDeniedError(
                    f"The base_path of model '{listed.name}' must lie under the model path or an allowed root."
                )
            if listed.request_log is not None and not _lies_in(listed.request_log.filename_prefix, roots):
                raise PermissionDeniedError(
                    f"The filename_prefix of model '{listed.name}' must lie under the model path or an allowed root."
                )


def _lies_in(path: Path, roots: Sequence[Path]) -> bool:
    try:
        real = path.resolve()
    except (OSError, RuntimeError, ValueError) as error:
        raise InvalidRequestError("A path in the config is not valid.", log_detail=str(path)[:1024]) from error
    return any(real.is_relative_to(root) for root in roots)
