"""The REST API as one ASGI application: routes, CORS, and the border where every error becomes ``{"error": …}``.

Paths are matched in either case and without their query; what is no route is a malformed request, as in TensorFlow
Serving, and outside ``/v1/`` nothing is answered but the metrics. What must stay true: each request is answered and
counted once.
"""

from __future__ import annotations

import asyncio
import time

from starlette.types import Receive, Scope, Send

from tensorhost.core.errors import InvalidRequestError, NotFoundError
from tensorhost.frontends.http.exchange import Exchange, Reply
from tensorhost.frontends.http.failures import report_failure
from tensorhost.frontends.rpc import RpcStatus
from tensorhost.frontends.tfserving.inference import Inference
from tensorhost.frontends.tfserving.monitoring import CONTENT_TYPE, render
from tensorhost.frontends.tfserving.request_log import RequestLog
from tensorhost.frontends.tfserving.rest.descriptions import Descriptions
from tensorhost.frontends.tfserving.rest.predictions import Predictions
from tensorhost.frontends.tfserving.rest.replies import error_reply, http_status
from tensorhost.frontends.tfserving.rest.targets import PREFIX, Api, Target, find_target
from tensorhost.frontends.tfserving.serving_metrics import Entrypoint, ServingMetrics
from tensorhost.frontends.tfserving.statuses import as_rpc_error
from tensorhost.inference import Group, InferenceEngine, as_tensorhost_error
from tensorhost.settings import Settings
from tensorhost.telemetry import get_logger
from tensorhost.telemetry.traces import current_trace

_CORS_HEADERS = (
    (b"access-control-allow-origin", b"*"),
    (b"access-control-allow-methods", b"POST, GET"),
    (b"access-control-allow-headers", b"Content-Type"),
)
_INFERENCE = frozenset({Api.PREDICT, Api.CLASSIFY, Api.REGRESS})
_LONGEST_SHOWN = 128
_NO_TARGET = Target(Api.LIST)
"""Of a request that names no target, or a wrong one."""
_ELSEWHERE = Target(Api.LIST)
"""Of a request for the metrics, or on the API's own port for something else; not counted as a call."""

log = get_logger(__name__)
access = get_logger("tensorhost.access")


class RestApp:
    """Answers requests of TensorFlow Serving's REST clients.

    Args:
        engine: answers inference requests; its manager the others.
        settings: limits, CORS, the path of the metrics.
        group: all processes of the server.
        request_log: of this process.
    """

    def __init__(self, engine: InferenceEngine, settings: Settings, group: Group, request_log: RequestLog) -> None:
        self._engine = engine
        self._settings = settings
        self._group = group
        inference = Inference(engine)
        self._metrics = ServingMetrics(engine.manager)
        self._predictions = Predictions(engine, inference, settings, request_log)
        self._descriptions = Descriptions(engine.manager, inference)
        self._metrics_path = settings.tfserving_metrics_path
        self._timeout_s = settings.tfserving_timeout_ms / 1000 or None
        self._headers = _CORS_HEADERS if settings.tfserving_cors else ()
        self._access_log = settings.access_log

    def answers(self, path: str) -> bool:
        """Whether requests for ``path`` are for this application."""
        return path[: len(PREFIX)].lower() == PREFIX or (path == self._metrics_path and path != "")

    def traced_route(self, path: str) -> str | None:
        """The route of a path that asks a model, as traces name it; None for others."""
        api = path.rpartition(":")[2].lower()
        return f"{PREFIX}models/{{model}}:{api}" if api in _INFERENCE and self.answers(path) else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        exchange = Exchange(scope, receive, send, self._settings)
        started = time.perf_counter()
        target, status = _NO_TARGET, RpcStatus.OK
        try:
            if exchange.method == "OPTIONS":
                reply = _preflight(exchange)
            elif exchange.path == self._metrics_path:
                target = _ELSEWHERE
                reply = await self._exposition(exchange)
            elif not self.answers(exchange.path):
                target = _ELSEWHERE
                raise NotFoundError(f"There is no route {exchange.path[:_LONGEST_SHOWN]}.")
            else:
                target = find_target(exchange.method, _path_sent(scope))
                exchange.subject = target.name or None, _version_text(target)
                reply = await self._answer(exchange, target)
        except asyncio.CancelledError:
            log.info("client disconnected", request_id=exchange.request_id, path=exchange.path)
            self._count(target, RpcStatus.CANCELLED, started)
            raise
        except Exception as error:  # noqa: BLE001 - border of a request: every error gets an answer
            reply, status = self._explain(error, exchange, target)
        if self._headers:
            reply.headers = (*reply.headers, *self._headers)
        await exchange.send(reply)
        self._count(target, status, started)
        if self._access_log:
            access.info(
                "request",
                request_id=exchange.request_id,
                method=exchange.method,
                path=exchange.path,
                status=reply.status,
                ms=round((time.perf_counter() - started) * 1000, 3),
                bytes=reply.size,
            )

    async def _answer(self, exchange: Exchange, target: Target) -> Reply:
        api = target.api
        if api is Api.STATUS:
            return self._descriptions.status(target)
        if api is Api.LIST:
            return self._descriptions.all_models()
        deadline = self._engine.deadline(self._timeout_s)
        if api is Api.METADATA:
            return await self._descriptions.metadata(target, deadline)
        if api is Api.PREDICT:
            return await self._predictions.predict(exchange, target, deadline)
        if api is Api.CLASSIFY:
            return await self._predictions.classify(exchange, target, deadline)
        return await self._predictions.regress(exchange, target, deadline)

    async def _exposition(self, exchange: Exchange) -> Reply:
        if exchange.method not in ("GET", "HEAD"):
            raise InvalidRequestError(f"Malformed request: {exchange.method} {exchange.path}")
        view = await self._group.view()
        # A thousand series take milliseconds to write, which requests need not wait for.
        return Reply(await asyncio.to_thread(render, view), content_type=CONTENT_TYPE)

    def _explain(self, error: Exception, exchange: Exchange, target: Target) -> tuple[Reply, RpcStatus]:
        known = as_tensorhost_error(error)
        failure = as_rpc_error(error)
        if target.api not in _INFERENCE:
            # The others count their own errors, under the model's version where one is known.
            self._engine.metrics.record_unattributed_error(known.code)
        status = http_status(failure.status, known)
        trace = current_trace()
        if trace is not None:
            trace.error, trace.subject = known.code, exchange.subject
        report_failure(self._engine.metrics, log, exchange, known, status)
        return error_reply(failure.message, status, known.retry_after_s), failure.status

    def _count(self, target: Target, status: RpcStatus, started: float) -> None:
        if target is _ELSEWHERE:
            return
        seconds = time.perf_counter() - started
        self._metrics.record(target.name, target.api.value, Entrypoint.REST, status, seconds)


def _preflight(exchange: Exchange) -> Reply:
    origin = exchange.headers.get(b"origin", b"")
    allowed = b"http://" in origin or b"https://" in origin
    return Reply(b"", 200 if allowed else 400, b"text/plain")


def _path_sent(scope: Scope) -> str:
    """The path before its escapes are read: one in a model's name is part of the name."""
    raw: bytes | None = scope.get("raw_path")
    path: str = scope["path"]
    return path if raw is None or b"%" not in raw else raw.partition(b"?")[0].decode("latin-1")


def _version_text(target: Target) -> str | None:
    return target.label if target.version is None else str(target.version)
