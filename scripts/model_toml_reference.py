"""Writes the types, limits and defaults in the table of docs/models.md about ``model.toml``, from ``ModelConfig``.

What a key means is written by hand beside them. A key without a row, a row without a key, is an error; ``--check`` only
says whether the table is up to date.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from typing import Any

from generated_page import DOCS, write_or_check

from tensorhost.models.config import ModelConfig

PAGE = DOCS / "models.md"
_ROW = re.compile(r"^\| ((?:`[\w.]+`(?:, )?)+) \| (.*?) \| (.*) \|$", re.MULTILINE)
_FORMS = {
    "labels_file": "file in the model's folder",
    "version_policy": "see above",
    "version_labels": "table, label = version",
    "imports": "list of Python modules",
    "graph.inputs": "list of tensor names, or table, name = tensor",
    "graph.outputs": "list of tensor names, or table, name = tensor",
    "warmup.examples": "file in the model's folder",
    "warmup.ranges": "table, input = `[least, largest]`",
}
"""What a type does not say: that a text names a file, what a table's keys are."""


def render(page: str) -> str:
    """``page`` with the second column of the table as the code has it.

    Raises ValueError if the table's keys are not those of the code.
    """
    head, title, rest = page.partition("\n## model.toml\n")
    section, following, tail = rest.partition("\n## ")
    types = dict(_types(ModelConfig.model_json_schema()))
    found: list[str] = []

    def rewritten(row: re.Match[str]) -> str:
        keys = re.findall(r"`([\w.]+)`", row[1])
        found.extend(keys)
        (form,) = {types.get(key, "unknown") for key in keys}
        return f"| {row[1]} | {form} | {row[3]} |"

    section = _ROW.sub(rewritten, section)
    if sorted(found) != sorted(types):
        raise ValueError(f"docs/models.md and ModelConfig differ in {sorted(set(found) ^ set(types))}")
    return head + title + section + following + tail


def _types(schema: dict[str, Any]) -> Iterator[tuple[str, str]]:
    definitions = schema["$defs"]
    for key, described in schema["properties"].items():
        inner = definitions.get(described.get("$ref", "").rpartition("/")[2])
        if inner is None:
            yield key, _FORMS.get(key) or _with_default(described)
            continue
        for name, one in inner["properties"].items():
            yield f"{key}.{name}", _FORMS.get(f"{key}.{name}") or _with_default(one)


def _with_default(schema: dict[str, Any]) -> str:
    kind, default = _kind(schema), schema.get("default")
    if default is None:
        return kind
    shown = {"True": "true", "False": "false"}.get(str(default), str(default) if default else '""')
    return f"{kind}, `{'[]' if isinstance(default, list) and not default else shown}`"


def _kind(schema: dict[str, Any]) -> str:
    """A type in words: its choices, its limits, or its name."""
    choices = [one for one in schema.get("anyOf", [schema]) if one.get("type") != "null"]
    one = choices[0]
    if "enum" in one:
        texts = [f'`"{value}"`' for value in one["enum"]]
        return " or ".join(texts) if len(texts) == 2 else ", ".join(texts)
    if "minimum" in one:
        least, most = f"{one['minimum']:g}", one.get("maximum")
        return f"from {least}" if most is None else f"{least} to {most:g}"
    if one["type"] == "array":
        return "list of text"
    return {"string": "text", "boolean": "boolean", "object": "table"}[one["type"]]


if __name__ == "__main__":
    sys.exit(write_or_check(PAGE, render(PAGE.read_text(encoding="utf-8"))))
