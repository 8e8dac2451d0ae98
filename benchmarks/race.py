"""The race between runtimes on real networks: who wins at which batch size, how far off, what it costs and saves.

Run: ``python -m benchmarks.race [--save] [--only MODEL]``. About six minutes for everything.

Each model is raced as a server races it. Then two servers are started on it, one with TensorFlow, one with the winner,
each twice: the first start tries everything, the second finds it kept. Time to ready and memory are read off each.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx
import psutil

from benchmarks import machine
from benchmarks.models import DEFAULT_CACHE, Model, ensure
from benchmarks.servers import free_port

RESULT = Path(__file__).parent / "results" / "race.json"
NAMES = ("tiny", "mlp", "lstm", "transformer", "mobilenetv2", "resnet50")
_PACKAGES = ("tensorhost", "tensorflow-cpu", "openvino", "ai-edge-litert", "onnxruntime", "tf2onnx", "numpy")
_START_TIMEOUT_S = 600
_WAYS = {"tensorflow": "native", "race": "auto"}


def start(model: Model, runtime: str, folder: Path) -> dict[str, Any]:
    """One start of a server: seconds to ready, its memory once it serves, and what it says of the model."""
    port = free_port()
    program = str(Path(sys.executable).parent / "tensorhost")
    command = [program, "serve", str(model.folder), "--port", str(port), "--log-level", "error", "--runtime", runtime]
    command += ["--grpc-port", "0"]
    environment = os.environ | {"TENSORHOST_CACHE_DIR": str(folder), "TF_CPP_MIN_LOG_LEVEL": "3"}
    started = time.perf_counter()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        ready_s = _wait(process, port, started)
        [described] = httpx.get(f"http://127.0.0.1:{port}/models").json()["models"]
        family = [psutil.Process(process.pid)]
        memory = sum(one.memory_full_info().pss for one in family) / 2**20
    finally:
        process.terminate()
        process.wait(60)
    return {"ready_s": round(ready_s, 2), "memory_mib": round(memory, 1), "described": described}


def _wait(process: subprocess.Popen[bytes], port: int, started: float) -> float:
    while time.perf_counter() - started < _START_TIMEOUT_S and process.poll() is None:
        try:
            if httpx.get(f"http://127.0.0.1:{port}/health/ready", timeout=5).status_code == httpx.codes.OK:
                return time.perf_counter() - started
        except httpx.TransportError:
            pass
        time.sleep(0.02)
    raise TimeoutError("the server did not become ready")


def measure(model: Model) -> dict[str, Any]:
    """Both servers' two starts, and the race."""
    starts: dict[str, Any] = {}
    race: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for way, runtime in _WAYS.items():
            for turn in ("first", "again"):
                found = start(model, runtime, Path(folder) / way)
                described = found.pop("described")
                starts[f"{way}_{turn}"] = found | {"runtime": described["runtime"]}
                if runtime == "auto":
                    race = next(iter(described["signatures"].values()))["race"]
    return {"model": model.name, "race": race, "starts": starts}


def report(result: dict[str, Any]) -> None:
    """What was found, for people."""
    print(f"\n{result['model']}: " + ", ".join(f"{one['runtime']}" for one in result["race"]["served"]), flush=True)
    for candidate in result["race"]["candidates"]:
        print(f"  {candidate['runtime']:<12}{candidate['speedup']} {candidate['reason'] or 'serves'}")
    for name, found in result["starts"].items():
        print(f"  {name:<18}{found['ready_s']:>7.2f} s {found['memory_mib']:>8.1f} MiB  {found['runtime']}", flush=True)


def main() -> None:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.race", description=__doc__.splitlines()[0])
    parser.add_argument("--save", action="store_true", help=f"write {RESULT.name}")
    parser.add_argument("--cache", type=Path, default=DEFAULT_CACHE, help="where models are kept")
    parser.add_argument("--only", choices=NAMES, help="one model")
    options = parser.parse_args()
    names = (options.only,) if options.only else NAMES
    models = ensure(names, options.cache / "models")
    results = []
    for name in names:
        results.append(measure(models[name]))
        report(results[-1])
    if options.save:
        RESULT.write_text(
            json.dumps(machine.describe(_PACKAGES) | {"results": results}, indent=1) + "\n", encoding="utf-8"
        )


if __name__ == "__main__":
    main()
