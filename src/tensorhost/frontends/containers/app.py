"""The routes of SageMaker and Vertex AI as one ASGI application around the others, which get all other requests.

Only what the settings name is here. Questions to models are passed on to the applications around which this stands, so
they are limited, guarded, counted and logged there. What must stay true: a request is passed on once.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Awaitable, Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tensorhost.core.errors import (
    AlreadyLoadedError,
    InvalidRequestError,
    LoadTimeoutError,
    MethodNotAllowedError,
    ModelNotFoundError,
    TensorhostError,
)
from tensorhost.frontends.containers.delegation import Delegated, delegate
from tensorhost.frontends.containers.multi_model import MultiModel
from tensorhost.frontends.containers.questions import Questions, redirected
from tensorhost.frontends.http.exchange import Exchange, Reply
from tensorhost.frontends.http.failures import report_failure
from tensorhost.frontends.native.statuses import HTTP_STATUS
from tensorhost.frontends.oip.rest.targets import find_target as find_oip_target
from tensorhost.frontends.tfserving.rest.replies import error_reply
from tensorhost.frontends.tfserving.rest.targets import find_target as find_serving_target
from tensorhost.inference import Group, as_tensorhost_error
from tensorhost.models.manager import ModelManager
from tensorhost.settings import Settings
from tensorhost.telemetry import get_logger

_PING = "/ping"
_INVOCATIONS = "/invocations"
_MODELS = re.compile(r"/models(?:/(?P<name>[^/]+)(?P<invoke>/invoke)?)?")
_READY = "/readyz"
_REDIRECT = b"x-vertex-ai-triton-redirect"
_REDIRECTED = re.compile(r"v2(?:/[A-Za-z0-9_-][A-Za-z0-9._-]*)*|metrics", re.ASCII)
_METRICS = "/metrics"
_OK = 200
_ALREADY_LOADED, _LOAD_TIMED_OUT = 409, 408
_NOT_READY_SAGEMAKER, _NOT_READY_VERTEX = 502, 503

_Handler = Callable[[Exchange], Awaitable[Reply | Delegated]]
_Handlers = dict[str, _Handler]

log = get_logger(__name__)


class ContainerApp:
    """Answers the clouds' requests.

    Args:
        app: what answers all others, and the questions to models.
        manager: knows the models.
        settings: which routes there are.
        group: all processes of the server.
    """

    def __init__(self, app: ASGIApp, manager: ModelManager, settings: Settings, group: Group) -> None:
        self._app = app
        self._manager = manager
        self._settings = settings
        self._questions = Questions(manager, settings)
        self._several = MultiModel(manager, settings, group) if settings.sagemaker_multi_model else None
        self._routes: dict[str, _Handlers] = {}
        if settings.sagemaker or settings.sagemaker_multi_model:
            self._routes[_PING] = {"GET": self._ping}
            self._routes[_INVOCATIONS] = {"POST": self._invoke}
        health, predict = settings.vertex_health_route, settings.vertex_predict_route
        if health and not _is_there("GET", health):
            self._routes.setdefault(health, {})["GET"] = self._health
        if predict:
            self._routes.setdefault(predict, {})["POST"] = self._predict
        self._predicts_there = _is_there("POST", predict)
        self._shared = {path for path in (health, predict) if _is_there("GET", path) or _is_there("POST", path)}

    @property
    def routes(self) -> list[tuple[str, str]]:
        """Method and path of each route; ``{name}`` stands for a model."""
        routes = [(method, path) for path, handlers in self._routes.items() for method in handlers]
        if self._several is not None:
            matches = filter(None, map(_MODELS.fullmatch, ("/models", "/models/{name}", "/models/{name}/invoke")))
            routes += [(method, match[0]) for match in matches for method in self._of_models(self._several, match)]
        return routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request, or pass it on."""
        handlers, values = self._match(scope["path"])
        method = scope["method"]
        if handlers is None or (method not in handlers and self._is_shared(scope["path"], values)):
            await self._app(scope, receive, send)
            return
        exchange = Exchange(scope, receive, send, self._settings)
        exchange.path_values = values or {}
        try:
            if method not in handlers:
                raise MethodNotAllowedError(f"{method} is not allowed here; use {', '.join(handlers)}.")
            reply = await handlers[method](exchange)
        except asyncio.CancelledError:
            log.info("client disconnected", request_id=exchange.request_id, path=exchange.path)
            raise
        except Exception as error:  # noqa: BLE001 - border of a request: every error gets an answer
            reply = self._explain(error, exchange)
        if isinstance(reply, Delegated):
            await delegate(self._app, reply, scope, receive, send)
        else:
            await exchange.send(reply)

    def _match(self, path: str) -> tuple[_Handlers | None, dict[str, str] | None]:
        handlers = self._routes.get(path)
        if handlers is not None or self._several is None:
            return handlers, None
        match = _MODELS.fullmatch(path)
        if match is None:
            return None, None
        return self._of_models(self._several, match), {"name": match["name"] or ""}

    def _is_shared(self, path: str, values: dict[str, str] | None) -> bool:
        """Whether the other applications have methods of their own at a path of ours, such as those below /models."""
        return values is not None or path in self._shared

    def _of_models(self, several: MultiModel, match: re.Match[str]) -> _Handlers:
        if match["invoke"]:
            return {"POST": self._invoke_one}
        if match["name"]:
            return {"GET": several.describe, "DELETE": several.unload}
        return {"GET": several.list, "POST": several.load}

    async def _ping(self, _exchange: Exchange) -> Reply:
        return Reply(b"", _OK if await self._is_ready() else _NOT_READY_SAGEMAKER, b"text/plain")

    async def _health(self, _exchange: Exchange) -> Reply:
        return Reply(b"", _OK if await self._is_ready() else _NOT_READY_VERTEX, b"text/plain")

    async def _invoke(self, exchange: Exchange) -> Delegated:
        question = self._questions.of(exchange)
        exchange.subject = question.model, question.version or None
        return await self._questions.asked(exchange, question)

    async def _invoke_one(self, exchange: Exchange) -> Delegated:
        name = exchange.path_values["name"]
        if self._several is None or not self._several.serves(name):
            raise ModelNotFoundError(f"Model {name[:128]} is not loaded.")
        exchange.subject = name, None
        return await self._questions.asked(exchange, self._questions.of(exchange, name))

    async def _predict(self, exchange: Exchange) -> Delegated:
        redirect = exchange.header(_REDIRECT)
        if redirect is not None:
            path = f"/{redirect.decode('latin-1').strip('/ ')}"
            if _REDIRECTED.fullmatch(path[1:]) is None:
                raise InvalidRequestError("X-Vertex-Ai-Triton-Redirect must name a route below v2, or metrics.")
            # Vertex AI knows no method but POST.
            method = "POST" if _is_there("POST", path) else "GET"
            headers = {_REDIRECT: None} | ({b"accept": b"text/plain"} if path == _METRICS else {})
            return redirected(exchange, path, method, headers)
        if self._predicts_there:
            return redirected(exchange, exchange.path, "POST", {})
        return await self._invoke(exchange)

    async def _is_ready(self) -> bool:
        """Whether the server takes requests, and there is a version that answers those that name no model."""
        if await _readiness(self._app) != _OK:
            return False
        if self._several is not None:
            # Models come later, once this has answered.
            return True
        models = self._manager.models()
        asked = self._settings.container_model
        candidates = models.values() if asked is None else [models[asked]] if asked in models else []
        return any(model.lazy or any(record.available for record in model.versions.values()) for model in candidates)

    def _explain(self, error: Exception, exchange: Exchange) -> Reply:
        known = as_tensorhost_error(error)
        self._manager.metrics.record_unattributed_error(known.code)
        status = _status(known)
        report_failure(self._manager.metrics, log, exchange, known, status)
        return error_reply(known.message, status, known.retry_after_s)


def _is_there(method: str, path: str) -> bool:
    """Whether TensorFlow Serving's REST API or the Open Inference Protocol has that route."""
    for find_target in (find_serving_target, find_oip_target):
        with contextlib.suppress(TensorhostError):
            find_target(method, path)
            return True
    return False


def _status(error: TensorhostError) -> int:
    if isinstance(error, AlreadyLoadedError):
        return _ALREADY_LOADED
    return _LOAD_TIMED_OUT if isinstance(error, LoadTimeoutError) else HTTP_STATUS[error.code]


async def _readiness(app: ASGIApp) -> int:
    """The status with which ``app`` says whether the server is ready."""
    statuses: list[int] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    await app({"type": "http", "method": "GET", "path": _READY, "headers": []}, receive, send)
    return statuses[0] if statuses else 500
