"""TensorFlow's knobs, one turned at a time: what each is worth for small and for large models.

Run: ``python -m benchmarks.knobs [--save] [--only MODEL] [--rounds N]``. About six minutes. Every way of calling has a
process of its own, since some knobs are the process's; they take turns, and a ratio is taken inside a round.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from benchmarks import machine
from benchmarks.models import DEFAULT_CACHE, ensure
from tensorhost.runtimes import LoadOptions, load

RESULT = Path(__file__).parent / "results" / "knobs.json"
NAMES = ("tiny", "mlp", "lstm", "transformer", "mobilenetv2")
SIZES = (1, 8, 32)
AS_SERVED = "as served"
WAYS = (AS_SERVED, "not frozen", "default executor", "no grappler", "one thread", "no oneDNN", "XLA")
_TURN_S = 1.0
_TIMEOUT_S = 300


def call_times(way: str, saved_model: Path, rows: np.ndarray[Any, Any]) -> dict[str, float]:
    """Milliseconds of a call by batch size, called in one way; the least of as many calls as fit in a second."""
    from tensorhost.runtimes.tensorflow import frozen_graph, process
    from tensorhost.runtimes.tensorflow import saved_model as loading

    def unoptimised(options: LoadOptions, executor: str, *, frugal: bool = False) -> Any:
        config = session_config(options, executor, frugal=frugal)
        config.graph_options.rewrite_options.disable_meta_optimizer = True
        return config

    session_config = process.session_config
    patches = {
        "not frozen": [mock.patch.object(loading, "MAX_FROZEN_BYTES", -1)],
        "default executor": [mock.patch.object(loading, "SINGLE_THREADED", process.DEFAULT_EXECUTOR)],
        "no grappler": [mock.patch.object(frozen_graph, "session_config", unoptimised)],
    }.get(way, [])
    for patch in patches:
        patch.start()
    options = LoadOptions(intra_op_threads=1 if way == "one thread" else 0, xla=way == "XLA")
    runtime = load(saved_model, options)
    signature = next(iter(runtime.signatures.values()))
    (name,) = signature.inputs
    samples = {size: {name: np.repeat(rows, size, axis=0)} for size in SIZES}
    runtime.tune(signature.name, list(samples.values()))
    return {str(size): _least_ms(runtime, signature.name, sample) for size, sample in samples.items()}


def _least_ms(runtime: Any, signature: str, inputs: Any) -> float:
    best, spent, calls = float("inf"), 0.0, 0
    while spent < _TURN_S or calls < 3:
        before = time.perf_counter()
        runtime.run(signature, inputs)
        took = time.perf_counter() - before
        best, spent, calls = min(best, took), spent + took, calls + 1
    return round(best * 1e3, 4)


def turn(way: str, name: str, cache: Path) -> dict[str, float] | str:
    """One way's turn in a process of its own; why it failed where it did."""
    command = [sys.executable, "-m", "benchmarks.knobs", "--child", way, "--only", name, "--cache", str(cache)]
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    if way == "no oneDNN":
        environment["TF_ENABLE_ONEDNN_OPTS"] = "0"
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        return f"took longer than {_TIMEOUT_S} s"
    if done.returncode:
        return (done.stderr.strip().splitlines() or ["failed"])[-1][:200]
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def measure(name: str, cache: Path, rounds: int) -> dict[str, Any]:
    """Every way on one model: milliseconds as served, and how many times faster or slower each other way is."""
    turns: dict[str, list[dict[str, float] | str]] = {way: [] for way in WAYS}
    for number in range(rounds):
        for way in WAYS if number % 2 == 0 else reversed(WAYS):
            turns[way].append(turn(way, name, cache))
    served = [one for one in turns[AS_SERVED] if isinstance(one, dict)]
    result: dict[str, Any] = {
        "model": name,
        "served_ms": {str(size): statistics.median(one[str(size)] for one in served) for size in SIZES},
        "speed": {},
    }
    for way in WAYS[1:]:
        failed = [one for one in turns[way] if isinstance(one, str)]
        if failed or len(served) < rounds:
            result["speed"][way] = {"failed": failed[0] if failed else "no reference"}
            continue
        pairs = list(zip(served, turns[way], strict=True))
        result["speed"][way] = {
            str(size): round(statistics.median(one[str(size)] / other[str(size)] for one, other in pairs), 2)
            for size in SIZES
        }
    return result


def main() -> None:
    """Measure, print, save; with ``--child`` one way's turn."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.knobs", description=__doc__.splitlines()[0])
    parser.add_argument("--save", action="store_true", help=f"write {RESULT.name}")
    parser.add_argument("--cache", type=Path, default=DEFAULT_CACHE, help="where models are kept")
    parser.add_argument("--only", choices=NAMES, help="one model")
    parser.add_argument("--rounds", type=int, default=2, help="how often every way takes a turn")
    parser.add_argument("--child", choices=WAYS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    names = (options.only,) if options.only else NAMES
    models = ensure(names, options.cache / "models")
    if options.child:
        model = models[options.only]
        rows = np.array(model.rows, model.input_dtype)
        print(json.dumps(call_times(options.child, model.saved_model, rows)))
        return
    results = []
    for name in names:
        results.append(measure(name, options.cache, options.rounds))
        print(json.dumps(results[-1], indent=1), flush=True)
    if options.save:
        RESULT.write_text(json.dumps(machine.describe() | {"results": results}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
