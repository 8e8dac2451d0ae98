"""The OpenAPI 3.1 document: operations and schemas put together. It says nothing of the models that are served."""

from __future__ import annotations

import re
from typing import Any

from tensorhost.core.version import __version__
from tensorhost.frontends.native.openapi import answers, errors, metrics, models, requests
from tensorhost.frontends.native.openapi.operations import JSON, OPERATIONS, Content, Operation
from tensorhost.frontends.native.openapi.schemas import NAME, TEXT, Schema, one_of

_DESCRIPTION = """\
A server for trained TensorFlow-family models. JSON in and out, keys in camelCase; keys may be added to answers, and are
not renamed. Examples are answers of the demo models.

`HEAD` is answered wherever `GET` is. Any other method of a route is refused with 405 and `METHOD_NOT_ALLOWED`, any
other path with 404 and `NOT_FOUND`. Every error has the same shape. What lies under `/` and `/dashboard/` is for the
dashboard and no part of this; what lies under `/v1/` is TensorFlow Serving's REST API, as its own documentation
describes it, with errors of another shape. Answers of some size are compressed with gzip if
`Accept-Encoding` allows.
"""

_TAGS = {
    "Inference": "Asking models.",
    "Models": "What is served, what is not, and why.",
    "Control": "Loading, unloading, moving labels.",
    "Health": "For probes and load balancers.",
    "Metrics": "For dashboards and Prometheus.",
    "Description": "This API, described.",
}

_PATH_VALUES = {
    "name": {"description": "Name of a model.", "schema": NAME, "example": "wine"},
    "version": {"description": "A version or a label.", "schema": NAME, "example": "1"},
}

_PARAMETERS: dict[str, Any] = {
    "RequestId": {
        "name": "X-Request-Id",
        "in": "header",
        "description": "Taken over into the answer and the log if it is 1 to 128 ASCII letters, digits and "
        "`._~:/+=@,-`; otherwise a new id is made up.",
        "schema": TEXT,
    },
    "ContentEncoding": {
        "name": "Content-Encoding",
        "in": "header",
        "description": "How the body is compressed. The limit of its size holds before and after.",
        "schema": one_of(("gzip", "x-gzip", "deflate", "identity")),
    },
    "IfNoneMatch": {
        "name": "If-None-Match",
        "in": "header",
        "description": "The `ETag` of what the client has.",
        "schema": TEXT,
    },
}

_STATIC_HEADERS: dict[str, Any] = {
    "ETag": {"description": "Changes with the server's version.", "required": True, "schema": TEXT},
    "Cache-Control": {"required": True, "schema": {"const": "no-cache"}},
}

SCHEMAS: dict[str, Schema] = {
    **requests.SCHEMAS,
    **answers.SCHEMAS,
    **models.SCHEMAS,
    **metrics.SCHEMAS,
    **errors.SCHEMAS,
}


def build() -> dict[str, Any]:
    """The document, JSON-ready."""
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
    return {
        "openapi": "3.1.1",
        "info": {
            "title": "tensorhost",
            "version": __version__,
            "summary": "Trained TensorFlow-family models over HTTP.",
            "description": _DESCRIPTION,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": ".", "description": "The server this document comes from."}],
        "tags": [{"name": name, "description": description} for name, description in _TAGS.items()],
        "paths": paths,
        "components": {
            "schemas": SCHEMAS,
            "parameters": _PARAMETERS,
            "headers": errors.HEADERS,
            "examples": errors.examples(),
            "securitySchemes": {
                "adminToken": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "The value of `TENSORHOST_ADMIN_TOKEN`.",
                }
            },
        },
    }


def _operation(operation: Operation) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.id,
        "tags": [operation.tag],
        "summary": operation.summary,
    }
    if operation.description:
        described["description"] = operation.description
    described["parameters"] = _parameters(operation)
    if operation.body is not None:
        described["requestBody"] = {
            "required": operation.body_required,
            "content": {JSON: _content(operation.body)},
        }
    described["responses"] = {str(status): answer for status, answer in sorted(_responses(operation).items())}
    if operation.needs_token:
        # Without a token configured, a server that listens on loopback asks for none.
        described["security"] = [{"adminToken": []}, {}]
    return described


def _parameters(operation: Operation) -> list[dict[str, Any]]:
    names = re.findall(r"{(\w+)}", operation.path)
    found: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, **_PATH_VALUES[name]} for name in names
    ]
    headers = ["RequestId"]
    if operation.body is not None:
        headers.append("ContentEncoding")
    if operation.is_static:
        headers.append("IfNoneMatch")
    return found + [{"$ref": f"#/components/parameters/{name}"} for name in headers]


def _responses(operation: Operation) -> dict[int, Any]:
    found = errors.responses(errors.CONNECTION | operation.errors)
    found[200] = {
        "description": "The answer.",
        "headers": errors.headers(200) | (_STATIC_HEADERS if operation.is_static else {}),
        "content": {kind: _content(content) for kind, content in operation.answer.items()},
    }
    if operation.is_static:
        found[304] = {
            "description": "The client has this already.",
            "headers": errors.headers(304) | _STATIC_HEADERS,
        }
    if operation.not_ready is not None:
        found[503] = _or_not_ready(found[503], operation.not_ready)
    return found


def _or_not_ready(refusal: dict[str, Any], not_ready: Content) -> dict[str, Any]:
    refused, other = refusal["content"][JSON], _content(not_ready)
    return {
        "description": f"Not ready; or {refusal['description']}",
        "headers": errors.headers(200),
        "content": {
            JSON: {
                "schema": {"anyOf": [other["schema"], refused["schema"]]},
                "examples": other["examples"] | refused["examples"],
            }
        },
    }


def _content(content: Content) -> dict[str, Any]:
    described: dict[str, Any] = {"schema": content.schema}
    if content.examples:
        described["examples"] = {name: {"value": value} for name, value in content.examples.items()}
    return described
