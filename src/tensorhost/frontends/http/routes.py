"""A route: method, path and handler."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.routing import compile_path

from tensorhost.frontends.http.exchange import Exchange, Reply

Handler = Callable[[Exchange], Awaitable[Reply]]


@dataclass(frozen=True, slots=True)
class Route:
    """Which requests a handler answers."""

    methods: tuple[str, ...]
    pattern: re.Pattern[str]
    handler: Handler


def route(method: str, path: str, handler: Handler) -> Route:
    """The route of ``path``, in which ``{name}`` stands for a part; one for GET answers HEAD too."""
    pattern, _, _ = compile_path(path)
    return Route(("GET", "HEAD") if method == "GET" else (method,), pattern, handler)
