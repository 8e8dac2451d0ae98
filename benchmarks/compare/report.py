"""What a run prints: a table per case."""

from __future__ import annotations

from typing import Any


def print_case(title: str, result: dict[str, Any]) -> None:
    """A table of one case."""
    print(f"\n{title}")
    for name, figures in result["servers"].items():
        print(f"  {name:<27}{_line(figures)}", flush=True)


def _line(figures: dict[str, Any]) -> str:
    if "failed" in figures:
        return f"failed: {figures['failed']}"
    times = "  ".join(
        f"{ours} {ratios['requests_s']['median']:.2f}x ({ratios['requests_s']['lowest']:.2f}-"
        f"{ratios['requests_s']['highest']:.2f})"
        for ours, ratios in figures["times"].items()
    )
    late = f"  late p99 {figures['late_p99_ms']:.2f} ms" if "late_p99_ms" in figures else ""
    unanswered = f"  unanswered {figures['unanswered']:.0f}" if figures.get("unanswered") else ""
    cores = f"{figures['generator_cores']:.2f} cores, others' {figures['other_cores']:.2f}"
    return (
        f"{figures['requests_s']:>10,.1f}/s  p50 {figures['p50_ms']:>9.2f} ms  p99 {figures['p99_ms']:>9.2f} ms"
        f"  cpu {figures['cpu_us_per_request']:>8.0f} us  generator {figures['generator_us_per_request']:>5.0f} us"
        f" {cores}{late}{unanswered}  {times}"
    )
