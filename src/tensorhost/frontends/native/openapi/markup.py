"""HTML from Python values: everything is escaped but what came from here."""

from __future__ import annotations

import re
from html import escape
from typing import Any

_CODE = re.compile(r"`([^`]+)`")


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def element(name: str, /, *children: str, **attributes: Any) -> Markup:
    """An element. An attribute of None or False is left out, one of True has no value; ``cls`` is ``class``."""
    parts = [name]
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        label = "class" if key == "cls" else key.replace("_", "-")
        parts.append(label if value is True else f'{label}="{escape(str(value))}"')
    return Markup(f"<{' '.join(parts)}>{joined(*children)}</{name}>")


def void(name: str, /, **attributes: Any) -> Markup:
    """An element that has no end tag."""
    return Markup(element(name, **attributes).removesuffix(f"</{name}>"))


def joined(*children: str) -> Markup:
    """Children one after the other, plain text escaped."""
    return Markup("".join(child if isinstance(child, Markup) else escape(child) for child in children))


def prose(text: str) -> Markup:
    """Sentences in which backticks mark code."""
    pieces = _CODE.split(text)
    return joined(*(element("code", piece) if index % 2 else piece for index, piece in enumerate(pieces)))


def paragraphs(text: str) -> Markup:
    """Sentences with empty lines between their paragraphs."""
    return joined(*(element("p", prose(part.strip())) for part in text.split("\n\n") if part.strip()))


def table(headings: tuple[str, ...], rows: list[tuple[str, ...]]) -> Markup:
    """A table; its first column names the rows."""
    head = element("tr", *(element("th", heading, scope="col") for heading in headings))
    body = [
        element("tr", element("th", first, scope="row"), *(element("td", cell) for cell in rest))
        for first, *rest in rows
    ]
    return element("div", element("table", element("thead", head), element("tbody", *body)), cls="wide", tabindex="0")
