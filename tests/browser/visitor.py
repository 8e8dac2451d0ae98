"""Somebody who looks at the dashboard in a real browser, and notices whatever goes wrong on the page."""

from __future__ import annotations

import re
from typing import Any, Self
from urllib.parse import urlsplit

from playwright.sync_api import Browser, Locator, Page, expect
from tests.integration.native_server import RunningServer

_NOTE_VIOLATIONS = """
addEventListener("securitypolicyviolation", (event) =>
  console.error(`policy violation: ${event.violatedDirective} ${event.blockedURI}`));
"""


class Visitor:
    """A browser with nothing stored. Use as a context manager; leaving it asserts that nothing went wrong.

    Args:
        browser: a running browser.
        url: the server's base URL.
        options: of the browser context, such as ``color_scheme`` or ``viewport``.
    """

    def __init__(self, browser: Browser, url: str, **options: Any) -> None:
        self.url = url
        self.context = browser.new_context(**options)
        self.context.grant_permissions(["clipboard-read", "clipboard-write"])
        self.page: Page = self.context.new_page()
        self.problems: list[str] = []
        self.paths: set[str] = set()
        self._tolerated: list[str] = []
        self.page.add_init_script(_NOTE_VIOLATIONS)
        self.page.on("pageerror", lambda error: self.problems.append(f"uncaught: {error}"))
        self.page.on("console", lambda message: self._note(message.type, message.text))
        self.page.on("request", lambda request: self._check_address(request.url))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *rest: object) -> None:
        self.context.close()
        if kind is None:
            assert not self.problems, self.problems

    def tolerate(self, pattern: str) -> None:
        """Browsers write every answer that is an error to the console; those a test asks for are no problem."""
        self._tolerated.append(pattern)

    def open(self, place: str = "overview") -> Page:
        """Open a part of the page anew, and wait until it is live."""
        self.page.goto("about:blank")
        self.page.goto(f"{self.url}/#{place}")
        self.expect_live()
        return self.page

    def go(self, place: str) -> None:
        """Follow a link of the navigation."""
        self.page.get_by_role("navigation").get_by_role("link", name=place).click()

    def expect_live(self) -> None:
        expect(self.page.locator("#status")).to_have_attribute("data-status", "live")

    def field(self, label: str) -> Locator:
        """A field of the part of the page that is shown."""
        return self.page.locator(".view:not([hidden])").get_by_label(label, exact=True)

    def choose(self, choice: str, among: str) -> None:
        """Choose one of a few, under the name ``among``."""
        self.page.get_by_role("group", name=among).get_by_role("radio", name=choice, exact=True).check()

    def tile(self, name: str) -> Locator:
        """The value of a figure at the top of the overview."""
        return self.page.locator(f'[data-tile="{name}"] .tile-value')

    def successes(self) -> Locator:
        """The line that counts the successful requests of the range shown."""
        return self.page.get_by_text(re.compile(r"^[\d,]+ successful requests in"))

    def chart(self, title: str) -> Locator:
        return self.page.get_by_role("figure", name=title, exact=True)

    def version(self, model: str, version: str) -> Locator:
        """A version on the page of models."""
        return self.page.locator(f'[data-model="{model}"] [data-version="{version}"]')

    def predict(self) -> Locator:
        """Send the form; the answer, once it is there."""
        self.page.get_by_role("button", name="Predict").click()
        answer = self.page.get_by_label("Answer", exact=True)
        expect(answer.locator(".answer-head, .error-head")).to_be_visible()
        return answer

    def clipboard(self) -> str:
        return self.page.evaluate("navigator.clipboard.readText()")

    def _note(self, kind: str, text: str) -> None:
        if kind in ("error", "warning") and not any(re.search(pattern, text) for pattern in self._tolerated):
            self.problems.append(f"console {kind}: {text}")

    def _check_address(self, address: str) -> None:
        parts = urlsplit(address)
        if parts.scheme in ("http", "https"):
            self.paths.add(parts.path)
        if parts.scheme not in ("data", "blob", "about") and parts.netloc != urlsplit(self.url).netloc:
            self.problems.append(f"request to another host: {address}")


def best(answer: Locator) -> Locator:
    """The label of the longest bar of an answer."""
    return answer.locator(".bar.strong .bar-label")


def url_of(server: RunningServer) -> str:
    """The base URL of a server, as this machine reaches it."""
    return f"http://127.0.0.1:{server.port}"
