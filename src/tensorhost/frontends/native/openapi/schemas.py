"""The few forms of JSON Schema that the API description is made of."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, TypeAlias

from tensorhost.core.ids import NAME_PATTERN

Schema: TypeAlias = dict[str, Any]
"""A JSON Schema (2020-12), as a dictionary that is JSON-ready."""

TEXT: Schema = {"type": "string"}
FLAG: Schema = {"type": "boolean"}
NUMBER: Schema = {"type": "number"}
NAME: Schema = {"type": "string", "pattern": f"^{NAME_PATTERN}$"}
COUNT: Schema = {"type": "integer", "minimum": 0}


def described(schema: Schema, description: str, **more: Any) -> Schema:
    """``schema`` with a sentence for people, and whatever else its keyword arguments say."""
    return {**schema, "description": description, **more}


def nullable(schema: Schema) -> Schema:
    """``schema`` or null; a description moves to the outside."""
    kind = schema.get("type")
    if isinstance(kind, str) and "enum" not in schema:
        return {**schema, "type": [kind, "null"]}
    inner = {key: value for key, value in schema.items() if key != "description"}
    outer = {"anyOf": [inner, {"type": "null"}]}
    return described(outer, schema["description"]) if "description" in schema else outer


def one_of(values: Iterable[str]) -> Schema:
    """One of these texts."""
    return {"type": "string", "enum": list(values)}


def listing(items: Schema, **more: Any) -> Schema:
    """A list."""
    return {"type": "array", "items": items, **more}


def mapping(values: Schema, keys: Schema | None = None) -> Schema:
    """An object of any names, or of names that ``keys`` allows."""
    schema: Schema = {"type": "object", "additionalProperties": values}
    return schema if keys is None else {**schema, "propertyNames": keys}


def answered(properties: Mapping[str, Schema], optional: Collection[str] = ()) -> Schema:
    """An object in an answer: keys may be added in a later version, so others are not excluded."""
    return {
        "type": "object",
        "properties": dict(properties),
        "required": [name for name in properties if name not in optional],
    }


def accepted(properties: Mapping[str, Schema], required: Collection[str] = ()) -> Schema:
    """An object in a request: a field that is not listed is refused."""
    schema: Schema = {"type": "object", "properties": dict(properties), "additionalProperties": False}
    return {**schema, "required": sorted(required)} if required else schema


def ref(name: str) -> Schema:
    """A reference to a schema among the document's components."""
    return {"$ref": f"#/components/schemas/{name}"}
