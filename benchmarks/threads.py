"""One thread inside operations against one per core, by model and rows: what ``Runtime.tune`` decides on.

``python -m benchmarks.threads [--save]``; takes half a minute. The two take turns, call by call; medians.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import describe
from benchmarks.models import DEFAULT_CACHE, ensure
from tensorhost.core.tensors import aligned_empty
from tensorhost.demo import demo_models_path
from tensorhost.runtimes import LoadOptions, Runtime, load

RESULT = Path(__file__).parent / "results" / "threads.json"
ROWS = (1, 8, 32)
TURNS = {"mobilenetv2": 7}


def _call_s(runtime: Runtime, name: str, tensor: Any) -> float:
    signature = next(iter(runtime.signatures))
    started = time.perf_counter()
    runtime.run(signature, {name: tensor})
    return time.perf_counter() - started


def measure(folder: Path, turns: int) -> dict[str, dict[str, float]]:
    """Median microseconds a call, by rows, for each number of threads."""
    runtimes = {"one thread": load(folder, LoadOptions(1, 1)), "one per core": load(folder, LoadOptions())}
    spec = next(iter(next(iter(runtimes["one thread"].signatures.values())).inputs.values()))
    found: dict[str, dict[str, float]] = {way: {} for way in runtimes}
    for rows in ROWS:
        tensor = aligned_empty((rows, *(size or 1 for size in (spec.shape or ())[1:])), np.dtype(np.float32))
        tensor[...] = np.random.default_rng(0).random(tensor.shape)
        taken: dict[str, list[float]] = {way: [] for way in runtimes}
        for _ in range(turns):
            for way, runtime in runtimes.items():
                taken[way].append(_call_s(runtime, spec.name, tensor))
        for way, seconds in taken.items():
            found[way][str(rows)] = round(statistics.median(seconds[1:]) * 1e6, 1)
    for runtime in runtimes.values():
        runtime.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--save", action="store_true")
    parser.add_argument("--cache", type=Path, default=DEFAULT_CACHE)
    arguments = parser.parse_args()
    models = ensure(("tiny", "mlp", "mobilenetv2"), arguments.cache / "models")
    folders = {name: model.saved_model for name, model in models.items()} | {
        "digits": demo_models_path() / "digits" / "2"
    }
    results = {name: measure(folder, TURNS.get(name, 400)) for name, folder in folders.items()}
    for name, ways in results.items():
        for way, by_rows in ways.items():
            print(f"{name:12} {way:13}", *(f"{by_rows[str(rows)]:>10.1f} us" for rows in ROWS))
    if arguments.save:
        RESULT.write_text(json.dumps(describe() | {"unit": "microseconds", "results": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
