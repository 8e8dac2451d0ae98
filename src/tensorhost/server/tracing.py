"""Traces of inference requests, only for those who ask for them: otherwise the application is not wrapped at all."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tensorhost.core.errors import ErrorCode, InvalidRequestError
from tensorhost.settings import Settings
from tensorhost.telemetry.traces import RequestTrace, enter_trace, leave_trace

if TYPE_CHECKING:
    from tensorhost.telemetry.span_export import SpanExport
    from tensorhost.telemetry.spans import Tracing

_MAX_TEXT = 256
_REQUEST_ID = b"x-request-id"
_HOST = re.compile(r"([A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::([0-9]{1,5}))?")


def open_tracing(settings: Settings, worker: int | None = None) -> SpanExport | None:
    """What takes this process's spans away; None where tracing is off.

    Args:
        settings: whether tracing is on.
        worker: which of several processes this is; None where it is alone.

    Raises:
        InvalidRequestError: OpenTelemetry is not installed, or an OTEL_* variable cannot be followed.
    """
    if not settings.tracing:
        return None
    try:
        from tensorhost.telemetry.span_export import SpanExport
    except ImportError as error:
        raise InvalidRequestError(
            f"Tracing needs OpenTelemetry ({error}): install it with pip install 'tensorhost[otel]'."
        ) from error
    return SpanExport(worker)


def check_tracing(settings: Settings) -> None:
    """Raise what ``open_tracing`` would, for a process whose workers are going to open it."""
    spans = open_tracing(settings)
    if spans is not None:
        asyncio.run(spans.close())


def wrap_tracing(app: ASGIApp, tracing: Tracing, route_of: Callable[[str], str | None]) -> ASGIApp:
    """``app`` with a span for each POST to a path whose route ``route_of`` names, and its id in their log records.

    Each request must run in a task of its own, as in ``server/exchange.py``: the id stays in the task's context.
    """

    async def traced(scope: Scope, receive: Receive, send: Send) -> None:
        route = route_of(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        if route is None:
            await app(scope, receive, send)
            return
        trace_id, span = tracing.begin(f"POST {route}", scope["headers"])
        structlog.contextvars.bind_contextvars(trace_id=trace_id)
        if span is None:
            await app(scope, receive, send)
        else:
            await _record(app, scope, receive, send, RequestTrace(tracing, span), route)

    return traced


async def _record(app: ASGIApp, scope: Scope, receive: Receive, send: Send, trace: RequestTrace, route: str) -> None:
    """Run ``app`` and make the spans, once its answer has left."""
    start: Message = {}

    async def noting(message: Message) -> None:
        if message["type"] == "http.response.start":
            start.update(status=message["status"], headers=message["headers"])
        await send(message)

    token = enter_trace(trace)
    try:
        await app(scope, receive, noting)
    except asyncio.CancelledError:
        trace.error = ErrorCode.CANCELLED
        raise
    finally:
        leave_trace(token)
        if not start and trace.error is None:
            trace.error = ErrorCode.INTERNAL
        trace.tracing.finish(trace, _attributes(scope, start, route), start.get("status"))


def _attributes(scope: Scope, start: Message, route: str) -> dict[str, str | int]:
    """What is known of the request and its answer, by the names of OpenTelemetry's conventions where they have one."""
    headers: dict[bytes, bytes] = dict(reversed(scope["headers"]))
    attributes: dict[str, str | int] = {
        "http.request.method": scope["method"],
        "http.route": route,
        "url.path": scope["path"],
        "url.scheme": scope["scheme"],
        "network.protocol.version": scope["http_version"],
    }
    if host := _HOST.fullmatch(headers.get(b"host", b"").decode("latin-1")):
        attributes["server.address"] = host[1]
        if host[2]:
            attributes["server.port"] = int(host[2])
    if scope.get("client"):
        attributes["client.address"] = scope["client"][0]
    if b"user-agent" in headers:
        attributes["user_agent.original"] = _text(headers[b"user-agent"])
    if start:
        attributes["http.response.status_code"] = start["status"]
        attributes["tensorhost.request_id"] = _text(dict(start["headers"]).get(_REQUEST_ID, b""))
    return attributes


def _text(value: bytes) -> str:
    return value.decode("latin-1")[:_MAX_TEXT]
