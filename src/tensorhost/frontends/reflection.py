"""gRPC server reflection: clients such as grpcurl learn services and messages from the server itself.

Both versions of the protocol, which differ in nothing but the service's name.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Collection
from typing import Any

from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError

from tensorhost.frontends.rpc import RpcContext, RpcError, RpcStatus, StreamRpc

_VERSIONS = ("v1", "v1alpha")


class Reflection:
    """The reflection services.

    Args:
        services: full names of the services that are served.
        pool: describes them.
    """

    def __init__(self, services: Collection[str], pool: DescriptorPool) -> None:
        # A tenth of a second to import, which a server without reflection need not wait for.
        from grpc_reflection.v1alpha import reflection, reflection_pb2

        self._servicer: Any = reflection.aio.ReflectionServicer(services, pool)
        self._request = reflection_pb2.ServerReflectionRequest

    def rpcs(self) -> list[StreamRpc]:
        """One method for each version."""
        return [
            StreamRpc(f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo", self._answer)
            for version in _VERSIONS
        ]

    async def _answer(self, requests: AsyncIterator[bytes], _context: RpcContext) -> AsyncGenerator[bytes, None]:
        async for response in self._servicer.ServerReflectionInfo(self._decoded(requests), None):
            yield response.SerializeToString()

    async def _decoded(self, requests: AsyncIterator[bytes]) -> AsyncIterator[Any]:
        async for request in requests:
            try:
                yield self._request.FromString(request)
            except DecodeError as error:
                raise RpcError(RpcStatus.INVALID_ARGUMENT, "This is no ServerReflectionRequest.") from error
