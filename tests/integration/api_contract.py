"""Answers held against the API description, more strictly than clients may: no key that it does not name."""

from __future__ import annotations

import copy
import re
from typing import Any

from jsonschema import Draft202012Validator
from native_server import Answer

_TEXT_TYPES = ("text/plain", "application/openmetrics-text", "text/html")


class Contract:
    """An OpenAPI document as a judge of answers."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = _closed(copy.deepcopy(document))

    def schema(self, name: str) -> Draft202012Validator:
        """The validator of one of the document's schemas, which allows no further keys."""
        return self._validator({"$ref": f"#/components/schemas/{name}"})

    def check(self, method: str, path: str, answer: Answer) -> Answer:
        """The answer, if the document says that this route may answer so; an AssertionError otherwise."""
        operation = self._operation(method, path)
        assert str(answer.status) in operation["responses"], f"{method} {path}: undocumented status {answer.status}"
        response = operation["responses"][str(answer.status)]
        self._check_headers(response, answer)
        if "content" not in response:
            assert answer.body == b""
            return answer
        media_type = answer.headers["content-type"].partition(";")[0]
        assert media_type in response["content"], f"{method} {path}: undocumented type {media_type}"
        schema = response["content"][media_type]["schema"]
        value = answer.body.decode() if media_type in _TEXT_TYPES else answer.json
        faults = [f"{fault.json_path}: {fault.message[:500]}" for fault in self._validator(schema).iter_errors(value)]
        assert not faults, f"{method} {path} {answer.status}: {faults}"
        return answer

    def _check_headers(self, response: dict[str, Any], answer: Answer) -> None:
        for name, header in response["headers"].items():
            described = self._resolved(header)
            assert name.lower() in answer.headers, f"no header {name} with {answer.status}"
            value: Any = answer.headers[name.lower()]
            if described["schema"].get("type") == "integer":
                value = int(value)
            self._validator(described["schema"]).validate(value)

    def _operation(self, method: str, path: str) -> dict[str, Any]:
        for template, operations in self.document["paths"].items():
            if re.fullmatch(re.sub(r"{\w+}", "[^/]+", template), path):
                found: dict[str, Any] = operations[method.lower()]
                return found
        raise AssertionError(f"undocumented route {path}")

    def _resolved(self, value: dict[str, Any]) -> dict[str, Any]:
        if "$ref" not in value:
            return value
        _, *steps = value["$ref"].split("/")
        found: dict[str, Any] = self.document
        for step in steps:
            found = found[step]
        return found

    def _validator(self, schema: dict[str, Any]) -> Draft202012Validator:
        return Draft202012Validator({**schema, "components": self.document["components"]})


def _closed(value: Any) -> Any:
    """``value`` with no object schema in it that leaves open which keys there are."""
    if isinstance(value, list):
        return [_closed(item) for item in value]
    if not isinstance(value, dict):
        return value
    closed = {key: _closed(item) for key, item in value.items()}
    if value.get("type") == "object" and "properties" in value:
        closed.setdefault("additionalProperties", False)
    return closed
