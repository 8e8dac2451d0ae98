"""The parts of docs/benchmarks.md on runtimes: the race, TensorFlow's knobs, starts. Read by ``benchmark_page``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Machine = Callable[[dict[str, Any]], str]
"""Where a run was made, in words."""

_TURNS = ("first", "again")

_RACE = """\
## The race between runtimes

How many times faster than TensorFlow as tensorhost calls it (frozen graph, prepared callable) each runtime was, by rows
of a call, as the server measured it before serving; the largest difference between the answers of both, as a share of
the output's largest value; and who serves.
"""

_RACE_STARTS = """\
What it costs and saves: from the start of the process to ready, and the memory of the server once it serves
(proportional set size), with TensorFlow and with the winner. The first start tries and races the model, the second
finds that kept.
"""

_KNOBS = """\
## TensorFlow's knobs

How fast a call is with one knob turned, as a multiple of the speed with all of them as they are served: above 1 the
turned knob would be faster. Every way has a process of its own; they take turns. *As served* is in milliseconds.
"""

_STARTUP = """\
## From start to ready

Serving the demo models: from the start of the process to the first 200 at `/health/ready`. The least a Python program
could take is a process that imports TensorFlow, loads the same models with TensorFlow's and Keras's own functions and
ends. A first start tries each model in a child process, which imports TensorFlow, too; a later one finds kept what that
has shown. The last two serve the digits alone, with OpenVINO, where TensorFlow is not installed. Medians of {rounds}
rounds, all taking turns.
"""


def race_section(saved: dict[str, Any], machine: Machine) -> list[str]:
    """The tables of ``race.json``."""
    versions = saved["versions"]
    names = ("tensorflow-cpu", "openvino", "ai-edge-litert", "onnxruntime", "tf2onnx")
    parts = [_RACE, f"{machine(saved)}; {', '.join(f'{name} {versions[name]}' for name in names)}.\n"]
    sizes = sorted({int(rows) for one in saved["results"] for each in _timed(one) for rows in each["speedup"]})
    parts += ["| model | runtime | " + " | ".join(map(str, sizes)) + " | difference | serves |"]
    parts += ["|---|---|" + "--:|" * (len(sizes) + 1) + "---|"]
    for one in saved["results"]:
        for each in one["race"]["candidates"]:
            parts.append(_race_row(one["model"], each, one["race"]["served"], sizes))
    parts += ["", _RACE_STARTS]
    parts += ["| model | served by | first start | again | memory | TensorFlow: first start | again | memory |"]
    parts += ["|---|---|--:|--:|--:|--:|--:|--:|"]
    for one in saved["results"]:
        race, plain = ([one["starts"][f"{way}_{turn}"] for turn in _TURNS] for way in ("race", "tensorflow"))
        cells = [f"{race[0]['ready_s']:.1f} s", f"{race[1]['ready_s']:.1f} s", f"{race[1]['memory_mib']:.0f} MiB"]
        cells += [f"{plain[0]['ready_s']:.1f} s", f"{plain[1]['ready_s']:.1f} s", f"{plain[1]['memory_mib']:.0f} MiB"]
        parts.append(f"| {one['model']} | {race[1]['runtime']} | " + " | ".join(cells) + " |")
    return [*parts, ""]


def _timed(one: dict[str, Any]) -> list[dict[str, Any]]:
    return [each for each in one["race"]["candidates"] if each["speedup"]]


def _race_row(model: str, each: dict[str, Any], served: list[dict[str, Any]], sizes: list[int]) -> str:
    label = each["runtime"] if each["precision"] == "float32" else f"{each['runtime']} {each['precision']}"
    if not each["speedup"]:
        reason = each["reason"].replace("|", " ").splitlines()[0][:120]
        return f"| {model} | {label} |" + " |" * (len(sizes) + 1) + f" {reason} |"
    speeds = [f"{each['speedup'][str(size)]:.2f}" if str(size) in each["speedup"] else "" for size in sizes]
    difference = each["largestDifference"] / each["outputScale"] if each["outputScale"] else 0.0
    return f"| {model} | {label} | " + " | ".join(speeds) + f" | {difference:.1e} | {_share(label, served)} |"


def _share(label: str, served: list[dict[str, Any]]) -> str:
    below = 0
    for route in served:
        if route["runtime"] == label:
            if len(served) == 1:
                return "all sizes"
            return f"up to {route['upToRows']}" if not below else f"above {below}"
        below = route["upToRows"]
    return "no"


def knobs_section(saved: dict[str, Any], machine: Machine) -> list[str]:
    """The table of ``knobs.json``."""
    parts = [_KNOBS, f"{machine(saved)}; TensorFlow {saved['versions']['tensorflow-cpu']}.\n"]
    ways = list(saved["results"][0]["speed"])
    parts += ["| model | rows | as served | " + " | ".join(ways) + " |", "|---|--:|--:|" + "--:|" * len(ways)]
    for one in saved["results"]:
        for size, served_ms in one["served_ms"].items():
            speeds = [one["speed"][way].get(size) for way in ways]
            shown = ["failed" if speed is None else f"{speed:.2f}" for speed in speeds]
            parts.append(f"| {one['model']} | {size} | {served_ms:,.3f} | " + " | ".join(shown) + " |")
    return [*parts, ""]


def startup_section(saved: dict[str, Any], machine: Machine) -> list[str]:
    """The table of ``startup.json``."""
    results, sizes = saved["results"], saved["results"]["installed"]
    installed = (
        f"Installed, OpenVINO takes {sizes['openvino_mib']} MiB and TensorFlow {sizes['tensorflow_mib']} MiB; an "
        f"environment with `tensorhost[openvino]` and nothing else takes {sizes['openvino_only_mib']} MiB in all."
    )
    return [
        _STARTUP.format(rounds=len(results["rounds"])),
        f"{machine(saved)}.\n",
        "| | seconds |",
        "|---|--:|",
        f"| `tensorhost serve`, first start | {results['server_ready_s']:.2f} |",
        f"| `tensorhost serve`, with what was kept | {results['kept_ready_s']:.2f} |",
        f"| import and bare loads | {results['bare_loads_s']:.2f} |",
        f"| added by tensorhost at the first start, round by round | {results['added_s']:.2f} |",
        f"| OpenVINO without TensorFlow, first start | {results['openvino_first_s']:.2f} |",
        f"| OpenVINO without TensorFlow, with what was kept | {results['openvino_kept_s']:.2f} |",
        "",
        installed,
        "",
    ]
