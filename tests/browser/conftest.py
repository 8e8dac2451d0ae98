"""One Chromium and a few server processes for all tests of the dashboard.

Playwright keeps an event loop of its own running, so these tests are run by themselves, not beside asynchronous ones.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect, sync_playwright
from tests.integration.native_server import RunningServer
from visitor import Visitor, url_of

from tensorhost.demo import demo_models_path, samples

MARKUP = "<img src=x onerror=alert(1)>"
_CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
_FLAGS = [
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
]

expect.set_options(timeout=20_000)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    assert _CHROMIUM, "these tests need Chromium (Debian's package: chromium)"
    with sync_playwright() as playwright:
        # Chromium's own sandbox does not start for root, as whom containers run.
        browser = playwright.chromium.launch(executable_path=_CHROMIUM, args=_FLAGS, chromium_sandbox=False)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def repository(tmp_path_factory) -> Path:
    """The demo models, one whose every text is markup, and one that its first request loads."""
    root = tmp_path_factory.mktemp("browser") / "models"
    shutil.copytree(demo_models_path(), root)
    shutil.copytree(root / "wine", root / "hostile")
    labels = [f"{MARKUP}{index}" for index in range(3)]
    (root / "hostile" / "model.toml").write_text(
        f"description = {json.dumps(MARKUP)}\nlabels = {json.dumps(labels)}\n", encoding="utf-8"
    )
    shutil.copytree(root / "digits" / "1", root / "lazy" / "1")
    (root / "lazy" / "model.toml").write_text('loading = "lazy"\n', encoding="utf-8")
    (root / "no model <b>here<b>").mkdir()
    return root


@pytest.fixture(scope="session")
def server(repository) -> Iterator[RunningServer]:
    """The server of ``repository``, ready."""
    with RunningServer(repository, "--no-probe", "--poll-interval-s", 0, "--settle-s", 0) as running:
        running.wait_for("ready")
        yield running
        assert running.process.poll() is None, "the server died"
        assert running.stop() == 0


@pytest.fixture(scope="session")
def broken(tmp_path_factory) -> Path:
    """A repository with one model that cannot be loaded: what serves nothing starts at once."""
    root = tmp_path_factory.mktemp("broken") / "models"
    (root / "broken" / "1").mkdir(parents=True)
    (root / "broken" / "1" / "saved_model.pb").write_bytes(b"not a model")
    return root


@pytest.fixture
def visitor(chromium, server) -> Iterator[Visitor]:
    with Visitor(chromium, url_of(server)) as someone:
        yield someone


@pytest.fixture
def visit(chromium) -> Iterator[Callable[..., Visitor]]:
    """Makes visitors of any server, with options of the browser. They leave first if this is asked for after it."""
    visitors: list[Visitor] = []

    def make(server: RunningServer | str, **options: Any) -> Visitor:
        url = server if isinstance(server, str) else url_of(server)
        visitors.append(Visitor(chromium, url, **options))
        return visitors[-1]

    yield make
    for someone in visitors:
        with someone:
            pass


@pytest.fixture(scope="session")
def sample() -> Callable[[str, str], Any]:
    """One input of a demo model that it answers with a label."""

    def find(model: str, label: str) -> Any:
        return next(one["input"] for one in samples()[model] if one["expected"] == label)

    return find
