"""The page of the API in a real browser: every route tried from it, also behind a path, on a phone, in both themes."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect
from tests.integration.native_server import RunningServer

from tensorhost.frontends.native.openapi.operations import OPERATIONS

PHONE = {"width": 360, "height": 740}
OPEN_ALL = "() => document.querySelectorAll('details').forEach((one) => { one.open = true; })"
TOKEN = "s3cret"


@pytest.fixture
def below_a_path(server) -> Iterator[str]:
    """The URL of the server behind a proxy, under a path of the proxy's."""
    port = server.port

    class Proxy(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            path = self.path.removeprefix("/models/here")
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            headers = {name: value for name, value in self.headers.items() if name.lower() != "connection"}
            connection.request(self.command, path, body or None, headers)
            response = connection.getresponse()
            answer = response.read()
            self.send_response_only(response.status)
            for name, value in response.getheaders():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer)
            connection.close()

        def do_POST(self):
            self.do_GET()

        def log_message(self, *args):
            pass

    proxy = ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    thread = threading.Thread(target=proxy.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{proxy.server_port}/models/here"
    proxy.shutdown()
    thread.join()
    proxy.server_close()


def _send(page: Page, operation: str) -> str:
    """Send the form of a route; what it shows then."""
    form = page.locator(f"[id='{operation}'] form")
    form.get_by_role("button", name="Send").click()
    expect(form.get_by_role("button", name="Send")).to_be_enabled()
    result = form.locator(".result")
    expect(result).not_to_have_text("…")
    return result.text_content() or ""


def test_every_route_can_be_tried(visitor):
    page = visitor.page
    page.goto(f"{visitor.url}/docs")
    for operation in OPERATIONS:
        if operation.tag == "Control":
            continue
        page.get_by_role("navigation").locator(f"a[href='#{operation.id}']").click()
        shown = _send(page, operation.id)
        assert shown.startswith("200 in "), shown
        assert "x-request-id: " in shown


def test_examples_and_forms_of_answers_are_chosen(visitor):
    page = visitor.page
    page.goto(f"{visitor.url}/docs#predict")
    page.locator("#predict").get_by_label("Example").select_option(label="langid")
    assert '"language": ["id"]' in _send(page, "predict")
    assert "langid" in (page.locator("#predict .command").text_content() or "")
    page.goto(f"{visitor.url}/docs#getMetrics")
    page.locator("#getMetrics").get_by_label("Accept").select_option("text/plain")
    assert "# TYPE tensorhost_uptime_seconds gauge" in _send(page, "getMetrics")


def test_errors_are_shown_as_they_come(visitor):
    visitor.tolerate("404")
    page = visitor.page
    page.goto(f"{visitor.url}/docs#getModel")
    page.locator("#getModel").get_by_label("name").fill("<b>/?#")
    shown = _send(page, "getModel")
    assert shown.startswith("4")
    assert '"code": ' in shown


def test_behind_a_path_it_finds_its_server(visit, below_a_path):
    visitor = visit(below_a_path)
    page = visitor.page
    page.goto(f"{below_a_path}/docs#predict")
    assert '"class_0"' in _send(page, "predict")
    assert f"{below_a_path}/predict" in (page.locator("#predict .command").text_content() or "")
    link = page.get_by_role("link", name="openapi.json", exact=True)
    assert link.evaluate("(one) => one.href") == f"{below_a_path}/openapi.json"


def test_the_token_is_sent_and_shown_to_nobody(visit, broken):
    with RunningServer(broken, TENSORHOST_ADMIN_TOKEN=TOKEN) as running:
        running.wait_for("listening")
        visitor = visit(running)
        visitor.tolerate("401")
        visitor.tolerate("404")
        page = visitor.page
        page.goto(f"{visitor.url}/docs#unloadModel")
        assert _send(page, "unloadModel").startswith("401 in ")
        page.get_by_label("Admin token").fill(TOKEN)
        assert _send(page, "unloadModel").startswith("404 in ")
        assert TOKEN not in page.locator("body").inner_html()
        page.reload()
        expect(page.get_by_label("Admin token")).to_have_value("")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_is_for_everybody(visit, server, scheme):
    visitor = visit(server, viewport=PHONE, color_scheme=scheme)
    page = visitor.page
    page.goto(f"{visitor.url}/docs")
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    page.evaluate(OPEN_ALL)
    found = Axe().run(page).response["violations"]
    assert not found, [(one["id"], [node["html"][:120] for node in one["nodes"][:3]]) for one in found]
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


def test_without_scripts_it_is_read(visit, server):
    visitor = visit(server, java_script_enabled=False)
    page = visitor.page
    page.goto(f"{visitor.url}/docs")
    page.locator("#predict summary").first.click()
    expect(page.locator("#predict")).to_contain_text("INVALID_INPUT_SHAPE")
