"""The HTTP applications of one server as one: each request goes to the one its path is of."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from tensorhost.frontends import oip
from tensorhost.frontends.native import HEALTH_PATHS, NativeApp
from tensorhost.frontends.tfserving import RestApp
from tensorhost.server.cors import wrap_cors
from tensorhost.settings import Settings


class Applications:
    """Our own API, and beside it TensorFlow Serving's REST API and the Open Inference Protocol.

    Args:
        native: answers all paths that the others do not.
        rest: TensorFlow Serving's; has its paths on every port, and nothing but health beside it on a port of its own.
        open_inference: has its paths on the main port.
        settings: ports, and which origins may call.
    """

    def __init__(self, native: NativeApp, rest: RestApp, open_inference: oip.RestApp, settings: Settings) -> None:
        self._traced = native.inference_paths
        self._rest = rest
        self._native_app = wrap_cors(native, settings)
        # An answer must not name its origins twice.
        self._rest_app: ASGIApp = rest if settings.tfserving_cors else wrap_cors(rest, settings)
        self._is_rest = rest.answers
        self._open_inference = open_inference
        self._open_inference_app = wrap_cors(open_inference, settings)
        self._is_open_inference = open_inference.answers
        self._own_port = settings.tfserving_port

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        path = scope["path"]
        if self._is_rest(path) or (self._own_port and self._is_for_own_port(scope)):
            await self._rest_app(scope, receive, send)
        elif self._is_open_inference(path):
            await self._open_inference_app(scope, receive, send)
        else:
            await self._native_app(scope, receive, send)

    def traced_route(self, path: str) -> str | None:
        """The route of a path that asks a model, as traces name it; None for others."""
        if path in self._traced:
            return path
        return self._rest.traced_route(path) or self._open_inference.traced_route(path)

    def _is_for_own_port(self, scope: Scope) -> bool:
        server = scope.get("server")
        return server is not None and server[1] == self._own_port and scope["path"] not in HEALTH_PATHS
