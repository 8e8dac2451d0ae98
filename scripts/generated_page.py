"""What the scripts that write a page from the code have in common: write it, or with ``--check`` say if it is stale."""

from __future__ import annotations

import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parents[1] / "docs"


def write_or_check(page: Path, wanted: str) -> int:
    """0 when ``page`` is, or has become, ``wanted``; 1 when ``--check`` finds it stale."""
    if page.is_file() and page.read_text(encoding="utf-8") == wanted:
        return 0
    if "--check" in sys.argv[1:]:
        print(f"docs/{page.name} is stale: run make reference", file=sys.stderr)
        return 1
    page.write_text(wanted, encoding="utf-8")
    return 0


def with_part(page: str, source: str, part: str) -> str:
    """The text of a page whose other parts are written by hand, with ``part`` between the marks that name ``source``.

    Raises:
        ValueError: the marks are not there once each, in order.
    """
    begin, end = f"<!-- Written by {source}: -->\n", "<!-- end of the written part -->\n"
    if page.count(begin) != 1 or page.count(end) != 1 or page.index(begin) > page.index(end):
        raise ValueError(f"the page has lost a mark of what is written by {source}")
    before, _, rest = page.partition(begin)
    return f"{before}{begin}\n{part}\n{end}{rest.partition(end)[2]}"


def row(*cells: str) -> str:
    """A line of a table."""
    return "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |"
