"""From the start of the process to ready, serving the demo models, against the least a Python program could take.

Run: ``python -m benchmarks.startup [--save] [--rounds N]``. About a minute. The least is one process that imports
TensorFlow, loads each of the demo's models with TensorFlow's and Keras's own functions, and ends; the two take turns.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx

from benchmarks import machine
from benchmarks.servers import free_port
from tensorhost.demo import demo_models_path

RESULT = Path(__file__).parent / "results" / "startup.json"
_START_TIMEOUT_S = 120
_QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3"}
_BARE_LOADS = """
import sys
from pathlib import Path
import tensorflow as tf
for path in map(Path, sys.argv[1:]):
    tf.keras.models.load_model(path) if path.suffix == ".keras" else tf.saved_model.load(str(path))
"""


def served_models(repository: Path) -> list[str]:
    """The newest version of every demo model: what a server loads at its start."""
    found = []
    for model in sorted(path for path in repository.iterdir() if path.is_dir()):
        newest = max((path for path in model.iterdir() if path.name.isdigit()), key=lambda path: int(path.name))
        found.append(str(next(newest.glob("*.keras"), newest)))
    return found


def time_server() -> float:
    """Seconds from the start of ``tensorhost serve`` to its first 200 at ``/health/ready``."""
    port = free_port()
    program = str(Path(sys.executable).parent / "tensorhost")
    command = [program, "serve", str(demo_models_path()), "--port", str(port), "--log-level", "error"]
    started = time.perf_counter()
    process = subprocess.Popen(command, env=os.environ | _QUIET, stdout=subprocess.DEVNULL)
    try:
        while time.perf_counter() - started < _START_TIMEOUT_S and process.poll() is None:
            if _is_ready(port):
                return time.perf_counter() - started
            time.sleep(0.02)
        raise TimeoutError("the server did not become ready")
    finally:
        process.terminate()
        process.wait(30)


def _is_ready(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/health/ready", timeout=5).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


def time_bare_loads() -> float:
    """Seconds of a process that imports TensorFlow and loads the same models."""
    command = [sys.executable, "-c", _BARE_LOADS, *served_models(demo_models_path())]
    started = time.perf_counter()
    subprocess.run(command, env=os.environ | _QUIET, check=True, stderr=subprocess.DEVNULL)
    return time.perf_counter() - started


def main() -> None:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.startup")
    parser.add_argument("--save", action="store_true", help=f"write {RESULT.name}")
    parser.add_argument("--rounds", type=int, default=5, help="how often each way takes a turn")
    options = parser.parse_args()
    ways: dict[str, Callable[[], float]] = {"server_ready_s": time_server, "bare_loads_s": time_bare_loads}
    rounds = []
    for _ in range(options.rounds):
        rounds.append({name: round(way(), 2) for name, way in ways.items()})
        print(rounds[-1], flush=True)
    medians = {name: round(statistics.median(one[name] for one in rounds), 2) for name in ways}
    added_s = round(statistics.median(one["server_ready_s"] - one["bare_loads_s"] for one in rounds), 2)
    print(medians, "added", added_s)
    if options.save:
        results = medians | {"added_s": added_s, "rounds": rounds}
        saved = machine.describe() | {"results": results}
        RESULT.write_text(json.dumps(saved, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
