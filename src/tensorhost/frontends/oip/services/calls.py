"""What every call but ModelInfer's goes through: a message in, a message out, failures with Triton's statuses."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from tensorhost.codecs.protobuf import decode, message_class
from tensorhost.core.errors import TensorhostError
from tensorhost.frontends.oip.statuses import as_rpc_error
from tensorhost.frontends.rpc import Role, Rpc, RpcContext

SERVICE = "inference.GRPCInferenceService"

MessageHandler = Callable[[Any, RpcContext], Awaitable[Any]]
"""From a request of the service to its response, both messages of our pool."""


def rpc(method: str, handler: MessageHandler, role: Role = Role.INFER) -> Rpc:
    """A method of the service, whose request is ``METHODRequest``."""
    kind = message_class(f"inference.{method}Request")

    async def answer(data: bytes, context: RpcContext) -> bytes:
        try:
            response = await handler(decode(kind, data), context)
        except TensorhostError as error:
            raise as_rpc_error(error) from error
        return bytes(response.SerializeToString())

    return Rpc(f"/{SERVICE}/{method}", answer, role)


def response_class(method: str) -> Any:
    """The class of a method's response."""
    return message_class(f"inference.{method}Response")
