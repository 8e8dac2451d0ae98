"""What each runtime does with an input by where it lies: on a 64-byte border or not, writable or not.

Run: ``python -m benchmarks.array_placement [--save]``. Takes under a minute. A model that reads three numbers of a
1×224×224×3 float32 input is called by each runtime with that input in several places: what a call takes more than in
the best place is what copying 602,112 bytes takes. ``--save`` writes ``benchmarks/results/array_placement.json``:
microseconds, the least of several rounds, the places taken in turn.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import describe
from tensorhost.runtimes import LoadOptions, ModelFormat, Runtime, load, prepare
from tensorhost.runtimes.base import RuntimeName
from tensorhost.runtimes.engine_files import engine_signature
from tensorhost.runtimes.race.entrants import entrants, open_engine, write_engine

RESULT = Path(__file__).parent / "results" / "array_placement.json"
SHAPE = (1, 224, 224, 3)
PLACES = {
    "64-byte border, writable": (0, True),
    "64-byte border, read-only": (0, False),
    "4 bytes off, writable": (4, True),
    "4 bytes off, read-only": (4, False),
    "1 byte off, writable": (1, True),
    "1 byte off, read-only": (1, False),
}
_OPTIONS = LoadOptions(intra_op_threads=1, inter_op_threads=1)
_ROUNDS = 25
_CALLS = 40


def placed(offset: int, *, writable: bool) -> np.ndarray[Any, Any]:
    """An input that begins ``offset`` bytes behind a 64-byte border."""
    size = int(np.prod(SHAPE)) * 4
    raw = np.zeros(size + 128, np.uint8)
    begin = -raw.ctypes.data % 64 + offset
    array = raw[begin : begin + size].view(np.float32).reshape(SHAPE)
    array.flags.writeable = writable
    return array


def write_model(folder: Path) -> None:
    """A SavedModel that gives the first three numbers of an image, twice as large."""
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec((None, *SHAPE[1:]), tf.float32, name="x")])
    def serve(x: Any) -> dict[str, Any]:
        return {"y": x[:, 0, 0, :] * 2.0}

    tf.saved_model.save(tf.Module(), str(folder), signatures={"serving_default": serve})


def runtimes(folder: Path) -> Iterator[tuple[str, Runtime]]:
    """The model in each runtime that is installed, by its name."""
    write_model(folder / "model")
    native = load(folder / "model", _OPTIONS)
    [signature] = native.signatures
    for name in (RuntimeName.OPENVINO, RuntimeName.LITERT, RuntimeName.ONNXRUNTIME):
        options = LoadOptions(intra_op_threads=1, inter_op_threads=1, runtime=name)
        for entrant in entrants(ModelFormat.SAVED_MODEL, options):
            written = write_engine(entrant, native, folder / "model", signature, folder, options)
            engine = engine_signature(folder, written, native.signatures[signature])
            yield name.value, open_engine(entrant, engine, 0, options)
    yield RuntimeName.TENSORFLOW.value, native


def measure(runtime: Runtime) -> dict[str, float]:
    """Microseconds of a call for each place, the least of several rounds."""
    inputs = {place: {"x": placed(offset, writable=writable)} for place, (offset, writable) in PLACES.items()}
    best = dict.fromkeys(PLACES, float("inf"))
    [signature] = runtime.signatures
    for _ in range(_ROUNDS):
        for place, given in inputs.items():
            started = time.perf_counter()
            for _ in range(_CALLS):
                runtime.run(signature, given)
            best[place] = min(best[place], (time.perf_counter() - started) / _CALLS * 1e6)
    return {place: round(micros, 1) for place, micros in best.items()}


def main() -> None:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.array_placement")
    parser.add_argument("--save", action="store_true", help=f"write {RESULT.name}")
    options = parser.parse_args()
    prepare(_OPTIONS)
    measured = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, runtime in runtimes(Path(folder)):
            measured[name] = measure(runtime)
            print(name, json.dumps(measured[name], indent=1))
    if options.save:
        packages = ("tensorhost", "numpy", "tensorflow-cpu", "openvino", "ai-edge-litert", "onnxruntime")
        saved = {**describe(packages), "rounds": _ROUNDS, "calls": _CALLS, "microseconds": measured}
        RESULT.write_text(json.dumps(saved, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
