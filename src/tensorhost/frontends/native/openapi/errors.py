"""Errors in the API description: the one shape, what each code means, and who answers with which."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from itertools import groupby
from typing import Any, NamedTuple

from tensorhost.core.errors import ErrorCode
from tensorhost.frontends.native.openapi.schemas import TEXT, Schema, answered, described, one_of, ref
from tensorhost.frontends.native.statuses import DEFAULT_RETRY_AFTER_S, HTTP_STATUS


class Meaning(NamedTuple):
    """When a code comes, in the words of the documentation, and a message as an example."""

    when: str
    message: str
    details: Mapping[str, Any] = {}


MEANINGS: Mapping[ErrorCode, Meaning] = {
    ErrorCode.NOT_FOUND: Meaning("no such route", "There is no route /model."),
    ErrorCode.MODEL_NOT_FOUND: Meaning(
        "no model of that name; the message lists what there is",
        "There is no model 'wines'; there are: digits, langid, wine.",
        {"models": ["digits", "langid", "wine"]},
    ),
    ErrorCode.VERSION_NOT_FOUND: Meaning(
        "the model has no such version or label",
        "Model 'wine' has no version or label '2'; there are: 1.",
        {"versions": ["1"], "labels": []},
    ),
    ErrorCode.SIGNATURE_NOT_FOUND: Meaning(
        "the version has no such signature", "Model 'wine' version '1' has no signature 'train'."
    ),
    ErrorCode.INVALID_REQUEST: Meaning(
        "broken JSON, an unknown or missing field, a value the model itself refused, ambiguous HTTP",
        "'modelName' is missing.",
        {"field": "modelName"},
    ),
    ErrorCode.INVALID_INPUT_SHAPE: Meaning(
        "the rank or a dimension differs from the signature",
        "Input 'features' must have the shape [null, 13], not [1, 2].",
        {"input": "features", "expected": [None, 13], "actual": [1, 2]},
    ),
    ErrorCode.INVALID_INPUT_TYPE: Meaning(
        "a value that the signature's dtype cannot hold",
        "Input 'text' must be string: the value at [0] is the number 3.",
        {"input": "text", "expected": "string", "actual": "the number 3"},
    ),
    ErrorCode.MISSING_INPUT: Meaning("an input of the signature is not there", "Input 'mask' is missing."),
    ErrorCode.UNKNOWN_INPUT: Meaning("an input that the signature does not have", "There is no input 'mask'."),
    ErrorCode.RAGGED_INPUT: Meaning("lists of unequal length", "Input 'features' has lists of unequal length."),
    ErrorCode.INVALID_PREPROCESSING: Meaning(
        "options that are unknown, contradictory, or do not fit the inputs",
        "'preprocessing.scale' must be a finite number other than 0, not 0.",
        {"field": "preprocessing.scale"},
    ),
    ErrorCode.INVALID_POSTPROCESSING: Meaning(
        "the same for the outputs",
        "'postprocessing.argmax' and 'postprocessing.topK' cannot go together; null switches a model's default off.",
        {"field": "postprocessing.argmax", "conflictsWith": "postprocessing.topK"},
    ),
    ErrorCode.UNAUTHENTICATED: Meaning(
        "a control route without the admin token, or with a wrong one", "The admin token is wrong."
    ),
    ErrorCode.PERMISSION_DENIED: Meaning(
        "control from elsewhere without a token configured; a path outside the allowed roots",
        "'path' must lie under the model path or an allowed root.",
    ),
    ErrorCode.METHOD_NOT_ALLOWED: Meaning(
        "the route exists, the method does not; `Allow` has those that do",
        "GET is not allowed here; use POST.",
        {"allowed": ["POST"]},
    ),
    ErrorCode.REQUEST_TIMEOUT: Meaning(
        "the client sent its head or body too slowly", "The request's head did not arrive in time."
    ),
    ErrorCode.PAYLOAD_TOO_LARGE: Meaning(
        "the body, what it decompresses to, a tensor or an image is over its limit",
        "The body is larger than 67108864 bytes.",
        {"limitBytes": 67108864},
    ),
    ErrorCode.UNSUPPORTED_MEDIA_TYPE: Meaning(
        "a `Content-Type` that is not JSON, a `Content-Encoding` that is not gzip or deflate",
        "The Content-Encoding must be gzip, deflate or identity.",
        {"contentEncoding": "br"},
    ),
    ErrorCode.HEADERS_TOO_LARGE: Meaning(
        "the request's head is over its limit", "The request head must be at most 32768 bytes."
    ),
    ErrorCode.CANCELLED: Meaning("the client went away; seen in logs and metrics only", "The client went away."),
    ErrorCode.INTERNAL: Meaning(
        "a fault of the server; its log has the rest under the request id",
        "Something went wrong inside the server; its log has the details under the request id.",
    ),
    ErrorCode.MODEL_FAILED: Meaning("the model or its custom step failed", "The model could not be loaded."),
    ErrorCode.RUNTIME_MISSING: Meaning(
        "a package is not installed; the message names the extra",
        "This model needs TensorFlow: pip install 'tensorhost[tensorflow]'.",
    ),
    ErrorCode.MODEL_NOT_READY: Meaning(
        "the version is loading, failed to load, or was unloaded; the message says which",
        "Model 'digits' version '1' is not available: it was unloaded.",
        {"state": "END"},
    ),
    ErrorCode.OVERLOADED: Meaning(
        "a queue, the requests in flight or the connections are at their limit",
        "The server has as many connections as it takes; try again later.",
    ),
    ErrorCode.SHUTTING_DOWN: Meaning("the server is stopping", "The server is shutting down."),
    ErrorCode.DEADLINE_EXCEEDED: Meaning(
        "the time was up, waiting or running", "The deadline passed while the model was loading."
    ),
    ErrorCode.OUT_OF_MEMORY: Meaning(
        "a load or a call that does not fit", "There was not enough memory for this request."
    ),
}

CONNECTION = frozenset(
    {
        ErrorCode.INVALID_REQUEST,
        ErrorCode.REQUEST_TIMEOUT,
        ErrorCode.PAYLOAD_TOO_LARGE,
        ErrorCode.HEADERS_TOO_LARGE,
        ErrorCode.INTERNAL,
        ErrorCode.OVERLOADED,
        ErrorCode.SHUTTING_DOWN,
    }
)
"""What the connection answers with before any route is asked: part of every route."""

_SAMPLE_ID = "95f283755d683256"

SCHEMAS: dict[str, Schema] = {
    "ErrorAnswer": answered({"error": ref("Error")}),
    "Error": answered(
        {
            "code": described(one_of(ErrorCode), "Never changes its meaning."),
            "message": described({"type": "string", "minLength": 1}, "For people; may change."),
            "details": described({"type": "object"}, "For programs; which facts, depends on the code."),
            "requestId": described(TEXT, "As in `X-Request-Id`."),
        }
    ),
}

HEADERS: dict[str, Any] = {
    "RequestId": {
        "description": "The request's id: the client's own, or a new one.",
        "required": True,
        "schema": {"type": "string", "minLength": 1, "maxLength": 128},
    },
    "RetryAfter": {
        "description": "Seconds after which trying again is sensible.",
        "required": True,
        "schema": {"type": "integer", "minimum": DEFAULT_RETRY_AFTER_S},
    },
    "Allow": {"description": "The methods that the route has.", "required": True, "schema": TEXT},
    "WwwAuthenticate": {"description": "How to authenticate.", "required": True, "schema": {"const": "Bearer"}},
}

_BY_STATUS = {401: {"WWW-Authenticate": "WwwAuthenticate"}, 405: {"Allow": "Allow"}, 503: {"Retry-After": "RetryAfter"}}


def headers(status: int) -> dict[str, Any]:
    """The headers that every answer of ``status`` has, as references."""
    names = {"X-Request-Id": "RequestId", **_BY_STATUS.get(status, {})}
    return {header: {"$ref": f"#/components/headers/{name}"} for header, name in names.items()}


def examples() -> dict[str, Any]:
    """An example of each code, by code."""
    return {
        code.value: {
            "summary": meaning.when,
            "value": {
                "error": {
                    "code": code.value,
                    "message": meaning.message,
                    "details": dict(meaning.details),
                    "requestId": _SAMPLE_ID,
                }
            },
        }
        for code, meaning in MEANINGS.items()
    }


def responses(codes: Collection[ErrorCode]) -> dict[int, Any]:
    """A response for each status that ``codes`` have between them."""
    ordered = sorted((code for code in ErrorCode if code in codes), key=HTTP_STATUS.__getitem__)
    return {status: _response(status, list(group)) for status, group in groupby(ordered, key=HTTP_STATUS.__getitem__)}


def _response(status: int, codes: list[ErrorCode]) -> dict[str, Any]:
    only = {"properties": {"error": {"properties": {"code": {"enum": [code.value for code in codes]}}}}}
    return {
        "description": "; ".join(f"`{code}`: {MEANINGS[code].when}" for code in codes) + ".",
        "headers": headers(status),
        "content": {
            "application/json": {
                "schema": {**ref("ErrorAnswer"), **only},
                "examples": {code.value: {"$ref": f"#/components/examples/{code.value}"} for code in codes},
            }
        },
    }
