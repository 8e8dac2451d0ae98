"""Writes the table of metrics in docs/metrics.md from their definitions; ``--check`` only says if it is up to date."""

from __future__ import annotations

import sys
from pathlib import Path

from tensorhost.telemetry.definitions import METRICS, Metric

TARGET = Path(__file__).resolve().parents[1] / "docs" / "metrics.md"
_BEGIN = "<!-- Written by scripts/metrics_reference.py from src/tensorhost/telemetry/definitions.py: -->\n"
_END = "<!-- end of the written part -->\n"


def render(page: str) -> str:
    """``page`` with the table of now between its two marks.

    Raises:
        ValueError: the marks are not there once each, in order.
    """
    if page.count(_BEGIN) != 1 or page.count(_END) != 1 or page.index(_BEGIN) > page.index(_END):
        raise ValueError("docs/metrics.md has lost a mark of the written part")
    before, _, rest = page.partition(_BEGIN)
    after = rest.partition(_END)[2]
    rows = "\n".join(_row(metric) for metric in METRICS)
    table = f"\n| name | kind | unit | labels | meaning |\n|---|---|---|---|---|\n{rows}\n\n"
    return before + _BEGIN + table + _END + after


def _row(metric: Metric) -> str:
    labels = ", ".join(f"`{label}`" for label in metric.labels)
    return f"| `{metric.name}` | {metric.kind} | {metric.unit or '–'} | {labels or '–'} | {metric.help} |"


def main() -> int:
    """0 when the page is, or has become, up to date; 1 when ``--check`` finds it stale."""
    page = TARGET.read_text(encoding="utf-8")
    wanted = render(page)
    if "--check" not in sys.argv[1:]:
        TARGET.write_text(wanted, encoding="utf-8")
    elif page != wanted:
        print("docs/metrics.md is stale: run python scripts/metrics_reference.py", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
