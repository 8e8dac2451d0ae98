"""The REST API as one ASGI application: routes, who may call them, and the border where every error becomes an answer.

What must stay true: each request is answered once, and nothing that changes the server is reached without its role.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping

from starlette.types import Receive, Scope, Send

from tensorhost.frontends.authorisation import authorise_http
from tensorhost.frontends.http.exchange import Exchange, Reply
from tensorhost.frontends.http.failures import report_failure
from tensorhost.frontends.oip.open_inference import OpenInference
from tensorhost.frontends.oip.rest.descriptions import Descriptions
from tensorhost.frontends.oip.rest.generation import Generation
from tensorhost.frontends.oip.rest.management import Management
from tensorhost.frontends.oip.rest.predictions import Predictions
from tensorhost.frontends.oip.rest.replies import error_reply
from tensorhost.frontends.oip.rest.targets import PREFIX, Api, Target, find_target
from tensorhost.frontends.oip.statuses import http_status
from tensorhost.frontends.rpc import Role
from tensorhost.inference import as_tensorhost_error
from tensorhost.telemetry import get_logger
from tensorhost.telemetry.traces import current_trace

_Handler = Callable[[Exchange, Target], Awaitable[Reply]]
_INFERENCE = frozenset({Api.INFER, Api.GENERATE, Api.GENERATE_STREAM})
_ASKING = frozenset(api.path.rpartition("/")[2] for api in _INFERENCE)

log = get_logger(__name__)
access = get_logger("tensorhost.access")


class RestApp:
    """Answers requests of the protocol's REST clients.

    Args:
        offered: the protocol's calls.
    """

    def __init__(self, offered: OpenInference) -> None:
        self._engine = offered.engine
        self._settings = offered.settings
        self._access_log = offered.settings.access_log
        self._handlers = _handlers(offered)

    def answers(self, path: str) -> bool:
        """Whether requests for ``path`` are for this application."""
        return path.startswith(PREFIX) and (path == PREFIX or path[len(PREFIX)] == "/")

    def traced_route(self, path: str) -> str | None:
        """The route of a path that asks a model, as traces name it; None for others."""
        api = path.rpartition("/")[2]
        return f"{PREFIX}/models/{{name}}/{api}" if api in _ASKING and self.answers(path) else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        exchange = Exchange(scope, receive, send, self._settings)
        started = time.perf_counter()
        target: Target | None = None
        try:
            target = find_target(exchange.method, _path_sent(scope))
            exchange.subject = target.name or None, target.version or None
            if target.api.role is Role.CONTROL:
                authorise_http(self._settings, exchange.headers)
            reply = await self._handlers[target.api](exchange, target)
        except asyncio.CancelledError:
            # The client went away: nobody is left to answer.
            log.info("client disconnected", request_id=exchange.request_id, path=exchange.path)
            raise
        except Exception as error:  # noqa: BLE001 - border of a request: every error gets an answer
            reply = self._explain(error, exchange, target)
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

    def _explain(self, error: Exception, exchange: Exchange, target: Target | None) -> Reply:
        known = as_tensorhost_error(error)
        if target is None or target.api not in _INFERENCE:
            # The others count their own errors, under the model's version where one is known.
            self._engine.metrics.record_unattributed_error(known.code)
        trace = current_trace()
        if trace is not None:
            trace.error, trace.subject = known.code, exchange.subject
        report_failure(self._engine.metrics, log, exchange, known, http_status(known))
        return error_reply(known)


def _handlers(offered: OpenInference) -> Mapping[Api, _Handler]:
    descriptions, management = Descriptions(offered), Management(offered)
    predictions, generation = Predictions(offered), Generation(offered)
    return {
        Api.SERVER: descriptions.server,
        Api.LIVE: descriptions.live,
        Api.READY: descriptions.ready,
        Api.MODELS: descriptions.models,
        Api.ALL_STATISTICS: descriptions.statistics,
        Api.MODEL: descriptions.model,
        Api.MODEL_READY: descriptions.model_ready,
        Api.CONFIG: descriptions.config,
        Api.STATISTICS: descriptions.statistics,
        Api.INFER: predictions.infer,
        Api.GENERATE: generation.generate,
        Api.GENERATE_STREAM: generation.generate_stream,
        Api.INDEX: management.index,
        Api.LOAD: management.load,
        Api.UNLOAD: management.unload,
        Api.TRACE: management.trace,
        Api.UPDATE_TRACE: management.update_trace,
        Api.LOGGING: management.logging,
        Api.UPDATE_LOGGING: management.update_logging,
        Api.SHARED_STATUS: management.shared_status,
        Api.SHARED_REGISTER: management.shared_register,
        Api.SHARED_UNREGISTER: management.shared_unregister,
        Api.CUDA_STATUS: management.cuda_status,
        Api.CUDA_REGISTER: management.cuda_register,
        Api.CUDA_UNREGISTER: management.cuda_unregister,
    }


def _path_sent(scope: Scope) -> str:
    """The path before its escapes are read: one in a model's name is part of the name."""
    raw: bytes | None = scope.get("raw_path")
    path: str = scope["path"]
    return path if raw is None or b"%" not in raw else raw.partition(b"?")[0].decode("latin-1")
