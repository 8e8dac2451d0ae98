"""Calls an ASGI application without a server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

from tensorhost.frontends.native import NativeApp
from tensorhost.inference import InferenceEngine
from tensorhost.models.manager import ModelManager
from tensorhost.settings import Settings


@dataclass(frozen=True)
class Sent:
    """A response as the application sent it."""

    status: int
    headers: dict[bytes, bytes]
    body: bytes

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)


def app_of(**settings: Any) -> NativeApp:
    """An application that knows no model."""
    chosen = Settings(**settings)
    return NativeApp(InferenceEngine(ModelManager(chosen)), chosen)


async def call(app: Any, method: str, path: str, *pieces: bytes, headers: dict[str, str] | None = None) -> Sent:
    """One request whose body comes in ``pieces``."""
    waiting = list(pieces) or [b""]
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        if not waiting:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": waiting.pop(0), "more_body": bool(waiting)}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    raw = [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()]
    await app({"type": "http", "method": method, "path": path, "headers": raw}, receive, send)
    start, body = sent
    return Sent(start["status"], dict(start["headers"]), body["body"])
