"""Spans of gRPC calls: what begins, names and marks them."""

from __future__ import annotations

import asyncio

import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from tensorhost.core.errors import ModelNotFoundError
from tensorhost.frontends.rpc import Rpc, RpcContext, RpcError, RpcStatus, StreamRpc
from tensorhost.frontends.tfserving import faults
from tensorhost.server.grpc.tracing import wrap_rpcs
from tensorhost.telemetry.spans import Tracing
from tensorhost.telemetry.traces import current_trace

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SERVICE = "a.Service"


class Traced:
    """One method with spans kept in memory."""

    def __init__(self, handler):
        self._exporter = InMemorySpanExporter()
        tracing = Tracing(SimpleSpanProcessor(self._exporter), Resource.create({"service.name": "test"}))
        (self._rpc,) = wrap_rpcs([Rpc(f"/{SERVICE}/Ask", handler)], tracing, SERVICE)

    async def ask(self, **metadata):
        context = RpcContext(metadata=metadata, peer="ipv4:10.0.0.9:5")
        try:
            return await asyncio.create_task(self._rpc.handler(b"x", context))
        finally:
            await asyncio.sleep(0)  # spans are made behind the answer

    @property
    def span(self):
        (span,) = self._exporter.get_finished_spans()
        return span

    @property
    def count(self):
        return len(self._exporter.get_finished_spans())


async def echo(request, _context):
    assert current_trace() is not None
    return request


async def test_a_call_is_a_span_of_the_server_under_the_clients():
    traced = Traced(echo)
    assert await traced.ask(traceparent=f"00-{TRACE}-{PARENT}-01", **{"user-agent": "unit"}) == b"x"
    span = traced.span
    assert (span.name, span.kind) == (f"{SERVICE}/Ask", SpanKind.SERVER)
    assert (f"{span.context.trace_id:032x}", f"{span.parent.span_id:016x}") == (TRACE, PARENT)
    assert span.attributes == {
        "rpc.system": "grpc",
        "rpc.service": SERVICE,
        "rpc.method": "Ask",
        "rpc.grpc.status_code": 0,
        "network.peer.address": "ipv4:10.0.0.9:5",
        "user_agent.original": "unit",
    }
    assert span.status.status_code is StatusCode.UNSET


async def test_what_the_client_does_not_record_has_no_span():
    async def look(request, _context):
        assert current_trace() is None
        return request

    traced = Traced(look)
    await traced.ask(traceparent=f"00-{TRACE}-{PARENT}-00")
    assert traced.count == 0


@pytest.mark.parametrize(
    ("error", "status", "code", "marked"),
    [
        (RpcError(RpcStatus.INVALID_ARGUMENT, "x"), 3, "INVALID_REQUEST", StatusCode.UNSET),
        (RpcError(RpcStatus.ABORTED, "x"), 10, "INTERNAL", StatusCode.UNSET),
        (faults.UnsupportedMethodError("x"), 12, "INVALID_REQUEST", StatusCode.ERROR),
        (ModelNotFoundError("x"), 5, "MODEL_NOT_FOUND", StatusCode.UNSET),
        (RpcError(RpcStatus.INTERNAL, "x"), 13, "INTERNAL", StatusCode.ERROR),
        (ValueError("x"), 13, "INTERNAL", StatusCode.ERROR),
    ],
)
async def test_a_failure_has_its_status_and_is_an_error_where_it_is_the_servers(error, status, code, marked):
    async def fail(_request, _context):
        raise error

    traced = Traced(fail)
    with pytest.raises(type(error)):
        await traced.ask()
    assert traced.span.attributes["rpc.grpc.status_code"] == status
    assert traced.span.attributes["error.type"] == code
    assert traced.span.status.status_code is marked


async def test_a_call_that_is_cancelled_has_a_span_too():
    async def hang(_request, _context):
        await asyncio.Event().wait()

    traced = Traced(hang)
    asking = asyncio.create_task(traced.ask())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await asyncio.sleep(0)
    assert traced.span.attributes["error.type"] == "CANCELLED"


def test_other_services_and_streams_are_left_alone():
    async def stream(_requests, _context):
        yield b""

    rpcs = [Rpc("/other.Service/Ask", echo), StreamRpc(f"/{SERVICE}/Stream", stream)]
    assert wrap_rpcs(rpcs, Traced(echo), SERVICE) == rpcs
