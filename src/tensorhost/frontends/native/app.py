"""The native HTTP API as one ASGI application.

The inference routes are looked up first, in one dictionary read; the others go through a router. This is the border
where every error of a request becomes the one error shape, once, with one log record.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from starlette.types import Receive, Scope, Send

from tensorhost.core.errors import MethodNotAllowedError, NotFoundError, TensorhostError
from tensorhost.core.ids import check_name
from tensorhost.frontends.http.accept import prefers_prometheus
from tensorhost.frontends.http.exchange import Exchange, Reply, json_reply
from tensorhost.frontends.http.failures import report_failure
from tensorhost.frontends.http.routes import Handler, Route, route
from tensorhost.frontends.native.control import Control
from tensorhost.frontends.native.descriptions import describe_all, describe_model, describe_version
from tensorhost.frontends.native.openapi import ApiPages
from tensorhost.frontends.native.predictions import Predictions
from tensorhost.frontends.native.statuses import HTTP_STATUS, error_reply
from tensorhost.inference import Alone, Group, InferenceEngine, as_tensorhost_error
from tensorhost.settings import Settings
from tensorhost.telemetry import exposition, get_logger, snapshot, triton_names
from tensorhost.telemetry.machine import Machine
from tensorhost.telemetry.server_view import ServerView
from tensorhost.telemetry.traces import current_trace

HEALTH_PATHS = frozenset({"/health", "/health/ready", "/health/live", "/readyz", "/healthz"})
"""Paths that say whether the server lives and is ready."""

log = get_logger(__name__)
access = get_logger("tensorhost.access")


class NativeApp:
    """Routes requests to handlers, and answers their errors.

    Args:
        engine: answers inference requests; its manager the others.
        settings: limits and who may control.
        group: all processes of the server; None when this one is alone.
        more: routes of others.
    """

    def __init__(
        self, engine: InferenceEngine, settings: Settings, group: Group | None = None, more: Sequence[Route] = ()
    ) -> None:
        self._engine = engine
        self._manager = engine.manager
        self._group = group or Alone(engine.manager)
        self._settings = settings
        self._access_log = settings.access_log
        self._machine = Machine()
        self._draining = False
        predictions = Predictions(engine, settings)
        control = Control(engine.manager, settings, self._group)
        description = ApiPages()
        self._inference: dict[str, Handler] = {
            "/predict": predictions.predict,
            "/batch-predict": predictions.batch_predict,
        }
        self._routes = [
            route("GET", "/health", self._health),
            route("GET", "/health/ready", self._health),
            route("GET", "/health/live", self._live),
            route("GET", "/readyz", self._health),
            route("GET", "/healthz", self._live),
            route("GET", "/metrics", self._metrics),
            route("GET", "/models", self._models),
            route("GET", "/models/{name}", self._model),
            route("GET", "/models/{name}/versions/{version}", self._version),
            route("POST", "/models/{name}/load", control.load),
            route("POST", "/models/{name}/unload", control.unload),
            route("POST", "/models/{name}/labels", control.label),
            route("GET", "/openapi.json", description.document),
            route("GET", "/docs", description.page),
            *more,
        ]

    @property
    def inference_paths(self) -> frozenset[str]:
        """Paths of the inference routes."""
        return frozenset(self._inference)

    def begin_drain(self) -> None:
        """Readiness says 503 from now on; requests are answered all the same."""
        self._draining = True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        exchange = Exchange(scope, receive, send, self._settings)
        started = time.perf_counter()
        try:
            handler = self._inference.get(exchange.path)
            if handler is None:
                handler = self._match(exchange)
            elif exchange.method != "POST":
                raise _wrong_method(exchange, ["POST"])
            reply = await handler(exchange)
        except asyncio.CancelledError:
            # The client went away: nobody is left to answer.
            log.info("client disconnected", request_id=exchange.request_id, path=exchange.path)
            raise
        except Exception as error:  # noqa: BLE001 - border of a request: every error gets an answer
            reply = self._explain(error, exchange)
        await exchange.send(reply)
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

    def _match(self, exchange: Exchange) -> Handler:
        allowed: list[str] = []
        for known in self._routes:
            match = known.pattern.fullmatch(exchange.path)
            if match is None:
                continue
            if exchange.method in known.methods:
                exchange.path_values = match.groupdict()
                return known.handler
            allowed.extend(known.methods)
        if allowed:
            raise _wrong_method(exchange, allowed)
        raise NotFoundError(f"There is no route {exchange.path[:128]}.")

    def _explain(self, error: Exception, exchange: Exchange) -> Reply:
        known = as_tensorhost_error(error)
        if exchange.path not in self._inference or isinstance(known, MethodNotAllowedError):
            # The inference routes count their own errors, under the model's version where one is known.
            self._engine.metrics.record_unattributed_error(known.code)
        status = HTTP_STATUS[known.code]
        trace = current_trace()
        if trace is not None:
            trace.error, trace.subject = known.code, exchange.subject
        report_failure(self._engine.metrics, log, exchange, known, status)
        return error_reply(known, exchange.request_id)

    async def _health(self, _exchange: Exchange) -> Reply:
        if self._draining:
            return json_reply({"status": "draining"}, 503)
        if not self._group.ready:
            return json_reply({"status": "starting"}, 503)
        return json_reply({"status": "healthy"})

    async def _live(self, _exchange: Exchange) -> Reply:
        return json_reply({"status": "alive"})

    async def _metrics(self, exchange: Exchange) -> Reply:
        accept = exchange.headers.get(b"accept", b"")
        view = await self._group.view()
        if prefers_prometheus(accept):
            # A thousand series take milliseconds to write, which requests need not wait for.
            body, content_type = await asyncio.to_thread(self._exposition, view, accept.decode("latin-1"))
            return Reply(body, content_type=content_type.encode())
        return json_reply(snapshot.render(view))

    def _exposition(self, view: ServerView, accept: str) -> tuple[bytes, str]:
        body, content_type = exposition.render(view, accept)
        if self._settings.oip_metrics:
            body = triton_names.add_to(body, view, self._machine)
        return body, content_type

    async def _models(self, _exchange: Exchange) -> Reply:
        return json_reply(describe_all(self._manager.models().values(), self._manager.problems()))

    async def _model(self, exchange: Exchange) -> Reply:
        return json_reply(describe_model(self._manager.model(check_name(exchange.path_values["name"]))))

    async def _version(self, exchange: Exchange) -> Reply:
        name = check_name(exchange.path_values["name"])
        version = check_name(exchange.path_values["version"], "model version")
        return json_reply(describe_version(self._manager.model(name), self._manager.version(name, version)))


def _wrong_method(exchange: Exchange, allowed: list[str]) -> TensorhostError:
    return MethodNotAllowedError(
        f"{exchange.method} is not allowed here; use {', '.join(allowed)}.", details={"allowed": allowed}
    )
