"""The section of docs/benchmarks.md about several workers, from ``workers.json``."""

from __future__ import annotations

from typing import Any

_TEXT = """\
## Several workers

One process against {workers} workers (`--workers {workers}`), and the same with one TensorFlow thread each
(`--intra-op-threads 1`), on the same machine, load generator included. *Times rate* and *times processor* are requests
a second and processor time per request over those of the one process, taken round by round: the median and, in
brackets, the lowest and the highest round. *Others busy* is cores used by other programs.
"""

_WAYS = {"one": "one process", "per_core": "{workers} workers", "per_core_one_thread": "{workers} workers, one thread"}
_COLUMNS = ("", "requests/s", "p50 ms", "p99 ms", "µs/request", "others busy", "times rate", "times processor")


def workers_section(saved: dict[str, Any], machine: str) -> list[str]:
    """The tables: one per model, a block of lines per number of connections, and the memory.

    Args:
        saved: the run.
        machine: where and when it was made, in words.
    """
    how = saved["how"]
    ways = {name: text.format(**how) for name, text in _WAYS.items()}
    parts = [_TEXT.format(**how), f"{machine}; {how['generator']}, {how['rounds']} rounds.\n"]
    for model in saved["models"]:
        parts += [f"### `{model['model']}`, one row a request\n"]
        for case in model["cases"]:
            count = case["connections"]
            parts += [f"{count} connection{'s' if count > 1 else ''}:\n", *_table(case, ways), ""]
    parts += ["### Memory\n", "MiB of all processes, with pages that they share counted once.\n"]
    parts += ["| model | " + " | ".join(ways.values()) + " |", "|---|" + "--:|" * len(ways)]
    for model in saved["models"]:
        used = (f"{model['memory_mib'][name]['pss']:,.0f}" for name in ways)
        parts.append(f"| {model['model']} | " + " | ".join(used) + " |")
    return [*parts, ""]


def _table(case: dict[str, Any], ways: dict[str, str]) -> list[str]:
    rows = ["| " + " | ".join(_COLUMNS) + " |", "|---|" + "--:|" * (len(_COLUMNS) - 1)]
    for name, way in ways.items():
        figures, ratios = case["servers"][name], case["ratios"].get(name)
        rate, cpu = (_ratio(ratios["requests_s"]), _ratio(ratios["cpu"])) if ratios else ("", "")
        rows.append(
            f"| {way} | {figures['requests_s']:,.0f} | {figures['p50_ms']:,.2f} | {figures['p99_ms']:,.2f} |"
            f" {figures['cpu_us_per_request']:,.0f} | {figures['other_cores']:.1f} | {rate} | {cpu} |"
        )
    return rows


def _ratio(spread: dict[str, float]) -> str:
    return f"**{spread['median']:.2f}×** ({spread['lowest']:.2f}–{spread['highest']:.2f})"
