"""Reading the project's Markdown: pages, headings, sections and tables."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
PACKAGE = ROOT / "src" / "tensorhost"
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), PACKAGE / "demo" / "README.md"])

_FENCE = re.compile(r"^```.*?^```[^\n]*$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^(#+) +(.+?) *$", re.MULTILINE)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_CODE = re.compile(r"`([^`]+)`")


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def prose(text: str) -> str:
    """The page without its code blocks."""
    return _FENCE.sub("", text)


def links(text: str) -> list[str]:
    """Targets of the links of a page."""
    return _LINK.findall(_CODE.sub("code", prose(text)))


def anchors(text: str) -> set[str]:
    """What a link may name after ``#``: headings in the form code hosts give them."""
    titles = (match[2].lower() for match in _HEADING.finditer(prose(text)))
    return {re.sub(r"[^\w\- ]", "", title).replace(" ", "-") for title in titles}


def section(text: str, title: str) -> str:
    """What stands under the heading ``title``, up to the next heading of its level or a higher one."""
    heading = re.search(rf"^(#+) +{re.escape(title)} *$", text, re.MULTILINE)
    assert heading, f"there is no heading '{title}'"
    rest = text[heading.end() :]
    end = re.search(rf"^#{{1,{len(heading[1])}}} ", _blank_fences(rest), re.MULTILINE)
    return rest[: end.start()] if end else rest


def first_table(text: str) -> list[list[str]]:
    """The cells of the rows of the first table, without its head."""
    lines = iter(text.splitlines())
    rows: list[list[str]] = []
    for line in lines:
        if line.startswith("|"):
            rows.append([cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))])
        elif rows:
            break
    assert len(rows) > 2, "there is no table"
    return rows[2:]


def code_spans(text: str) -> list[str]:
    return _CODE.findall(prose(text))


def names_in(cell: str) -> list[str]:
    """The code spans of a cell that are plain names."""
    return [span for span in code_spans(cell) if re.fullmatch(r"[\w.]+", span) and span != "model.toml"]


def blocks(text: str, language: str) -> list[str]:
    """The code blocks of a language."""
    return re.findall(rf"^```{language}[^\n]*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def _blank_fences(text: str) -> str:
    return _FENCE.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), text)
