"""How long JSON bodies take to become float32 arrays, and arrays to become JSON, against json and orjson.

Run: ``python benchmarks/codecs.py [--save]``. Takes well under a minute. ``--save`` writes
``benchmarks/results/codecs.json``: machine, versions, microseconds and ratios. Every figure is the best of several
rounds, the ways taken in turn, so that a busy machine disturbs all of them alike.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import simdjson

from tensorhost.codecs import JsonObject, decode_inputs, dumps, encode_outputs
from tensorhost.core.dtypes import DType
from tensorhost.core.tensors import TensorSpec

SHAPES = [(1, 3), (1, 784), (32, 784), (1, 224, 224, 3)]
ROUNDS = 7
ROUND_S = 0.06
RESULT = Path(__file__).parent / "results" / "codecs.json"


def time_ways(ways: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Microseconds per call of each way: the best of ``ROUNDS`` rounds."""
    calls: dict[str, int] = {}
    best = dict.fromkeys(ways, float("inf"))
    for name, way in ways.items():
        start = time.perf_counter()
        way()
        calls[name] = max(1, int(ROUND_S / max(time.perf_counter() - start, 1e-7)))
    for _ in range(ROUNDS):
        for name, way in ways.items():
            start = time.perf_counter()
            for _ in range(calls[name]):
                way()
            best[name] = min(best[name], (time.perf_counter() - start) / calls[name] * 1e6)
    return best


def decode_ways(array: np.ndarray[Any, Any]) -> dict[str, Callable[[], object]]:
    """The ways from a request body to a float32 array, each checked to give the same."""
    body = json.dumps({"modelName": "m", "inputs": array.tolist()}).encode()
    specs = {"x": TensorSpec("x", DType.FLOAT32, (None, *array.shape[1:]))}

    def tensorhost() -> np.ndarray[Any, Any]:
        request = JsonObject.parse(body)
        request.fields(("modelName",))
        return decode_inputs(request, specs, max_elements=2**27)["x"]

    def flat_buffer() -> np.ndarray[Any, Any]:
        buffer = simdjson.Parser().parse(body)["inputs"].as_buffer(of_type="d")
        return np.frombuffer(buffer).astype(np.float32).reshape(array.shape)

    ways: dict[str, Callable[[], Any]] = {
        "tensorhost": tensorhost,
        "as_buffer, unchecked": flat_buffer,
        "orjson": lambda: np.array(orjson.loads(body)["inputs"], np.float32),
        "json": lambda: np.array(json.loads(body)["inputs"], np.float32),
    }
    for way in ways.values():
        np.testing.assert_array_equal(way(), array)
    return ways


def encode_ways(array: np.ndarray[Any, Any]) -> dict[str, Callable[[], object]]:
    """The ways from a float32 array to JSON."""
    return {
        "tensorhost": lambda: dumps({"predictions": encode_outputs({"y": array})}),
        "orjson, tolist": lambda: orjson.dumps({"predictions": array.tolist()}),
        "json": lambda: json.dumps({"predictions": array.tolist()}).encode(),
    }


def main() -> None:
    generator = np.random.default_rng(0)
    results: list[dict[str, Any]] = []
    for direction, make_ways in (("decode", decode_ways), ("encode", encode_ways)):
        for shape in SHAPES:
            array = generator.random(shape, np.float32)
            micros = time_ways(make_ways(array))
            ratios = {name: round(taken / micros["tensorhost"], 2) for name, taken in micros.items()}
            micros = {name: round(taken, 2) for name, taken in micros.items()}
            results.append({"direction": direction, "shape": list(shape), "microseconds": micros, "ratios": ratios})
            columns = "  ".join(f"{name} {micros[name]:>10.1f} us ({ratios[name]:.2f}x)" for name in micros)
            print(f"{direction} {'x'.join(map(str, shape)):<12} {columns}")
    if "--save" in sys.argv[1:]:
        machine = {"cpu": cpu_name(), "cores": os.cpu_count(), "system": platform.system()}
        packages = {name: version(name) for name in ("numpy", "orjson", "pysimdjson", "ml-dtypes")}
        versions = {"python": platform.python_version(), **packages}
        saved = {"machine": machine, "versions": versions, "ratio": "time over tensorhost's time", "results": results}
        RESULT.parent.mkdir(exist_ok=True)
        RESULT.write_text(json.dumps(saved, indent=2) + "\n", encoding="utf-8")


def cpu_name() -> str:
    """The processor's name as Linux tells it, or the architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


if __name__ == "__main__":
    main()
