"""The LiteRT runtime against a bare interpreter called in a loop: what ``Runtime.run`` adds to a call.

``python -m benchmarks.litert [--save] [--cache FOLDER]``; takes half a minute after the models are made. Each number
of threads has both ways take turns, call by call; medians.
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
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from benchmarks.machine import describe
from benchmarks.models import DEFAULT_CACHE, ensure
from tensorhost.runtimes import LoadOptions, load

RESULT = Path(__file__).parent / "results" / "litert.json"
MODELS = ("tiny", "mlp", "mobilenetv2")
ROWS = (1, 8)
TURNS = {"mobilenetv2": 25}
PACKAGES = ("tensorhost", "ai-edge-litert", "numpy")

_CONVERT = """
import sys
import tensorflow as tf
from pathlib import Path
Path(sys.argv[2]).write_bytes(tf.lite.TFLiteConverter.from_saved_model(sys.argv[1]).convert())
"""


def convert(saved_model: Path, target: Path) -> None:
    """Write ``target`` from a SavedModel, in a process of its own; what is there is kept."""
    if not target.is_file():
        command = [sys.executable, "-c", _CONVERT, str(saved_model), str(target)]
        subprocess.run(command, check=True, capture_output=True)


def bare(file: Path, rows: int, threads: int) -> tuple[Callable[[Any], Any], tuple[int, ...]]:
    """A call of an interpreter that nothing else uses, and the shape of its input."""
    interpreter = Interpreter(model_path=str(file), num_threads=threads)
    given, answer = interpreter.get_input_details()[0], interpreter.get_output_details()[0]["index"]
    shape = (rows, *map(int, given["shape"][1:]))
    interpreter.resize_tensor_input(given["index"], shape)
    interpreter.allocate_tensors()

    def call(tensor: Any) -> Any:
        interpreter.set_tensor(given["index"], tensor)
        interpreter.invoke()
        return interpreter.get_tensor(answer)

    return call, shape


def measure(file: Path, rows: int, threads: int, turns: int) -> dict[str, float]:
    """Median microseconds a call, bare and through the runtime."""
    call, shape = bare(file, rows, threads)
    runtime = load(file, LoadOptions(intra_op_threads=threads))
    name, signature = next(iter(runtime.signatures.items()))
    key = next(iter(signature.inputs))
    tensor = np.random.default_rng(0).random(shape, np.float32)
    ways: dict[str, Callable[[], Any]] = {
        "bare": lambda: call(tensor),
        "runtime": lambda: runtime.run(name, {key: tensor}),
    }
    taken: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(turns):
        for way, run in ways.items():
            started = time.perf_counter()
            run()
            taken[way].append(time.perf_counter() - started)
    runtime.close()
    return {way: round(statistics.median(seconds[1:]) * 1e6, 1) for way, seconds in taken.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--save", action="store_true")
    parser.add_argument("--cache", type=Path, default=DEFAULT_CACHE)
    arguments = parser.parse_args()
    models = ensure(MODELS, arguments.cache / "models")
    results: dict[str, dict[str, dict[str, float]]] = {}
    for name, model in models.items():
        file = arguments.cache / "models" / f"{name}.tflite"
        convert(model.saved_model, file)
        results[name] = {}
        for rows in ROWS:
            for threads in sorted({1, os.cpu_count() or 1}):
                found = measure(file, rows, threads, TURNS.get(name, 1000))
                results[name][f"{rows} rows, {threads} threads"] = found
                print(
                    f"{name:12} {rows} rows, {threads} threads", *(f"{way} {us:>9.1f} us" for way, us in found.items())
                )
    if arguments.save:
        RESULT.write_text(
            json.dumps(describe(PACKAGES) | {"unit": "microseconds", "results": results}, indent=1) + "\n"
        )


if __name__ == "__main__":
    main()
