"""What a served model's clients notice while another model is loaded, warmed up and unloaded over and over.

Run: ``python -m benchmarks.load_interference [--save] [--cache FOLDER] [--rounds N]``. About two minutes. One server
holds an MLP under 8 connections and a ResNet50 that is loaded and unloaded by the control routes; rounds with and
without loading take turns. The ResNet50's own warm-up is kept short (one run per batch size, up to 4 rows), so that a
round holds whole cycles: reading, freezing, warming, unloading, giving memory back.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import httpx

from benchmarks import machine
from benchmarks.contenders import tensorhost
from benchmarks.figures import summarise
from benchmarks.load import Figures, generator_version, run_load
from benchmarks.models import DEFAULT_CACHE, Model, ensure
from benchmarks.servers import RunningServer, run_servers

RESULT = Path(__file__).parent / "results" / "load_interference.json"
SERVED, LOADED = "mlp", "resnet50"
CONNECTIONS = 8
SECONDS = 10
_CONTROL_TIMEOUT_S = 120
_LOADED_TOML = """\
loading = "lazy"
[batching]
max_batch_size = 4
[warmup]
iterations = 1
"""


class LoadCycle:
    """Loads and unloads a model in a thread of its own until told to stop; ``times_s`` are the loads' durations."""

    def __init__(self, server: RunningServer) -> None:
        self.times_s: list[float] = []
        self._base = f"http://127.0.0.1:{server.port}/models/{LOADED}"
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="load cycle")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        with httpx.Client(timeout=_CONTROL_TIMEOUT_S) as client:
            while not self._stopping.is_set():
                started = time.perf_counter()
                client.post(f"{self._base}/load").raise_for_status()
                self.times_s.append(round(time.perf_counter() - started, 3))
                client.post(f"{self._base}/unload").raise_for_status()


def repository(models: dict[str, Model], root: Path) -> Path:
    """A repository of both models; the one that comes and goes is not loaded at the start."""
    for name, model in models.items():
        (root / name).mkdir()
        (root / name / "1").symlink_to(model.saved_model, target_is_directory=True)
    (root / LOADED / "model.toml").write_text(_LOADED_TOML, encoding="utf-8")
    return root


def measure(server: RunningServer, body: Path, rounds: int) -> dict[str, Any]:
    """Rounds without and with loading, taking turns."""

    def run() -> Figures:
        return run_load(server.url, body, CONNECTIONS, SECONDS)

    def run_while_loading() -> Figures:
        with LoadCycle(server) as cycle:
            figures = run()
        load_times_s.extend(cycle.times_s)
        return figures

    load_times_s: list[float] = []
    ways: dict[str, Callable[[], Figures]] = {"quiet": run, "loading": run_while_loading}
    turns: dict[str, list[dict[str, float]]] = {name: [] for name in ways}
    run()
    for _ in range(rounds):
        for name, way in ways.items():
            turns[name].append(turn(server, way))
            print(name, turns[name][-1], flush=True)
    loads = {"count": len(load_times_s), "median_s": statistics.median(load_times_s)}
    return {name: summarise(taken) for name, taken in turns.items()} | {"loads": loads}


def turn(server: RunningServer, way: Callable[[], Figures]) -> dict[str, float]:
    """One round's figures, and who used the processor."""
    before, started = machine.CpuSeconds.now(server.pid), time.perf_counter()
    figures = way()
    busy = machine.CpuSeconds.now(server.pid).cores_since(before, time.perf_counter() - started)
    latencies = {name: getattr(figures, name) for name in ("requests_s", "p50_ms", "p90_ms", "p99_ms", "max_ms")}
    return latencies | busy


def main() -> None:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load_interference")
    parser.add_argument("--save", action="store_true", help=f"write {RESULT.name}")
    parser.add_argument("--cache", type=Path, default=DEFAULT_CACHE, help="where models are kept")
    parser.add_argument("--rounds", type=int, default=5, help="how often each way takes a turn")
    options = parser.parse_args()
    generator = generator_version()
    models = ensure((SERVED, LOADED), options.cache / "models")
    with tempfile.TemporaryDirectory() as scratch:
        root = repository(models, Path(scratch))
        body = Path(scratch) / "body.json"
        with run_servers([tensorhost()], models[SERVED], serve=root) as (server,):
            body.write_bytes(server.body())
            server.resume()
            results = measure(server, body, options.rounds)
    print(results["loads"])
    if options.save:
        how = {"generator": generator, "connections": CONNECTIONS, "seconds": SECONDS, "rounds": options.rounds}
        saved = machine.describe() | {"how": how | {"served": SERVED, "loaded": LOADED}, "results": results}
        RESULT.write_text(json.dumps(saved, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
