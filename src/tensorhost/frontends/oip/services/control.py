"""The methods that change what is served, where tensors may lie and what is logged, and those that tell of it.

Changing is for who may control the server. ``TraceSetting`` and ``LogSettings`` both tell and change: a call of theirs
that brings settings is authorised when it is read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from tensorhost.frontends.authorisation import authorise_rpc
from tensorhost.frontends.oip import faults
from tensorhost.frontends.oip.open_inference import OpenInference
from tensorhost.frontends.oip.server_settings import LogSetting, TraceSetting
from tensorhost.frontends.oip.services.calls import response_class, rpc
from tensorhost.frontends.rpc import Role, Rpc, RpcContext
from tensorhost.inference.regions import Region

_INDEX, _LOAD, _UNLOAD = map(response_class, ("RepositoryIndex", "RepositoryModelLoad", "RepositoryModelUnload"))
_SYSTEM_STATUS, _SYSTEM_REGISTER, _SYSTEM_UNREGISTER = (
    response_class(f"SystemSharedMemory{verb}") for verb in ("Status", "Register", "Unregister")
)
_CUDA_STATUS, _CUDA_UNREGISTER = (response_class(f"CudaSharedMemory{verb}") for verb in ("Status", "Unregister"))
_TRACE_SETTING, _LOG_SETTINGS = map(response_class, ("TraceSetting", "LogSettings"))


class Control:
    """The methods, from message to message.

    Args:
        protocol: does the work.
    """

    def __init__(self, protocol: OpenInference) -> None:
        self._repository = protocol.repository
        self._memory = protocol.shared_memory
        self._server_settings = protocol.server_settings
        self._authorise = partial(authorise_rpc, protocol.settings)

    def rpcs(self) -> list[Rpc]:
        """What a transport needs to know."""
        return [
            rpc("RepositoryIndex", self.repository_index),
            rpc("RepositoryModelLoad", self.load, Role.CONTROL),
            rpc("RepositoryModelUnload", self.unload, Role.CONTROL),
            rpc("SystemSharedMemoryStatus", self.system_status),
            rpc("SystemSharedMemoryRegister", self.system_register, Role.CONTROL),
            rpc("SystemSharedMemoryUnregister", self.system_unregister, Role.CONTROL),
            rpc("CudaSharedMemoryStatus", self.cuda_status),
            rpc("CudaSharedMemoryRegister", self.cuda_register, Role.CONTROL),
            rpc("CudaSharedMemoryUnregister", self.cuda_unregister, Role.CONTROL),
            rpc("TraceSetting", self.trace_setting),
            rpc("LogSettings", self.log_settings),
        ]

    # -- the repository --------------------------------------------------------------------------------------------

    async def repository_index(self, request: Any, _context: RpcContext) -> Any:
        """Every version of every model, and its state. Raises UnsupportedError where a repository is named."""
        response = _INDEX()
        for entry in self._repository.index(ready=request.ready, repository=request.repository_name):
            response.models.add(name=entry.name, version=entry.version, state=entry.state.value, reason=entry.reason)
        return response

    async def load(self, request: Any, _context: RpcContext) -> Any:
        """Load a model and wait until it serves. Raises as ``Repository.load``."""
        given = {
            name: getattr(value, value.WhichOneof("parameter_choice") or "string_param")
            for name, value in request.parameters.items()
        }
        await self._repository.load(request.model_name, given, request.repository_name)
        return _LOAD()

    async def unload(self, request: Any, _context: RpcContext) -> Any:
        """Unload a model and wait until its memory is back. Raises as ``Repository.unload``."""
        await self._repository.unload(request.model_name, request.repository_name)
        return _UNLOAD()

    # -- shared memory ---------------------------------------------------------------------------------------------

    async def system_status(self, request: Any, _context: RpcContext) -> Any:
        """The regions registered. Raises as ``SharedMemory.status``."""
        response = _SYSTEM_STATUS()
        for region in self._memory.status(request.name):
            added = response.regions[region["name"]]
            added.name, added.key = region["name"], region["key"]
            added.offset, added.byte_size = region["offset"], region["byte_size"]
        return response

    async def system_register(self, request: Any, _context: RpcContext) -> Any:
        """Make a region known. Raises as ``SharedMemory.register``."""
        await self._memory.register(Region(request.name, request.key, request.offset, request.byte_size))
        return _SYSTEM_REGISTER()

    async def system_unregister(self, request: Any, _context: RpcContext) -> Any:
        """Forget a region, or all. Raises as ``SharedMemory.unregister``."""
        await self._memory.unregister(request.name)
        return _SYSTEM_UNREGISTER()

    async def cuda_status(self, _request: Any, _context: RpcContext) -> Any:
        """No region is ever registered."""
        return _CUDA_STATUS()

    async def cuda_register(self, _request: Any, _context: RpcContext) -> Any:
        """Raises UnsupportedError, whatever is asked."""
        raise faults.no_cuda()

    async def cuda_unregister(self, _request: Any, _context: RpcContext) -> Any:
        """There is nothing to forget. Clients ask for it before they begin."""
        return _CUDA_UNREGISTER()

    # -- settings --------------------------------------------------------------------------------------------------

    async def trace_setting(self, request: Any, context: RpcContext) -> Any:
        """The trace settings, once those in the request are in force. Raises as ``ServerSettings.update_trace``."""
        wanted = {name: _trace_setting(setting.value) for name, setting in request.settings.items()}
        response = _TRACE_SETTING()
        for name, value in self._traced(wanted, context).items():
            response.settings[name].value.extend([value] if isinstance(value, str) else value)
        return response

    async def log_settings(self, request: Any, context: RpcContext) -> Any:
        """The logging settings, likewise. Raises as ``ServerSettings.update_logging``."""
        wanted = {name: _log_setting(value) for name, value in request.settings.items()}
        response = _LOG_SETTINGS()
        for name, value in (await self._logged(wanted, context)).items():
            setattr(response.settings[name], _log_field(value), value)
        return response

    def _traced(self, wanted: Mapping[str, TraceSetting | None], context: RpcContext) -> Mapping[str, TraceSetting]:
        if not wanted:
            return self._server_settings.trace()
        self._authorise(context)
        return self._server_settings.update_trace(wanted)

    async def _logged(self, wanted: Mapping[str, LogSetting | None], context: RpcContext) -> Mapping[str, LogSetting]:
        if not wanted:
            return self._server_settings.logging()
        self._authorise(context)
        return await self._server_settings.update_logging(wanted)


def _trace_setting(values: Sequence[str]) -> TraceSetting | None:
    """What a client wants: one text or several; None, the server's own, where it gives none."""
    return values[0] if len(values) == 1 else list(values) or None


def _log_setting(message: Any) -> LogSetting | None:
    choice = message.WhichOneof("parameter_choice")
    value: LogSetting | None = None if choice is None else getattr(message, choice)
    return value


def _log_field(value: LogSetting) -> str:
    if isinstance(value, bool):
        return "bool_param"
    return "uint32_param" if isinstance(value, int) else "string_param"
