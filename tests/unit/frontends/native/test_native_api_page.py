from __future__ import annotations

import base64
import hashlib
import re
from html import unescape
from html.parser import HTMLParser

import pytest
from asgi_calls import app_of, call

from tensorhost.frontends.native.openapi.document import SCHEMAS, build
from tensorhost.frontends.native.openapi.html import render
from tensorhost.frontends.native.openapi.markup import element, joined, prose, void
from tensorhost.frontends.native.openapi.operations import OPERATIONS

PAGE = render(build())
VOID = {"meta", "link", "input"}
MOST_BYTES = 300_000


class _Reader(HTMLParser):
    """The elements of a page; refuses one that is not closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def elements():
    reader = _Reader()
    reader.feed(PAGE.html)
    reader.close()
    assert not reader.open
    return reader.found


def test_every_route_and_schema_has_its_place(elements):
    ids = [attributes["id"] for _, attributes in elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {operation.id for operation in OPERATIONS} <= set(ids)
    assert {f"schema-{name}" for name in SCHEMAS} <= set(ids)


def test_every_link_leads_somewhere_on_this_server(elements):
    ids = {attributes.get("id") for _, attributes in elements}
    addresses = [
        attributes[key] for _, attributes in elements for key in ("href", "src", "action") if key in attributes
    ]
    assert addresses
    for address in addresses:
        assert address in ("openapi.json", "data:,") or address.removeprefix("#") in ids, address


def test_nothing_of_the_page_needs_what_its_policy_forbids(elements):
    for _, attributes in elements:
        assert "style" not in attributes
        assert not [name for name in attributes if name.startswith("on")]
    assert [tag for tag, _ in elements if tag in ("script", "style")] == ["style", "script"]
    for tag in ("script", "style"):
        [text] = re.findall(rf"<{tag}>(.*?)</{tag}>", PAGE.html, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in PAGE.policy
    assert PAGE.policy.startswith("default-src 'none'; ")
    assert "unsafe" not in PAGE.policy


def test_every_route_has_a_form_with_the_examples(elements):
    forms = [attributes for tag, attributes in elements if tag == "form"]
    assert [(form["data-method"], form["data-path"]) for form in forms] == [(o.method, o.path) for o in _in_order()]
    secured = [form["data-path"] for form in forms if "data-secured" in form]
    assert secured == [operation.path for operation in _in_order() if operation.needs_token]
    shown = {unescape(value) for value in re.findall(r'<option value="([^"]*)"', PAGE.html)}
    assert len(shown) >= sum(len(operation.body.examples) > 0 for operation in OPERATIONS if operation.body)


def _in_order():
    tags = list(dict.fromkeys(tag["name"] for tag in build()["tags"]))
    return sorted(OPERATIONS, key=lambda operation: tags.index(operation.tag))


def test_fields_have_labels(elements):
    inside = 0
    for tag, attributes in elements:
        if tag in ("input", "select", "textarea"):
            inside += 1
            assert attributes.get("name") or attributes.get("id")
    labels = sum(tag == "label" for tag, _ in elements)
    assert inside == labels


def test_the_page_is_small():
    assert len(PAGE.html.encode()) < MOST_BYTES


def test_text_is_escaped():
    assert element("p", "<b>&", title='"<') == '<p title="&quot;&lt;">&lt;b&gt;&amp;</p>'
    assert element("p", element("b", "x"), hidden=True, id=None, cls="a") == '<p hidden class="a"><b>x</b></p>'
    assert void("input", name="x") == '<input name="x">'
    assert prose("a `<b>` c") == "a <code>&lt;b&gt;</code> c"
    assert joined("<", element("i")) == "&lt;<i></i>"


async def test_the_page_is_html_with_its_policy():
    sent = await call(app_of(), "GET", "/docs")
    assert (sent.status, sent.headers[b"content-type"]) == (200, b"text/html; charset=utf-8")
    assert sent.headers[b"content-security-policy"] == PAGE.policy.encode()
    assert sent.headers[b"x-content-type-options"] == b"nosniff"
    assert sent.body == PAGE.html.encode()


async def test_the_document_is_what_is_built():
    sent = await call(app_of(), "GET", "/openapi.json")
    assert (sent.status, sent.headers[b"content-type"]) == (200, b"application/json")
    assert sent.json.keys() == build().keys()
    assert sent.headers[b"cache-control"] == b"no-cache"


@pytest.mark.parametrize("path", ["/openapi.json", "/docs"])
async def test_who_has_the_bytes_is_not_sent_them(path):
    app = app_of()
    etag = (await call(app, "GET", path)).headers[b"etag"].decode()
    assert etag.startswith('W/"')
    for known in (etag, f'"other", {etag}', "*"):
        sent = await call(app, "GET", path, headers={"If-None-Match": known})
        assert (sent.status, sent.body, sent.headers[b"etag"]) == (304, b"", etag.encode())
        assert b"content-length" not in sent.headers
    for other in ('"other"', "", etag[:-2]):
        assert (await call(app, "GET", path, headers={"If-None-Match": other})).status == 200


async def test_the_page_is_only_read():
    sent = await call(app_of(), "POST", "/docs")
    assert (sent.status, sent.headers[b"allow"]) == (405, b"GET, HEAD")
