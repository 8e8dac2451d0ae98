"""A gRPC server of each transport, asked by the real client from threads."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

import grpc
import pytest

from tensorhost.core.errors import PermissionDeniedError
from tensorhost.frontends.rpc import Rpc, StreamRpc
from tensorhost.server.grpc import GrpcServer
from tensorhost.settings import Settings


class Client:
    """Asks one address. Calls run in threads, so that the server's event loop is free."""

    def __init__(self, address: str, credentials: grpc.ChannelCredentials | None = None, **options: Any) -> None:
        # A pool of channels would give tests connections of others.
        given = [("grpc.use_local_subchannel_pool", 1), *options.items()]
        if credentials is None:
            self.channel = grpc.insecure_channel(address, options=given)
        else:
            self.channel = grpc.secure_channel(address, credentials, options=given)

    async def ask(self, path: str, request: bytes = b"", **options: Any) -> bytes:
        options = {"timeout": 30} | options
        return await asyncio.to_thread(self.channel.unary_unary(path), request, **options)

    async def refusal(self, path: str, request: bytes = b"", **options: Any) -> grpc.RpcError:
        with pytest.raises(grpc.RpcError) as raised:
            await self.ask(path, request, **options)
        return raised.value

    def future(self, path: str, request: bytes = b"", **options: Any) -> Any:
        return self.channel.unary_unary(path).future(request, **options)


def allow_nobody(_context: object) -> None:
    raise PermissionDeniedError("Not you.")


@contextlib.asynccontextmanager
async def serving(rpcs: Sequence[Rpc | StreamRpc], **settings: Any) -> AsyncIterator[GrpcServer]:
    server = GrpcServer(rpcs, Settings(**{"grpc_port": -1, **settings}), allow_nobody)
    await server.open()
    try:
        yield server
    finally:
        await server.close(asyncio.get_running_loop().time() + 5)


@contextlib.asynccontextmanager
async def asking(server: GrpcServer, **options: Any) -> AsyncIterator[Client]:
    client = Client(server.addresses[0], **options)
    try:
        yield client
    finally:
        await asyncio.to_thread(client.channel.close)
