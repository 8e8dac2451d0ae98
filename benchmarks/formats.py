"""TensorFlow Lite and TensorFlow.js models behind the server, against their own runtimes called in a loop.

Run: ``python -m benchmarks.formats [--save] [--cache FOLDER] [--rounds N]``; about three minutes. Needs wrk, and for
TensorFlow.js Node with ``@tensorflow/tfjs`` and ``@tensorflow/tfjs-backend-wasm`` where NODE_PATH says.

The loop does nothing but call the runtime, in a process of its own, on the same eight rows again and again; for LiteRT
with one thread and with one per core, of which the faster counts. The server is asked over HTTP, with JSON, eight rows
a request. The large network is bound by its computation; for the small one, the half megabyte of JSON that a request
brings weighs, too. They take turns, and a ratio is taken between neighbours in time.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import machine
from benchmarks.contenders import tensorhost
from benchmarks.figures import spread
from benchmarks.load import generator_version, run_load
from benchmarks.models import DEFAULT_CACHE, Model
from benchmarks.servers import SETTLE_S, run_servers
from tensorhost.runtimes import LoadOptions, load, prepare

RESULT = Path(__file__).parent / "results" / "formats.json"
PEERS = Path(__file__).parent / "peers"
TFJS_SCRIPT = PEERS / "tfjs_loop.mjs"
PACKAGES = ("tensorhost", "tensorflow-cpu", "keras", "ai-edge-litert", "numpy")
ROWS = 8
CONNECTIONS = (1, 4)
SECONDS = 6
SMALL, LARGE = "1", "2.5"
"""How many times the layers are as wide as at first: 1.1 and 7.2 million parameters."""

TARGET = 0.9
_CONVERT = """
import sys, keras, tensorflow as tf
layers = keras.layers
model = keras.Sequential([keras.Input((32, 32, 3))])
for index, width in enumerate((64, 64, 128, 128, 256, 256)):
    model.add(layers.Conv2D(round(width * float(sys.argv[2])), 3, padding="same", activation="relu"))
    if index % 2:
        model.add(layers.MaxPooling2D())
model.add(layers.GlobalAveragePooling2D())
model.add(layers.Dense(10))
open(sys.argv[1], "wb").write(tf.lite.TFLiteConverter.from_keras_model(model).convert())
"""

Loop = Callable[[], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Case:
    """One format: the model, and the ways of looping over its own runtime, by name."""

    title: str
    model: Model
    loops: dict[str, Loop]


def tflite_case(width: str, root: Path, rows: list[Any], rows_file: Path) -> Case:
    """The convolution network as TensorFlow Lite."""
    path = root / f"conv_tflite_{width}.tflite"
    if not path.is_file():
        subprocess.run([sys.executable, "-c", _CONVERT, str(path), width], check=True, capture_output=True)
    script = str(PEERS / "litert_loop.py")

    def loop(threads: int) -> Loop:
        return lambda: _run([sys.executable, script, str(path), str(rows_file), str(SECONDS), str(threads)])

    loops = {f"LiteRT, {threads} thread{'s' * (threads > 1)}": loop(threads) for threads in {1, os.cpu_count() or 1}}
    expected = np.array(next(iter(loops.values()))()["answers"], np.float32)
    return Case(f"TensorFlow Lite, {_title(width)}", Model(path.stem, path, rows, expected), loops)


def tfjs_case(width: str, root: Path, rows: list[Any], rows_file: Path) -> Case:
    """The same network as TensorFlow.js, made by TensorFlow.js."""
    folder = _built(root / f"conv_tfjs_{width}", width)

    def loop() -> dict[str, Any]:
        return _run(["node", str(TFJS_SCRIPT), "loop", str(folder), str(rows_file), str(SECONDS)])

    expected = np.array(loop()["answers"], np.float32)
    loops = {"TensorFlow.js, WebAssembly in Node": loop}
    return Case(f"TensorFlow.js, {_title(width)}", Model(folder.name, folder, rows, expected), loops)


def _title(width: str) -> str:
    return "small network" if width == SMALL else "large network"


def _built(folder: Path, width: str) -> Path:
    if not (folder / "model.json").is_file():
        subprocess.run(["node", str(TFJS_SCRIPT), "build", str(folder), width], check=True, capture_output=True)
    return folder


def _run(command: list[str]) -> dict[str, Any]:
    finished = subprocess.run(command, check=True, capture_output=True, text=True)
    counted: dict[str, Any] = json.loads(finished.stdout.splitlines()[-1])
    return counted


def measure(case: Case, rounds: int) -> dict[str, Any]:
    """Rows a second of every loop and of the server, and the server's over the best loop's, round by round."""
    taken: dict[str, list[float]] = {}
    ratios: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as scratch, run_servers([tensorhost()], case.model) as (server,):
        body = Path(scratch) / "body.json"
        body_bytes = body.write_bytes(server.body())
        for _ in range(rounds):
            best = 0.0
            for name, loop in case.loops.items():
                taken.setdefault(name, []).append(loop()["rows_s"])
                best = max(best, taken[name][-1])
            server.resume()
            for connections in CONNECTIONS:
                server.settle(SETTLE_S)
                name = f"tensorhost, {connections} connection{'s' * (connections > 1)}"
                taken.setdefault(name, []).append(run_load(server.url, body, connections, SECONDS).requests_s * ROWS)
                ratios.setdefault(name, []).append(taken[name][-1] / best)
            server.pause()
    return {
        "title": case.title,
        "body_bytes": body_bytes,
        "rows_s": {name: spread(values) for name, values in taken.items()},
        "ratios": {name: spread(values) for name, values in ratios.items()},
    }


def load_time(root: Path) -> dict[str, float]:
    """Size of a TensorFlow.js model of some 10 MB and the seconds it takes to load, TensorFlow being there already."""
    folder = _built(root / "conv_tfjs_large", "1.5")
    options = LoadOptions()
    prepare(options)
    taken = []
    for _ in range(5):
        started = time.perf_counter()
        load(folder, options).close()
        taken.append(time.perf_counter() - started)
    size_mb = sum(file.stat().st_size for file in folder.iterdir()) / 1e6
    return {"size_mb": round(size_mb, 1), "first_s": round(taken[0], 2), "median_s": round(statistics.median(taken), 2)}


def main() -> None:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.formats", description=__doc__.splitlines()[0])
    parser.add_argument("--save", action="store_true", help=f"write {RESULT.name}")
    parser.add_argument("--cache", type=Path, default=DEFAULT_CACHE, help="where models are kept")
    parser.add_argument("--rounds", type=int, default=3, help="how often everybody takes a turn")
    arguments = parser.parse_args()
    generator = generator_version()
    root = arguments.cache / "formats"
    root.mkdir(parents=True, exist_ok=True)
    rows = np.random.default_rng(0).random((ROWS, 32, 32, 3), np.float32).round(4).tolist()
    rows_file = root / "rows.json"
    rows_file.write_text(json.dumps(rows), encoding="utf-8")
    cases = []
    for make, width in ((tflite_case, LARGE), (tfjs_case, LARGE), (tflite_case, SMALL)):
        cases.append(measure(make(width, root, rows, rows_file), arguments.rounds))
        print(json.dumps(cases[-1], indent=1), flush=True)
    loading = load_time(root)
    print(loading)
    if arguments.save:
        how = {"generator": generator, "rounds": arguments.rounds, "rows": ROWS, "seconds": SECONDS, "target": TARGET}
        saved = machine.describe(PACKAGES) | {"how": how, "cases": cases, "loading": loading}
        RESULT.write_text(json.dumps(saved, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
