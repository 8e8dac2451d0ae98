"""What ``tensorhost bench`` shows: a bar while it measures, then a table, errors, and latencies as bars.

Names and codes come from a server and may be hostile; ``plain`` makes them fit for a terminal.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from tensorhost.bench import Load
from tensorhost.cli.output import console, plain, size_text, table

Progress = Callable[[str, list[dict[str, Any]]], None]

_BAR_WIDTH = 48
_EIGHTHS = " ▏▎▍▌▋▊▉"
_LATE_SHARE = 0.1
"""A generator that is late by more than this share of the median latency spoils the figures."""

_BUSY_CORES = 0.9


@contextmanager
def progress_bar(load: Load) -> Iterator[Progress]:
    """Shows what the generators say, on standard error; only on a terminal."""
    if not sys.stderr.isatty():
        yield lambda _kind, _parts: None
        return
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(24), TextColumn("{task.fields[seen]}"))
    with Progress(*columns, console=console(stderr=True), transient=True) as bars:
        task = bars.add_task(_name(load), total=None, seen="")

        def tell(kind: str, parts: list[dict[str, Any]]) -> None:
            elapsed_s = max(part["elapsedS"] for part in parts)
            answered = sum(part["answered"] for part in parts)
            if kind == "warming":
                bars.update(task, total=load.warmup_s, completed=elapsed_s, seen="warming up")
                return
            done = elapsed_s if load.requests is None else answered
            total = load.duration_s if load.requests is None else load.requests
            bars.update(task, total=total, completed=done, seen=_seen(parts, elapsed_s, answered))

        yield tell


def show(document: dict[str, Any]) -> None:
    """Everything measured, on standard output."""
    screen = console()
    screen.print(plain(_target_text(document["target"]), "bold"))
    runs = document["runs"]
    screen.print(_table(runs))
    for run in runs:
        for line, style in _remarks(run):
            screen.print(plain(f"{_name_of(run)}: {line}", style))
    if len(runs) == 1:
        _show_bars(
            [(f"≤ {_time(bar['upToMs'])}", bar["requests"]) for bar in runs[0]["histogram"]], "Latency, requests"
        )
        return
    _show_bars([(_name_of(run), run["requestsPerS"]) for run in runs], "Requests per second")
    _show_bars([(_name_of(run), run["latencyMs"]["p99"] or 0.0) for run in runs], "99th percentile of latency, ms")


def bar(share: float, width: int = _BAR_WIDTH) -> str:
    """A horizontal bar of ``share`` (0 to 1) of ``width`` characters, exact to an eighth of one."""
    eighths = round(max(0.0, min(share, 1.0)) * width * 8)
    if share > 0:
        eighths = max(eighths, 1)
    return "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()


def _show_bars(bars: Sequence[tuple[str, float]], title: str) -> None:
    longest = max((value for _, value in bars), default=0)
    if not longest:
        return
    drawn = table(title, "", "")
    drawn.columns[0].justify = drawn.columns[1].justify = "right"
    for label, value in bars:
        drawn.add_row(plain(label), plain(_number(value)), plain(bar(value / longest), "cyan"))
    console().print(drawn)


def _table(runs: Sequence[dict[str, Any]]) -> Any:
    shown = table(
        "Load", "Requests/s", "Rows/s", "p50 ms", "p90 ms", "p95 ms", "p99 ms", "max ms", "Failed", "Rows/call"
    )
    for column in shown.columns[1:]:
        column.justify = "right"
    for run in runs:
        latency, batches = run["latencyMs"], run["batches"]
        shown.add_row(
            plain(_name_of(run), "bold cyan"),
            _number(run["requestsPerS"]),
            _number(run["rowsPerS"]),
            *(
                ("-" if latency[name] is None else f"{latency[name]:.3f}")
                for name in ("p50", "p90", "p95", "p99", "max")
            ),
            plain(run["failed"], "red" if run["failed"] else ""),
            "-" if batches is None else f"{batches['averageRows']:.1f}",
        )
    return shown


def _remarks(run: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Sentences about one run, with their colour."""
    generator, latency = run["generator"], run["latencyMs"]
    for code, count in run["errors"].items():
        yield f"{count:,} failed with {code}", "red"
    if run["batches"] is not None:
        sizes = ", ".join(f"{count:,} of ≤ {rows}" for rows, count in run["batches"]["byRows"].items())
        yield f"{run['batches']['count']:,} model calls by rows: {sizes}", ""
    cpu = f", {generator['cpuUsPerRequest']:.0f} µs a request" if generator["cpuUsPerRequest"] else ""
    yield f"the generator used {generator['cpuCores']:.2f} cores{cpu}", "dim"
    late = generator["latenessMs"]
    if late is not None and late["p99"] is not None:
        is_late = latency["p50"] is not None and late["p99"] > _LATE_SHARE * latency["p50"]
        said = f"the generator was late by {late['p50']:.3f} ms (median), {late['p99']:.3f} ms (p99)"
        yield said + (", which is part of the latencies" if is_late else ""), "yellow" if is_late else "dim"
    if generator["waitedForConnection"]:
        yield f"{generator['waitedForConnection']:,} due requests had to wait for a free connection", "yellow"
    if generator["unsent"]:
        yield (
            f"{generator['unsent']:,} due requests were never sent: the rate is not carried, and latencies lack them",
            "bold red",
        )
    if run["unanswered"]:
        yield f"{run['unanswered']:,} requests had no answer yet when the run was ended", "yellow"
    if run["interrupted"]:
        yield f"ended by Ctrl-C after {run['elapsedS']:.1f} s", "yellow"


def _target_text(target: dict[str, Any]) -> str:
    rows = f"{target['rows']} row{'s' if target['rows'] != 1 else ''} a request"
    if target["kind"] == "server":
        where, size_bytes = f"at {target['url']}", target["bodyBytes"]
    else:
        where = "on its bare runtime" if target["kind"] == "runtime" else "through the engine, without HTTP"
        size_bytes = target["inputBytes"]
    executed = f", executed by {target['runtime']}" if target.get("runtime") else ""
    return f"{target['model']} version {target['version']} {where}: {rows}, {size_text(size_bytes)}{executed}"


def _seen(parts: Sequence[dict[str, Any]], elapsed_s: float, answered: int) -> str:
    failed = sum(part["failed"] for part in parts)
    p50_s, p99_s = (max(part[name] for part in parts) for name in ("p50S", "p99S"))
    rate = answered / elapsed_s if elapsed_s else 0.0
    shown = f"{answered:,} answered, {rate:,.0f}/s, p50 {p50_s * 1e3:.2f} ms, p99 {p99_s * 1e3:.2f} ms"
    return shown + (f", {failed:,} failed" if failed else "")


def _name(load: Load) -> str:
    return f"{load.concurrency} in flight" if load.rate is None else f"{load.rate:g}/s"


def _name_of(run: dict[str, Any]) -> str:
    return (
        f"{run['concurrency']} in flight" if run["rate"] is None else f"{run['rate']:g}/s, {run['concurrency']} at most"
    )


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:,.2f}"


def _time(milliseconds: float) -> str:
    return f"{milliseconds:.3g} ms" if milliseconds < 1000 else f"{milliseconds / 1000:.3g} s"
