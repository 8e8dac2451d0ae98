"""Traces of gRPC calls, only for those who ask for them: otherwise the methods are not wrapped at all."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import structlog

from tensorhost.core.errors import CANONICAL, ErrorCode, TensorhostError
from tensorhost.frontends.rpc import Rpc, RpcContext, RpcError, RpcStatus, StreamRpc, UnaryHandler
from tensorhost.telemetry.traces import RequestTrace, enter_trace, leave_trace

if TYPE_CHECKING:
    from tensorhost.telemetry.spans import Tracing

_OF_TRACES = ("traceparent", "tracestate")
_SERVER_FAULTS = frozenset(
    {
        RpcStatus.UNKNOWN,
        RpcStatus.DEADLINE_EXCEEDED,
        RpcStatus.UNIMPLEMENTED,
        RpcStatus.INTERNAL,
        RpcStatus.UNAVAILABLE,
        RpcStatus.DATA_LOSS,
    }
)
"""What OpenTelemetry's conventions call an error of a server's span."""

# Of several codes with one status the first is the most general; a fault of ours is none of the model's.
_CODES: Mapping[str, ErrorCode] = {canonical.value: code for code, canonical in reversed(list(CANONICAL.items()))} | {
    RpcStatus.INTERNAL.name: ErrorCode.INTERNAL
}
_MAX_TEXT = 256


def wrap_rpcs(rpcs: Sequence[Rpc | StreamRpc], tracing: Tracing, service: str) -> list[Rpc | StreamRpc]:
    """``rpcs``, with a span for each call of those of ``service``, and its trace id in their log records."""
    return [
        replace(rpc, handler=_traced(rpc, tracing)) if isinstance(rpc, Rpc) and _service(rpc) == service else rpc
        for rpc in rpcs
    ]


def _traced(rpc: Rpc, tracing: Tracing) -> UnaryHandler:
    async def traced(request: bytes, context: RpcContext) -> bytes:
        headers = [(key.encode(), _bytes(context.metadata[key])) for key in _OF_TRACES if key in context.metadata]
        trace_id, span = tracing.begin(rpc.path[1:], headers)
        structlog.contextvars.bind_contextvars(trace_id=trace_id)
        if span is None:
            return await rpc.handler(request, context)
        return await _record(rpc, request, context, RequestTrace(tracing, span))

    return traced


async def _record(rpc: Rpc, request: bytes, context: RpcContext, trace: RequestTrace) -> bytes:
    """Make the call, and the spans once its answer has been handed over."""
    status = RpcStatus.OK
    token = enter_trace(trace)
    try:
        return await rpc.handler(request, context)
    except asyncio.CancelledError:
        status, trace.error = RpcStatus.CANCELLED, ErrorCode.CANCELLED
        raise
    except Exception as error:
        status, trace.error = _status_and_code(error)
        raise
    finally:
        leave_trace(token)
        # HTTP's words for it: what is below 500 is no fault of the server.
        as_http = 500 if status in _SERVER_FAULTS else 200
        attributes = _attributes(rpc, context, status)
        asyncio.get_running_loop().call_soon(trace.tracing.finish, trace, attributes, as_http)


def _status_and_code(error: Exception) -> tuple[RpcStatus, ErrorCode]:
    if isinstance(error, TensorhostError):
        # A fault in TensorFlow Serving's words has a status of its own.
        return error.status if isinstance(error, RpcError) else RpcStatus[error.canonical.value], error.code
    if isinstance(error, RpcError):
        return error.status, _CODES.get(error.status.name, ErrorCode.INTERNAL)
    return RpcStatus.INTERNAL, ErrorCode.INTERNAL


def _attributes(rpc: Rpc, context: RpcContext, status: RpcStatus) -> dict[str, str | int]:
    """What is known of the call, by the names of OpenTelemetry's conventions."""
    attributes: dict[str, str | int] = {
        "rpc.system": "grpc",
        "rpc.service": _service(rpc),
        "rpc.method": rpc.path.rpartition("/")[2],
        "rpc.grpc.status_code": int(status),
        "network.peer.address": context.peer,
    }
    if isinstance(agent := context.metadata.get("user-agent"), str):
        attributes["user_agent.original"] = agent[:_MAX_TEXT]
    return attributes


def _service(rpc: Rpc) -> str:
    return rpc.path[1:].partition("/")[0]


def _bytes(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode("latin-1", "replace")
