"""Writes the table of metrics in docs/metrics.md from their definitions; ``--check`` only says if it is up to date."""

from __future__ import annotations

import sys

from generated_page import DOCS, with_part, write_or_check

from tensorhost.telemetry.definitions import METRICS, Metric

TARGET = DOCS / "metrics.md"
_SOURCE = "scripts/metrics_reference.py from src/tensorhost/telemetry/definitions.py"


def render(page: str) -> str:
    """``page`` with the table of now."""
    rows = "\n".join(_row(metric) for metric in METRICS)
    return with_part(page, _SOURCE, f"| name | kind | unit | labels | meaning |\n|---|---|---|---|---|\n{rows}\n")


def _row(metric: Metric) -> str:
    labels = ", ".join(f"`{label}`" for label in metric.labels)
    return f"| `{metric.name}` | {metric.kind} | {metric.unit or '–'} | {labels or '–'} | {metric.help} |"


if __name__ == "__main__":
    sys.exit(write_or_check(TARGET, render(TARGET.read_text(encoding="utf-8"))))
