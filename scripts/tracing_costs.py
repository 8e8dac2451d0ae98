"""Writes the table of costs in docs/tracing.md from the saved run; ``--check`` only says whether it is up to date."""

from __future__ import annotations

import json
import sys
from typing import Any

from generated_page import DOCS, with_part, write_or_check

RESULT = DOCS.parent / "benchmarks" / "results" / "tracing.json"
TARGET = DOCS / "tracing.md"
_SOURCE = "scripts/tracing_costs.py from benchmarks/results/tracing.json"


def render(page: str, saved: dict[str, Any]) -> str:
    """``page`` with the table of the saved run."""
    return with_part(page, _SOURCE, _table(saved))


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


if __name__ == "__main__":
    saved_run = json.loads(RESULT.read_text(encoding="utf-8"))
    sys.exit(write_or_check(TARGET, render(TARGET.read_text(encoding="utf-8"), saved_run)))
