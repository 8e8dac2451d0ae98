"""Both clients behind one face, a server that misbehaves, and a time in which nobody waits."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from awaited import Awaited
from scripted_server import ScriptedServer, running

from tensorhost.client import Client, async_driver, link, retries, steps, sync_driver, transport


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with running() as scripted:
        yield scripted


@pytest.fixture(params=[Client, Awaited], ids=["sync", "async"])
def make(request):
    """Makes a client of either kind; all are closed at the end."""
    made = []

    def make_one(url: str, **options: Any) -> Any:
        made.append(request.param(url, **{"signature_dtypes": False} | options))
        return made[-1]

    yield make_one
    for client in made:
        client.__exit__(None, None, None)


@pytest.fixture
def client(make, server):
    return make(server.url, timeout_s=20)


class VirtualTime:
    """The clock of the client: it goes on while a server is waited for, and jumps where the client would sleep."""

    def __init__(self) -> None:
        self.naps: list[float] = []
        self.slept_s = 0.0

    def monotonic(self) -> float:
        return time.monotonic() + self.slept_s

    def sleep(self, seconds: float) -> None:
        self.naps.append(seconds)
        self.slept_s += seconds

    async def sleep_on_loop(self, seconds: float) -> None:
        self.sleep(seconds)


@pytest.fixture
def naps(monkeypatch) -> list[float]:
    """How long the client would have slept, in seconds, without waiting. Random waits are as long as they may be."""
    virtual = VirtualTime()
    for module in (async_driver, link, retries, steps, transport):
        monkeypatch.setattr(module, "monotonic", virtual.monotonic)
    monkeypatch.setattr(sync_driver, "interruptible", lambda stopped: virtual.sleep)
    monkeypatch.setattr(async_driver, "sleep", virtual.sleep_on_loop)
    monkeypatch.setattr("random.uniform", lambda least, most: most)
    return virtual.naps
