"""Schemas as people read them: a few words for small ones, a table of fields for objects, links between them."""

from __future__ import annotations

import json
from typing import Any

from tensorhost.frontends.native.openapi.markup import Markup, element, joined, prose, table
from tensorhost.frontends.native.openapi.schemas import Schema

_LIMITS = {
    "minimum": "from {}",
    "exclusiveMinimum": "above {}",
    "maximum": "up to {}",
    "minLength": "at least {} characters",
    "minItems": "at least {}",
    "maxItems": "at most {}",
    "pattern": "matching {}",
}


def schema_section(name: str, schema: Schema) -> Markup:
    """One of the document's components."""
    return element("section", element("h3", name), full(schema), id=f"schema-{name}", cls="schema")


def full(schema: Schema) -> Markup:
    """What a schema says: its description, then its fields or its kind."""
    parts: list[str] = []
    if "description" in schema:
        parts.append(element("p", prose(schema["description"])))
    parts.append(fields(schema) if "properties" in schema else element("p", kind(schema)))
    return joined(*parts)


def fields(schema: Schema) -> Markup:
    """The table of an object's fields."""
    required = schema.get("required", ())
    rows: list[tuple[str, ...]] = []
    for name, field in schema["properties"].items():
        label = joined(element("code", name), element("span", " required", cls="required") if name in required else "")
        rows.append((label, kind(field), prose(field.get("description", ""))))
    return table(("Field", "Type", "Meaning"), rows)


def kind(schema: Schema) -> Markup:
    """The type of a value in words, with links to what is described elsewhere."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return element("a", name, href=f"#schema-{name}")
    if "anyOf" in schema:
        return _alternatives([kind(choice) for choice in schema["anyOf"]])
    if "const" in schema:
        return _value(schema["const"])
    if "enum" in schema:
        return _alternatives([_value(value) for value in schema["enum"]])
    types = schema.get("type", "anything")
    return _alternatives([_single(name, schema) for name in ([types] if isinstance(types, str) else types)])


def _single(name: str, schema: Schema) -> Markup:
    if name == "array":
        return joined("list of ", _grouped(kind(schema.get("items", {}))), _limits(schema))
    if name == "object":
        return _object(schema)
    return joined(name, _limits(schema) if name != "null" else "")


def _object(schema: Schema) -> Markup:
    values = schema.get("additionalProperties")
    if "properties" in schema:
        inner = fields(schema)
        return element("details", element("summary", "object"), inner)
    if isinstance(values, dict):
        return joined("object of names to ", _grouped(kind(values)))
    return Markup("object")


def _grouped(words: Markup) -> Markup:
    return joined("(", words, ")") if " or " in words else words


def _limits(schema: Schema) -> Markup:
    said = [words.format(schema[key]) for key, words in _LIMITS.items() if key in schema]
    if schema.get("not") == {"const": 0}:
        said.append("not 0")
    return joined(f" ({', '.join(said)})" if said else "")


def _alternatives(choices: list[Markup]) -> Markup:
    parts: list[str] = []
    for choice in choices:
        parts += [" or ", choice] if parts else [choice]
    return joined(*parts)


def _value(value: Any) -> Markup:
    return element("code", json.dumps(value))
