"""The routes of the dashboard. All of them only read; what the page changes goes through the control routes."""

from __future__ import annotations

import asyncio
from urllib.parse import parse_qs

from tensorhost.core.errors import InvalidRequestError
from tensorhost.core.version import __version__
from tensorhost.frontends.dashboard.assets import INDEX, Assets
from tensorhost.frontends.dashboard.events import Events
from tensorhost.frontends.dashboard.state import describe_server, errors_json, samples_json
from tensorhost.frontends.http.accept import prefers_html
from tensorhost.frontends.http.exchange import Exchange, Reply, json_reply
from tensorhost.frontends.http.routes import Route, route
from tensorhost.inference import Group
from tensorhost.models.manager import ModelManager
from tensorhost.settings import Settings
from tensorhost.telemetry.history import NOTHING, Past

_STREAM_HEADERS = (
    (b"cache-control", b"no-store"),
    # nginx would hold events back until there are enough of them.
    (b"x-accel-buffering", b"no"),
)
_NOT_STORED = ((b"cache-control", b"no-store"),)
_BY_ACCEPT = ((b"vary", b"accept"),)
_MOST_QUESTIONS = 2


class Dashboard:
    """The page and what it asks for.

    Args:
        manager: knows the models.
        settings: who may control.
        group: all processes of the server.
    """

    def __init__(self, manager: ModelManager, settings: Settings, group: Group) -> None:
        self._manager = manager
        self._settings = settings
        self._group = group
        self._assets = Assets()
        self._asking = asyncio.Semaphore(_MOST_QUESTIONS)
        self._events = Events(manager, group)

    def routes(self) -> list[Route]:
        """For the application that answers requests."""
        return [
            route("GET", "/", self._index),
            route("GET", "/dashboard/server", self._server),
            route("GET", "/dashboard/models", self._models),
            route("GET", "/dashboard/errors", self._errors),
            route("GET", "/dashboard/history", self._history),
            route("GET", "/dashboard/events", self._stream),
            route("GET", "/dashboard/{file:path}", self._file),
        ]

    def begin_drain(self) -> None:
        """Let the open pages go."""
        self._events.begin_drain()

    async def _index(self, exchange: Exchange) -> Reply:
        if prefers_html(exchange.headers.get(b"accept", b"")):
            return self._assets.reply(exchange, INDEX, *_BY_ACCEPT)
        # The status is what KServe's clients of protocol v1 ask for.
        reply = json_reply({"name": "tensorhost", "version": __version__, "status": "alive"})
        reply.headers = _BY_ACCEPT
        return reply

    async def _file(self, exchange: Exchange) -> Reply:
        return self._assets.reply(exchange, exchange.path_values["file"])

    async def _server(self, _exchange: Exchange) -> Reply:
        return _fresh(json_reply(describe_server(self._settings, await self._group.view())))

    async def _models(self, _exchange: Exchange) -> Reply:
        return _fresh(Reply(await self._events.models.current(max_age_s=0)))

    async def _errors(self, _exchange: Exchange) -> Reply:
        return _fresh(Reply(errors_json(await self._past(NOTHING, NOTHING))))

    async def _history(self, exchange: Exchange) -> Reply:
        resolution = _resolution(exchange)
        if resolution == "fine":
            samples = (await self._past(-1, NOTHING)).fine
        else:
            samples = (await self._past(NOTHING, -1)).coarse
        return _fresh(Reply(samples_json(resolution, samples)))

    async def _past(self, fine_after: int, coarse_after: int) -> Past:
        # With several workers an answer may take megabytes on its way.
        async with self._asking:
            return await self._group.past(fine_after, coarse_after)

    async def _stream(self, exchange: Exchange) -> Reply:
        if exchange.method == "HEAD":
            return Reply(b"", content_type=b"text/event-stream", headers=_STREAM_HEADERS)
        return Reply(b"", content_type=b"text/event-stream", headers=_STREAM_HEADERS, chunks=self._events.stream())


def _fresh(reply: Reply) -> Reply:
    reply.headers = _NOT_STORED
    return reply


def _resolution(exchange: Exchange) -> str:
    query = parse_qs(exchange.query.decode("latin-1"))
    resolution = query.get("resolution", ["fine"])[0]
    if resolution not in ("fine", "coarse"):
        raise InvalidRequestError("'resolution' must be fine or coarse.", details={"field": "resolution"})
    return resolution
