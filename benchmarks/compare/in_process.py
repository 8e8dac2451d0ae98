"""The ceiling: a model called in a loop by a process that does nothing else, one way of calling it per process.

``python -m benchmarks.compare.in_process WAY MODELS_FOLDER MODEL`` says ``{}`` when the model is loaded and has
answered rightly. Then it reads lines ``ROWS SECONDS`` and answers each with one line of JSON: rows a second, latencies
of the calls, and processor seconds. Waiting for a line costs nothing, so that it can live beside the servers.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.figures import percentile
from benchmarks.models import Model

Array = np.ndarray[Any, Any]
Call = Callable[[Array], Array]
_TUNED_ROWS = (1, 8, 32)


def signature_call(model: Model) -> Call:
    """As TensorFlow's documentation has it, and as every peer here does it."""
    import tensorflow as tf

    loaded = tf.saved_model.load(str(model.saved_model))
    infer = loaded.signatures["serving_default"]
    (output_name,) = infer.structured_outputs

    def call(batch: Array) -> Array:
        array: Array = infer(**{model.input_name: tf.constant(batch)})[output_name].numpy()
        return array

    call.keep = loaded  # type: ignore[attr-defined]  # the signature does not hold its variables
    return call


def frozen_session(model: Model) -> Call:
    """As tensorhost calls TensorFlow, threads tuned as at its warm-up."""
    from tensorhost.runtimes import LoadOptions, load, prepare

    options = LoadOptions()
    prepare(options)
    runtime = load(model.saved_model, options)
    signature = next(iter(runtime.signatures))
    rows = np.array(model.rows, model.input_dtype)
    runtime.tune(signature, [{model.input_name: np.repeat(rows, count, 0)} for count in _TUNED_ROWS])
    (output,) = runtime.signatures[signature].outputs
    return lambda batch: runtime.run(signature, {model.input_name: batch})[output]


def openvino(model: Model) -> Call:
    """OpenVINO in float32, one call at a time, as much of the machine for it as it likes."""
    import openvino as ov

    core = ov.Core()
    hints = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32", "NUM_STREAMS": 1}
    compiled = core.compile_model(core.read_model(model.saved_model), "CPU", hints)
    request = compiled.create_infer_request()

    def call(batch: Array) -> Array:
        array: Array = request.infer([batch], share_inputs=True)[0]
        return array

    return call


WAYS: dict[str, Callable[[Model], Call]] = {
    "signature": signature_call,
    "frozen": frozen_session,
    "openvino": openvino,
}


def turn(call: Call, batch: Array, seconds: float) -> dict[str, float]:
    """Call for ``seconds`` with the same batch."""
    call(batch)
    latencies_s = []
    started, cpu_before_s = time.perf_counter(), time.process_time()
    now = started
    while now - started < seconds:
        call(batch)
        before, now = now, time.perf_counter()
        latencies_s.append(now - before)
    rows = len(latencies_s) * len(batch)
    latencies_s.sort()
    return {
        "requests_s": round(rows / (now - started), 1),
        "p50_ms": round(percentile(latencies_s, 50) * 1e3, 3),
        "p99_ms": round(percentile(latencies_s, 99) * 1e3, 3),
        "cpu_us_per_request": round((time.process_time() - cpu_before_s) / rows * 1e6, 1),
        "batch_rows": len(batch),
    }


def main() -> None:
    way, root, name = sys.argv[1:]
    model = Model.read(name, Path(root))
    call = WAYS[way](model)
    rows = np.array(model.rows, model.input_dtype)
    if not np.allclose(call(rows), model.expected, 1e-3, 1e-5):
        sys.exit(f"{way} answers {name} wrongly")
    print("{}", flush=True)
    for line in sys.stdin:
        count, seconds = line.split()
        print(json.dumps(turn(call, np.repeat(rows, int(count), 0), float(seconds))), flush=True)


if __name__ == "__main__":
    main()
