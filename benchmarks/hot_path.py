"""What one request costs inside the server, from the bytes of the socket to the bytes of the answer, and where.

Run: ``python -m benchmarks.hot_path [--save] [--cache FOLDER]``. Takes about three minutes. No sockets and no load
generator: the real ``Connection``, on uvloop, is handed each request's bytes by a transport that keeps what is written,
so a figure is the server's own work and nothing of the kernel's (``hot_path_server``).

Measured: instructions per request and blocks of memory asked of Python's allocator, counted by valgrind's callgrind
(Debian: ``apt-get install valgrind``) with a model that does nothing, which neither a busy machine nor a changing clock
rate moves; processor time per request, and time by stage (``hot_path_stages``), with TensorFlow's own models where they
are small; and what handing a call to the model's thread costs. ``--save`` writes ``benchmarks/results/hot_path.json``;
``scripts/hot_path_page.py`` renders it.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import uvloop

from benchmarks import engine as bare
from benchmarks.hot_path_server import CASES, Case, Load, load
from benchmarks.hot_path_stages import marked
from benchmarks.machine import describe
from benchmarks.models import ensure
from tensorhost.batching import BatchQueue, QueueOptions
from tensorhost.core.requests import Timings

RESULT = Path(__file__).parent / "results" / "hot_path.json"
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "tensorhost-benchmarks"
ROUNDS = 5
_HAND_OFFS = 500
_POLL_S = 0.02
_COUNTED = {"_PyObject_Malloc", "_PyObject_Calloc", "_PyObject_Realloc"}
_START_TIMEOUT_S = 300


def main() -> None:
    """Measure every case."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--save", action="store_true", help=f"write {RESULT.name}")
    parser.add_argument("--cache", type=Path, default=CACHE, help="where the models are kept")
    parser.add_argument("--counted", nargs=2, metavar=("CASE", "FOLDER"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.counted:
        name, folder = arguments.counted
        uvloop.run(answer_counted(lambda: Load(CASES[name]), CASES[name], Path(folder)))
        return
    models = ensure(("tiny", "mlp"), arguments.cache / "models")
    cases = {}
    for name, case in CASES.items():
        path = models[name.removesuffix("32")].saved_model if name != "image" else None
        cases[name] = {
            "title": case.title,
            "connections": case.connections,
            **count_instructions(name),
            **uvloop.run(time_case(name, path)),
        }
        print(name, json.dumps(cases[name], indent=1))
    hand_off = uvloop.run(time_hand_off())
    print(hand_off)
    if arguments.save:
        saved = {**describe(), "rounds": ROUNDS, "cases": cases, "hand_off_us": hand_off}
        RESULT.write_text(json.dumps(saved, indent=2) + "\n", encoding="utf-8")


async def least_cpu_us(load: Load, requests: int) -> float:
    """Microseconds of processor time per request, of all threads: the least of several rounds."""
    await load.run(max(requests // 10, 2))
    gc.collect()
    gc.freeze()
    best_s = float("inf")
    for _ in range(ROUNDS):
        started = time.process_time()
        await load.run(requests)
        best_s = min(best_s, time.process_time() - started)
    return round(best_s / requests * 1e6, 1)


async def time_case(name: str, saved_model: Path | None) -> dict[str, Any]:
    """Processor time per request, the least of several rounds, and for one connection the medians of the stages."""
    case = CASES[name]
    requests = Load(case, load(saved_model) if saved_model else None)
    cpu_us = await least_cpu_us(requests, case.requests)
    result: dict[str, Any] = {
        "request_bytes": requests.request_bytes,
        "model": "TensorFlow" if saved_model else "nothing",
        "cpu_us": cpu_us,
    }
    if case.connections == 1 and saved_model:
        with marked(requests) as marks:
            await requests.run(case.requests)
        result["stages_us"] = marks.medians_us()
    return result


def count_instructions(name: str, module: str = "benchmarks.hot_path", options: Sequence[str] = ()) -> dict[str, float]:
    """Instructions and allocated blocks per request, with a model that does nothing.

    The requests are answered by ``python -m module --counted CASE FOLDER`` with ``options``, see ``answer_counted``.
    """
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "callgrind"
        valgrind = ["valgrind", "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={output}"]
        child = subprocess.Popen(
            [*valgrind, sys.executable, "-m", module, "--counted", name, folder, *options],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=os.environ | {"PYTHONHASHSEED": "0"},
        )
        try:
            _wait_for(Path(folder) / "ready", child)
            _instrument("on", child.pid)
            (Path(folder) / "go").touch()
            _wait_for(Path(folder) / "done", child)
            _instrument("off", child.pid)
            (Path(folder) / "go").unlink()
            child.wait(_START_TIMEOUT_S)
        finally:
            child.kill()
        profile = output.read_text(encoding="utf-8")
    requests = CASES[name].counted_requests
    (total,) = re.findall(r"^totals: (\d+)", profile, re.MULTILINE)
    return {
        "instructions": round(int(total) / requests),
        "allocations": round(_calls(profile, _COUNTED) / requests),
    }


async def answer_counted(make_load: Callable[[], Load], case: Case, folder: Path) -> None:
    """In the child: warm up, wait to be counted, answer, and wait until the counting is over."""
    requests = make_load()
    await requests.run(max(case.counted_requests // 10, 2))
    (folder / "ready").touch()
    while not (folder / "go").exists():  # noqa: ASYNC110 - another process says so
        await asyncio.sleep(_POLL_S)
    await requests.run(case.counted_requests)
    (folder / "done").touch()
    while (folder / "go").exists():  # noqa: ASYNC110 - another process says so
        await asyncio.sleep(_POLL_S)


def _instrument(state: str, pid: int) -> None:
    subprocess.run(["callgrind_control", "-i", state, str(pid)], check=True, stdout=subprocess.DEVNULL)


def _wait_for(path: Path, child: subprocess.Popen[bytes]) -> None:
    give_up_at = time.monotonic() + _START_TIMEOUT_S
    while not path.exists():
        if child.poll() is not None or time.monotonic() > give_up_at:
            raise RuntimeError(f"the counted process ended or hangs before {path.name}")
        time.sleep(_POLL_S)


def _calls(profile: str, functions: set[str]) -> int:
    """How often ``functions`` were called. In callgrind's format a name stands behind the first use of its id only."""
    names: dict[str, str] = {}
    calls, called = 0, ""
    for line in profile.splitlines():
        if line.startswith(("fn=", "cfn=")):
            number, _, name = line.partition("=")[2].partition(" ")
            if name:
                names[number] = name
            called = names[number]
        elif line.startswith("calls=") and called in functions:
            calls += int(line.partition("=")[2].split()[0])
    return calls


async def time_hand_off() -> dict[str, float]:
    """Microseconds from asking the queue to having the answer: the call on the event loop, and on the model's thread.

    The latter with two switch intervals, by turns: it is how long a thread lets another keep the interpreter.
    """
    servable = bare.make_engine().manager.find("null")
    assert servable is not None
    spent: dict[str, list[float]] = {}
    before_s = sys.getswitchinterval()
    for _ in range(ROUNDS):
        for name, inline_rows, interval_s in (
            ("event loop", 32, before_s),
            ("thread, switch interval 0.5 ms", 0, 0.0005),
            ("thread, switch interval 5 ms", 0, 0.005),
        ):
            sys.setswitchinterval(interval_s)
            options = QueueOptions(True, 32, 0.0, 4096, inline_rows)
            queue = BatchQueue(lambda inputs: {"y": inputs["x"].copy()}, options, servable._executor, lambda *_: None)
            spent.setdefault(name, []).append(await _median_call_us(queue))
    sys.setswitchinterval(before_s)
    await asyncio.to_thread(servable.close)
    return {name: round(min(medians), 1) for name, medians in spent.items()}


async def _median_call_us(queue: BatchQueue) -> float:
    row = {"x": np.ones((1, 4), np.float32)}
    spent = []
    for _ in range(_HAND_OFFS):
        started = time.perf_counter_ns()
        await queue.call(row, rows=1, deadline=float("inf"), timings=Timings())
        spent.append(time.perf_counter_ns() - started)
    return statistics.median(spent) / 1000


if __name__ == "__main__":
    main()
