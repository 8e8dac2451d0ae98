"""``grpc.health.v1``: whether the server, one of its services or one of its models can be asked.

The server and its services are SERVING when ``/health/ready`` would say 200; a model, by its name, while a version of
it serves. What must stay true: a check is two dictionary reads, and a watch ends when its client leaves.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Collection
from enum import IntEnum
from typing import Any

from tensorhost.codecs.protobuf import decode, message_class
from tensorhost.core.errors import InvalidRequestError
from tensorhost.frontends.rpc import Rpc, RpcContext, RpcError, RpcStatus, StreamRpc
from tensorhost.inference import Group
from tensorhost.models.manager import ModelManager

SERVICE = "grpc.health.v1.Health"
_OF_TENSORFLOW_SERVING = ("ModelService", "PredictionService")
"""Names without a package, under which that server answers."""

_POLL_S = 0.25
_MAX_WATCHES = 1024
_MAX_LISTED = 1000

_Request = message_class("grpc.health.v1.HealthCheckRequest")
_Response = message_class("grpc.health.v1.HealthCheckResponse")
_Listed: Any = message_class("grpc.health.v1.HealthListResponse")


class _Status(IntEnum):
    """``HealthCheckResponse.ServingStatus``."""

    SERVING = 1
    NOT_SERVING = 2
    SERVICE_UNKNOWN = 3


class Health:
    """The health service.

    Args:
        services: full names of the services that are served besides this one.
        manager: knows the models.
        group: knows whether the server is ready.
    """

    def __init__(self, services: Collection[str], manager: ModelManager, group: Group) -> None:
        self._services = frozenset({"", SERVICE, *_OF_TENSORFLOW_SERVING, *services})
        self._manager = manager
        self._group = group
        self._draining = False
        self._watches = 0
        self._encoded = {status: _Response(status=status).SerializeToString() for status in _Status}

    def rpcs(self) -> list[Rpc | StreamRpc]:
        """The service's methods."""
        return [
            Rpc(f"/{SERVICE}/Check", self._check),
            Rpc(f"/{SERVICE}/List", self._list),
            StreamRpc(f"/{SERVICE}/Watch", self._watch, requests=False),
        ]

    def begin_drain(self) -> None:
        """From now on nothing is SERVING, so that clients go elsewhere; calls are answered all the same."""
        self._draining = True

    async def _check(self, request: bytes, _context: RpcContext) -> bytes:
        service = _service(request)
        status = self._status(service)
        if status is _Status.SERVICE_UNKNOWN:
            raise RpcError(RpcStatus.NOT_FOUND, f"There is no service or model {service[:128]!r}.")
        return self._encoded[status]

    async def _list(self, _request: bytes, _context: RpcContext) -> bytes:
        names = [*self._services, *self._manager.models()]
        if len(names) > _MAX_LISTED:
            raise RpcError(RpcStatus.RESOURCE_EXHAUSTED, f"More than {_MAX_LISTED} services and models; use Check.")
        listed = _Listed()
        for name in names:
            listed.statuses[name].status = self._status(name)
        encoded: bytes = listed.SerializeToString()
        return encoded

    async def _watch(self, requests: AsyncIterator[bytes], _context: RpcContext) -> AsyncGenerator[bytes, None]:
        service = _service(await anext(requests))
        if self._watches >= _MAX_WATCHES:
            raise RpcError(RpcStatus.RESOURCE_EXHAUSTED, f"{_MAX_WATCHES} clients watch, the most there may be.")
        self._watches += 1
        said: _Status | None = None
        try:
            while True:
                if (status := self._status(service)) is not said:
                    said = status
                    yield self._encoded[status]
                # What readiness depends on may be in other processes; there is no one event to wait for.
                await asyncio.sleep(_POLL_S)
        finally:
            self._watches -= 1

    def _status(self, service: str) -> _Status:
        if service in self._services:
            serves = self._group.ready
        elif service in self._manager.models():
            serves = self._manager.find(service) is not None
        else:
            return _Status.SERVICE_UNKNOWN
        return _Status.SERVING if serves and not self._draining else _Status.NOT_SERVING


def _service(request: bytes) -> str:
    try:
        name: str = decode(_Request, request).service
    except InvalidRequestError as error:
        raise RpcError(RpcStatus.INVALID_ARGUMENT, error.message) from error
    return name
