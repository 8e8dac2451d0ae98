"""Which metrics and labels a PromQL expression names: enough of the language for the expressions of this repository."""

from __future__ import annotations

import re
from typing import NamedTuple

_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_RANGE = re.compile(r"\[[^\]]*\]")
_GROUPING = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
_SELECTOR = re.compile(r"([A-Za-z_:][\w:]*)?\s*\{([^}]*)\}")
_NAME = re.compile(r"(?<![\w:.$])([A-Za-z_:][\w:]*)(?![\w:])(?!\s*\()")
_WORDS = frozenset({"and", "or", "unless", "bool", "offset", "by", "without", "on", "ignoring"})


class Names(NamedTuple):
    """What an expression names. ``labels`` are those of selectors by metric; ``grouped`` those of groupings."""

    metrics: set[str]
    labels: dict[str, set[str]]
    grouped: set[str]


def names_in(expression: str) -> Names:
    """The names in ``expression``; values of labels do not matter here."""
    text = _RANGE.sub("", _STRING.sub('""', expression))
    grouped = {label.strip() for found in _GROUPING.finditer(text) for label in found[1].split(",") if label.strip()}
    text = _GROUPING.sub(" ", text)
    labels: dict[str, set[str]] = {}
    for name, matchers in _SELECTOR.findall(text):
        labels.setdefault(name, set()).update(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", matchers))
    text = re.sub(r"\{[^}]*\}", " ", text)
    metrics = {name for name in _NAME.findall(text) if name not in _WORDS}
    return Names(metrics, labels, grouped)


def values_of(expression: str, label: str) -> set[str]:
    """The values that matchers of ``label`` name, alternatives apart."""
    found = re.findall(rf'\b{label}\s*=~?\s*"([^"]*)"', expression)
    return {value for values in found for value in values.split("|")}
