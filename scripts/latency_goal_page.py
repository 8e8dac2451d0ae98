"""The part of docs/benchmarks.md that shows what a latency goal does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

_GOAL = """\
## A latency goal

Requests of one row come at random times, whether or not the server keeps up, straight into the batch queue: no HTTP.
*Load* is their rate as a share of what callers who wait for their answers got out of it. *In time* is what was answered
within the goal, with [`target_latency_ms`](batching.md#a-latency-goal) and without, in turns of which the median is
shown; up to {max_batch_rows} rows a call. *made up* is a wait whose rows get dearer beyond eight.
"""


def latency_goal_section(saved: dict[str, Any], where: Callable[[dict[str, Any]], str]) -> list[str]:
    """The tables of ``latency_goal.json``; ``where`` words date, machine and versions."""
    parts = [_GOAL.format(**saved), f"{where(saved)}.\n"]
    for model in saved["results"]:
        most, rows = model["most_rows_s"], model["rows"]
        parts += [f"### {model['name']}: {most:.0f} rows a second at most\n", *_table(rows), ""]
    return parts


def _table(rows: Sequence[dict[str, Any]]) -> list[str]:
    pairs: dict[tuple[float, float], dict[bool, dict[str, Any]]] = {}
    for row in rows:
        pairs.setdefault((row["goal_ms"], row["load"]), {})[row["with_goal"]] = row
    return [
        "| Goal, ms | Load | Rows/s | In time, without | with | p50 ms, without | with | p99 ms, without | with |",
        "|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
        *(_line(goal_ms, load, both[False], both[True]) for (goal_ms, load), both in pairs.items()),
    ]


def _line(goal_ms: float, load: float, without: dict[str, Any], with_goal: dict[str, Any]) -> str:
    pairs = " | ".join(
        f"{without[name]:.{digits}f} | {with_goal[name]:.{digits}f}"
        for name, digits in (("in_time_s", 0), ("p50_ms", 1), ("p99_ms", 1))
    )
    return f"| {goal_ms:.0f} | {load:.0%} | {without['offered_s']:.0f} | {pairs} |"
