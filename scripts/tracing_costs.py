"""Writes the table of costs in docs/tracing.md from the saved run; ``--check`` only says whether it is up to date."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "benchmarks" / "results" / "tracing.json"
TARGET = ROOT / "docs" / "tracing.md"
_BEGIN = "<!-- Written by scripts/tracing_costs.py from benchmarks/results/tracing.json: -->\n"
_END = "<!-- end of the written part -->\n"


def render(page: str, saved: dict[str, Any]) -> str:
    """``page`` with the table between its two marks.

    Raises:
        ValueError: the marks are not there once each, in order.
    """
    if page.count(_BEGIN) != 1 or page.count(_END) != 1 or page.index(_BEGIN) > page.index(_END):
        raise ValueError("docs/tracing.md has lost a mark of the written part")
    before, _, rest = page.partition(_BEGIN)
    return before + _BEGIN + "\n" + _table(saved) + "\n" + _END + rest.partition(_END)[2]


def _table(saved: dict[str, Any]) -> str:
    lines = [
        "| tracing | instructions | more than off | blocks of memory | processor time, µs |",
        "|---|--:|--:|--:|--:|",
    ]
    off = saved["kinds"]["off"]["instructions"]
    for kind, figures in saved["kinds"].items():
        said = "off" if kind == "off" else f"on, {kind}"
        more = "" if kind == "off" else f"{(figures['instructions'] / off - 1) * 100:.0f}%"
        count = f"{figures['instructions']:,}"
        lines.append(f"| {said} | {count} | {more} | {figures['allocations']:,} | {figures['cpu_us']:.0f} |")
    cpu, cores = saved["machine"]["cpu"], saved["machine"]["cores"]
    machine = f"{saved['date']}, {cpu}, {cores} cores, Python {saved['versions']['python']}."
    return "\n".join([*lines, "", machine]) + "\n"


def main() -> int:
    """0 when the page is, or has become, up to date; 1 when ``--check`` finds it stale."""
    page = TARGET.read_text(encoding="utf-8")
    wanted = render(page, json.loads(RESULT.read_text(encoding="utf-8")))
    if "--check" not in sys.argv[1:]:
        TARGET.write_text(wanted, encoding="utf-8")
    elif page != wanted:
        print("docs/tracing.md is stale: run python scripts/tracing_costs.py", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
