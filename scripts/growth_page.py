"""The part of docs/benchmarks.md that shows what more models, connections and bytes cost, and the soak.

Each curve is a table with a bar for the figure that should stay flat, or grow no faster than its cause.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

_BAR_CHARACTERS = 16

_GROWTH = """\
## What more of something costs

One server with default settings apart from the limits under trial. The load is `tensorhost bench`'s: {concurrency}
requests in flight for {seconds:.0f} s, one row each. *µs/request* is the server's processor time. *Idle* is cores used
while nothing is asked, *others busy* cores used by other programs: where that is not near zero the rates say little.
Bars show the column before them.
"""

_MODELS = """\
### Registered models

Copies of the demo's `wine` model, loaded lazily; one of them is asked. What an idle server does is look at the disk.
*`/models`* is the time of that answer.
"""

_CONNECTIONS = """\
### Open connections

So many kept-alive connections that have had one answer each and ask nothing more, and {concurrency} active ones beside
them. *KiB each* is resident memory per idle connection.
"""

_BODIES = """\
### Bytes in a body

One request after another, one row of float32 numbers as JSON, to a model that sums them. *Peak* is resident memory
above that before the requests; *per byte* divides it by the body's size; *left* is what was still held afterwards.
"""

_SOAK = """\
## Everything at once, for long

{minutes:g} minutes of {rate:.0f} requests a second to one model, while others are loaded, unloaded and replaced on
disk, requests are refused, and clients leave in the middle of a request or before its answer: {answered:,} requests
answered, {failed:,} failed; {trouble}. A line is fitted to the samples after the first {settling:.0%} of the run.
"""


def growth_sections(saved: dict[str, Any], where: Callable[[dict[str, Any]], str]) -> list[str]:
    """The tables of ``growth.json``; ``where`` words date, machine and versions."""
    how, curves = saved["how"], saved["curves"]
    parts = [_GROWTH.format(**how)]
    models, connections, bodies = (curves[name] for name in ("models", "connections", "bodies"))
    parts += [_MODELS, f"{where(models)}.\n", *_models_table(models["points"]), ""]
    parts += [_CONNECTIONS.format(**how), f"{where(connections)}.\n", *_connections_table(connections["points"]), ""]
    return [*parts, _BODIES, f"{where(bodies)}.\n", *_bodies_table(bodies["points"]), ""]


def soak_section(saved: dict[str, Any], where: Callable[[dict[str, Any]], str]) -> list[str]:
    """The table of ``soak.json``."""
    how, requests = saved["how"], saved["requests"]
    trouble = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in sorted(saved["trouble"].items()))
    names = {"rss_mib": "resident memory, MiB", "fds": "file descriptors", "threads": "threads"}
    rows = [
        f"| {names[name]} | {line['start']:,.1f} | {line['lowest']:,.1f} | {line['highest']:,.1f} |"
        f" {line['rise']:+,.2f} | {line['per_hour']:+,.2f} | {how['allowed'][name]:g} |"
        for name, line in saved["lines"].items()
    ]
    text = _SOAK.format(
        minutes=how["minutes"],
        rate=how["rate"],
        settling=how["settling_share"],
        answered=requests["answered"],
        failed=requests["failed"],
        trouble=trouble,
    )
    return [
        text,
        f"{where(saved)}.\n",
        "| | line begins | lowest | highest | line rises by | in an hour | allowed |",
        "|---|--:|--:|--:|--:|--:|--:|",
        *rows,
        "",
    ]


def _models_table(points: Sequence[dict[str, Any]]) -> list[str]:
    rows = [
        "| models | ready, s | processor, s | | MiB | idle | µs/request | requests/s | others busy | `/models` ms |",
        "|--:|--:|--:|---|--:|--:|--:|--:|--:|--:|",
    ]
    bars = _bars([one["ready_cpu_s"] for one in points])
    for one, bar in zip(points, bars, strict=True):
        rows.append(
            f"| {one['models']:,} | {one['ready_s']:.1f} | {one['ready_cpu_s']:.2f} | {bar} | {one['rss_mib']:.1f} |"
            f" {one['idle_cores']:.3f} | {one['server_cpu_us']:.0f} | {one['requests_s']:,.0f} |"
            f" {one['other_cores']:.1f} | {one['models_ms']:.1f} |"
        )
    return rows


def _connections_table(points: Sequence[dict[str, Any]]) -> list[str]:
    rows = [
        "| connections | KiB each | idle | µs/request | | requests/s | others busy | p50 ms | p99 ms |",
        "|--:|--:|--:|--:|---|--:|--:|--:|--:|",
    ]
    bars = _bars([one["server_cpu_us"] for one in points])
    for one, bar in zip(points, bars, strict=True):
        rows.append(
            f"| {one['connections']:,} | {one['kib_per_connection']:.1f} | {one['idle_cores']:.3f} |"
            f" {one['server_cpu_us']:.0f} | {bar} | {one['requests_s']:,.0f} | {one['other_cores']:.1f} |"
            f" {one['p50_ms']:.2f} | {one['p99_ms']:.2f} |"
        )
    return rows


def _bodies_table(points: Sequence[dict[str, Any]]) -> list[str]:
    rows = ["| bytes | ms | processor, ms | µs a kilobyte | | peak, MiB | per byte | left, MiB |"]
    rows.append("|--:|--:|--:|--:|---|--:|--:|--:|")
    per_kilobyte = [one["server_cpu_ms"] * 1e6 / one["body_bytes"] for one in points]
    for one, each_us, bar in zip(points, per_kilobyte, _bars(per_kilobyte), strict=True):
        rows.append(
            f"| {one['body_bytes']:,} | {one['median_ms']:,.1f} | {one['server_cpu_ms']:,.1f} | {each_us:,.1f} |"
            f" {bar} | {one['peak_mib']:,.1f} | {one['peak_bytes_per_body_byte']:.1f} | {one['left_mib']:,.1f} |"
        )
    return rows


def _bars(values: Sequence[float]) -> list[str]:
    longest = max(values) or 1.0
    return ["█" * max(1, round(value / longest * _BAR_CHARACTERS)) for value in values]
