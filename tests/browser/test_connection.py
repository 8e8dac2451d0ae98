import re
import signal
import socket

import pytest
from playwright.sync_api import expect
from tests.integration.native_server import RunningServer
from visitor import url_of

HIDE = """
(hidden) => {
  Object.defineProperty(document, "hidden", { configurable: true, get: () => hidden });
  document.dispatchEvent(new Event("visibilitychange"));
}
"""


@pytest.fixture
def port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_a_server_that_is_stopped_and_started_again_is_taken_up_without_a_reload(visit, broken, port):
    visitor = visit(f"http://127.0.0.1:{port}")
    visitor.tolerate("ERR_|404")
    with RunningServer(broken, port=port) as server:
        server.wait_for("ready")
        page = visitor.open()
        page.evaluate("window.loaded = 1")
        server.refuse("none", [1])
        expect(visitor.chart("Errors by code")).to_contain_text("MODEL_NOT_FOUND")
        assert server.stop() == 0
    expect(page.locator("#status")).to_have_text("Connection lost, trying again…")
    expect(page.locator("#lost")).to_be_visible()
    with RunningServer(broken, port=port) as server:
        server.wait_for("ready")
        visitor.expect_live()
        expect(page.locator("#lost")).to_be_hidden()
        expect(visitor.chart("Request rate").locator(".notes text").last).to_have_text("server started")
        # What was before it stays, with a gap.
        expect(visitor.chart("Errors by code")).to_contain_text("MODEL_NOT_FOUND")
        server.refuse("none", [1])
        page.get_by_role("link", name="Errors").click()
        expect(page.get_by_role("row")).to_have_count(2)
        assert page.evaluate("window.loaded") == 1


def test_a_server_that_hangs_is_noticed(visit, broken, port):
    visitor = visit(f"http://127.0.0.1:{port}")
    visitor.tolerate("ERR_")
    with RunningServer(broken, port=port) as server:
        server.wait_for("ready")
        visitor.page.clock.install()
        page = visitor.open()
        server.process.send_signal(signal.SIGSTOP)
        try:
            page.clock.fast_forward(13_000)
            expect(page.locator("#status")).to_have_attribute("data-status", "lost")
        finally:
            server.process.send_signal(signal.SIGCONT)
        page.clock.fast_forward(13_000)
        visitor.expect_live()


def test_the_page_works_under_a_sub_path(visit, server):
    visitor = visit(f"{url_of(server)}/some/where")
    # What a proxy does that takes the sub-path away.
    visitor.page.route(
        re.compile("/some/where/"), lambda route: route.continue_(url=route.request.url.replace("/some/where", ""))
    )
    page = visitor.open("try/langid")
    expect(visitor.predict().locator(".answer-head")).to_be_visible()
    page.get_by_role("button", name="curl", exact=True).click()
    expect(page.locator(".side pre:not(.result pre)").last).to_contain_text("/some/where/predict")
    assert {path for path in visitor.paths if not path.startswith("/some/where/")} == set()


def test_a_hidden_page_lets_go_of_its_connection_and_catches_up_when_seen(visit, server, sample):
    visitor = visit(server)
    visitor.page.clock.install()
    page = visitor.open()
    page.evaluate(HIDE, True)
    page.clock.fast_forward(61_000)
    expect(page.locator("#status")).to_have_text("Paused")
    server.predict("digits", [sample("digits", "3")])
    page.evaluate(HIDE, False)
    visitor.expect_live()
    expect(visitor.successes()).to_have_text(re.compile("^[1-9]"))
