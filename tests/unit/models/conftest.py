from __future__ import annotations

import contextlib

import pytest
from model_fakes import FakeProber, World

from tensorhost.models import ModelManager, lifecycle, loading
from tensorhost.settings import Settings
from tensorhost.telemetry import MemoryUsage


@pytest.fixture
def world(tmp_path, monkeypatch) -> World:
    world = World(tmp_path / "models")
    world.root.mkdir()
    monkeypatch.setattr(lifecycle, "prepare_runtime", lambda _format, _options: None)
    monkeypatch.setattr(loading, "load", world.load)
    monkeypatch.setattr(loading, "examine", lambda _path, _options: world.contents)
    monkeypatch.setattr(lifecycle, "Prober", lambda *_limits: FakeProber(world))
    monkeypatch.setattr(loading, "process_memory", lambda: MemoryUsage(0, 0, 0))
    monkeypatch.setattr(loading, "release_memory", lambda: None)
    monkeypatch.setattr(lifecycle, "release_memory", lambda: None)
    return world


@pytest.fixture
async def managed(world):
    """Makes managers of the world's repository, opened, and closes them afterwards."""
    async with contextlib.AsyncExitStack() as stack:

        async def manage(*, settle: bool = True, models=None, wishes=(), sharing=None, **settings) -> ModelManager:
            defaults = {"poll_interval_s": 0.02, "settle_s": 0.0, "load_backoff_s": 0.01, "warmup_iterations": 0}
            manager = ModelManager(
                Settings(**(defaults | settings)),
                repository=world.root,
                models=models,
                wishes=wishes,
                sharing=sharing,
            )
            await stack.enter_async_context(manager)
            if settle:
                await manager.wait_settled()
            return manager

        yield manage
