"""The page of the API: the whole document as HTML, readable without scripts, and a form to send each request.

One answer holds everything. Nothing is fetched from anywhere, and the Content-Security-Policy names the page's one
style and one script by their hashes, so that nothing else can run in it. Addresses are relative.
"""

from __future__ import annotations

import base64
import hashlib
import json
from importlib.resources import files
from typing import Any, NamedTuple

from tensorhost.frontends.native.openapi.html_schemas import kind, schema_section
from tensorhost.frontends.native.openapi.markup import Markup, element, joined, paragraphs, prose, table, void

_JSON = "application/json"


class Page(NamedTuple):
    """A page, and the Content-Security-Policy it is to be sent with."""

    html: str
    policy: str


def render(document: dict[str, Any]) -> Page:
    """The page of an OpenAPI document as ``document.build`` makes it."""
    style, script = _resource("page.css"), _resource("page.js")
    info = document["info"]
    head = element(
        "head",
        void("meta", charset="utf-8"),
        void("meta", name="viewport", content="width=device-width, initial-scale=1"),
        void("link", rel="icon", href="data:,"),
        element("title", f"{info['title']} API"),
        element("style", style),
    )
    body = element(
        "body",
        _navigation(document),
        element("main", *_main(document)),
        element("script", script),
    )
    policy = (
        f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return Page(f"<!doctype html>\n{element('html', head, body, lang='en')}\n", policy)


def _main(document: dict[str, Any]) -> list[Markup]:
    info = document["info"]
    parts = [
        element(
            "header",
            element("h1", f"{info['title']} API ", element("small", info["version"])),
            paragraphs(info["description"]),
            element("p", "For programs: ", element("a", "openapi.json", href="openapi.json")),
            element(
                "label",
                "Admin token, for routes of operators; kept in this page only ",
                void("input", type="password", id="token", autocomplete="off"),
            ),
        )
    ]
    for tag in document["tags"]:
        parts.append(element("h2", tag["name"], " ", element("small", tag["description"])))
        parts += [
            _operation(document, path, method, operation)
            for path, method, operation in _operations(document)
            if tag["name"] in operation["tags"]
        ]
    parts.append(element("h2", "Schemas"))
    parts += [schema_section(name, schema) for name, schema in document["components"]["schemas"].items()]
    return parts


def _navigation(document: dict[str, Any]) -> Markup:
    links = [
        element("li", element("a", _method(method), " ", path, href=f"#{operation['operationId']}"))
        for path, method, operation in _operations(document)
    ]
    return element("nav", element("ul", *links), aria_label="Routes")


def _operations(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (path, method, operation)
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    ]


def _method(method: str) -> Markup:
    return element("b", method.upper(), cls=f"method {method}")


def _operation(document: dict[str, Any], path: str, method: str, operation: dict[str, Any]) -> Markup:
    parameters = [_resolved(document, parameter) for parameter in operation["parameters"]]
    title = element("summary", _method(method), " ", element("code", path), " ", prose(operation["summary"]))
    parts = [paragraphs(operation.get("description", ""))]
    if "security" in operation:
        parts.append(element("p", "Takes the admin token, where one is set."))
    parts.append(_parameters(parameters))
    if "requestBody" in operation:
        parts.append(_body(operation["requestBody"]))
    parts.append(_form(path, method, operation, parameters))
    parts.append(element("h3", "Answers"))
    parts += [_response(document, status, response) for status, response in operation["responses"].items()]
    return element("details", title, *parts, id=operation["operationId"], cls="operation")


def _parameters(parameters: list[dict[str, Any]]) -> Markup:
    rows: list[tuple[str, ...]] = [
        (
            element("code", parameter["name"]),
            parameter["in"],
            kind(parameter["schema"]),
            prose(parameter["description"]),
        )
        for parameter in parameters
    ]
    return joined(element("h3", "Parameters"), table(("Name", "In", "Type", "Meaning"), rows))


def _body(body: dict[str, Any]) -> Markup:
    words = "" if body["required"] else " (may be left out)"
    return joined(element("h3", "Body"), element("p", kind(body["content"][_JSON]["schema"]), words))


def _response(document: dict[str, Any], status: str, response: dict[str, Any]) -> Markup:
    parts = [element("p", prose(response["description"]))]
    names = [element("code", name) for name in response["headers"]]
    parts.append(element("p", "Headers: ", *(joined(name, " ") for name in names)))
    for media_type, content in response.get("content", {}).items():
        parts.append(element("p", element("code", media_type), " ", kind(content["schema"])))
        for name, example in content.get("examples", {}).items():
            value = _resolved(document, example)["value"]
            parts.append(element("details", element("summary", f"Example: {name}"), _example(value)))
    codes = [name for name in response.get("content", {}).get(_JSON, {}).get("examples", {}) if name.isupper()]
    shown = joined(*(joined(" ", element("code", code)) for code in codes))
    return element("details", element("summary", element("b", status), shown), *parts, cls="answer")


def _example(value: Any) -> Markup:
    return element(
        "pre", value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False), tabindex="0"
    )


def _form(path: str, method: str, operation: dict[str, Any], parameters: list[dict[str, Any]]) -> Markup:
    parts: list[Markup] = [element("h3", "Try it")]
    parts += [
        element("label", parameter["name"], " ", void("input", name=parameter["name"], value=parameter["example"]))
        for parameter in parameters
        if parameter["in"] == "path"
    ]
    answers = operation["responses"]["200"]["content"]
    if len(answers) > 1:
        choices = [element("option", media_type) for media_type in answers]
        parts.append(element("label", "Accept ", element("select", *choices, name="accept")))
    if "requestBody" in operation:
        parts += _body_fields(operation["requestBody"]["content"][_JSON]["examples"])
    parts.append(element("button", "Send", type="submit"))
    parts.append(element("pre", cls="command", tabindex="0", aria_label="The same with curl"))
    parts.append(element("pre", cls="result", tabindex="0", aria_live="polite", hidden=True))
    secured = "security" in operation
    return element("form", *parts, data_method=method.upper(), data_path=path, data_secured=secured)


def _body_fields(examples: dict[str, Any]) -> list[Markup]:
    texts = {name: json.dumps(example["value"], ensure_ascii=False) for name, example in examples.items()}
    choices = [element("option", name, value=text) for name, text in texts.items()]
    area = element("textarea", next(iter(texts.values())), name="body", rows=6, spellcheck="false")
    return [
        element("label", "Example ", element("select", *choices, name="example")),
        element("label", "Body ", area),
    ]


def _resolved(document: dict[str, Any], value: dict[str, Any]) -> dict[str, Any]:
    if "$ref" not in value:
        return value
    _, _, kind_of_component, name = value["$ref"].split("/")
    found: dict[str, Any] = document["components"][kind_of_component][name]
    return found


def _resource(name: str) -> Markup:
    return Markup((files(__package__) / name).read_text(encoding="utf-8"))


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
