"""From the start of the process to ready, serving the demo models, against the least a Python program could take.

Run: ``python -m benchmarks.startup [--save] [--rounds N] [--cache FOLDER]``. About two minutes; the first run makes
an environment with OpenVINO and without TensorFlow. The least is one process that imports TensorFlow, loads each of the
demo's models with TensorFlow's and Keras's own functions, and ends. They take turns with servers: one that tries every
model anew, one that finds kept what that shows, and, on the digits alone, one without TensorFlow.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import httpx

from benchmarks import machine
from benchmarks.models import DEFAULT_CACHE
from benchmarks.servers import free_port
from tensorhost.demo import demo_models_path

RESULT = Path(__file__).parent / "results" / "startup.json"
_ROOT = Path(__file__).resolve().parents[1]
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


def served_version(model: str) -> str:
    """The newest version of a demo model."""
    return max((path.name for path in (demo_models_path() / model).iterdir() if path.name.isdigit()), key=int)


def time_server(python: str, models: Path, **settings: str) -> float:
    """Seconds from the start of ``tensorhost serve`` to its first 200 at ``/health/ready``."""
    port = free_port()
    program = str(Path(python).parent / "tensorhost")
    command = [program, "serve", str(models), "--port", str(port), "--log-level", "error"]
    started = time.perf_counter()
    process = subprocess.Popen(command, env=os.environ | _QUIET | settings, stdout=subprocess.DEVNULL)
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


def without_tensorflow(folder: Path) -> str:
    """The Python of an environment with tensorhost, as it is now, and OpenVINO alone."""
    python = folder / "bin" / "python"
    if not python.is_file():
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    print(f"installing tensorhost[openvino] into {folder}", flush=True)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(python)]
    subprocess.run([*pip, "install", "--quiet", f"{_ROOT}[openvino]"], check=True)
    return str(python)


def installed_mib(python: str) -> int:
    """Size of what is installed in an environment, in MiB."""
    find = "import sysconfig; print(sysconfig.get_path('purelib'))"
    folder = subprocess.run([python, "-c", find], capture_output=True, text=True, check=True).stdout.strip()
    return round(sum(file.stat().st_size for file in Path(folder).rglob("*") if file.is_file()) / 2**20)


def package_mib(name: str) -> int:
    """Size of one installed package of this environment, in MiB."""
    folder = Path(next(iter(importlib.util.find_spec(name).submodule_search_locations)))
    return round(sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 2**20)


def measure(light: str, folder: str, rounds: int) -> list[dict[str, float]]:
    """Seconds of each way, round by round. ``light`` is a Python without TensorFlow, ``folder`` for what is kept."""
    demo, digits = demo_models_path(), demo_models_path() / "digits" / served_version("digits")
    kept = {"TENSORHOST_CACHE_DIR": folder}
    ways: dict[str, Callable[[], float]] = {
        "server_ready_s": lambda: time_server(
            sys.executable, demo, TENSORHOST_RUNTIME="native", TENSORHOST_CACHE_SIZE="0"
        ),
        "kept_ready_s": lambda: time_server(sys.executable, demo, TENSORHOST_RUNTIME="native", **kept),
        "openvino_first_s": lambda: time_server(light, digits, TENSORHOST_CACHE_SIZE="0"),
        "openvino_kept_s": lambda: time_server(light, digits, **kept),
        "bare_loads_s": time_bare_loads,
    }
    for name in ("kept_ready_s", "openvino_kept_s"):
        ways[name]()  # what is to be kept
    taken = []
    for _ in range(rounds):
        taken.append({name: round(way(), 2) for name, way in ways.items()})
        print(taken[-1], flush=True)
    return taken


def main() -> None:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.startup")
    parser.add_argument("--cache", type=Path, default=DEFAULT_CACHE, help="where the environment is kept")
    parser.add_argument("--save", action="store_true", help=f"write {RESULT.name}")
    parser.add_argument("--rounds", type=int, default=5, help="how often each way takes a turn")
    options = parser.parse_args()
    light = without_tensorflow(options.cache / "openvino-only")
    with tempfile.TemporaryDirectory(prefix="tensorhost-startup-") as folder:
        rounds = measure(light, folder, options.rounds)
    medians = {name: round(statistics.median(one[name] for one in rounds), 2) for name in rounds[0]}
    added_s = round(statistics.median(one["server_ready_s"] - one["bare_loads_s"] for one in rounds), 2)
    print(medians, "added", added_s)
    if options.save:
        sizes = {
            "openvino_only_mib": installed_mib(light),
            "openvino_mib": package_mib("openvino"),
            "tensorflow_mib": package_mib("tensorflow"),
        }
        results = medians | {"added_s": added_s, "rounds": rounds, "installed": sizes}
        saved = machine.describe() | {"results": results}
        RESULT.write_text(json.dumps(saved, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
