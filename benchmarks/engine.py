"""How many requests a second the engine carries with a model that does nothing: admission, batch queue and back.

Run: ``python benchmarks/engine.py [--save]``. Takes about 15 seconds. One process pinned to one core, uvloop, no
HTTP; callers wait for their answer and ask again, each with one row of four float32. ``--save`` writes
``benchmarks/results/engine.json``: machine, versions, requests per second of the clock and of processor time (they
differ when something else runs on the core), and the mean size of a batch.
"""

from __future__ import annotations

import asyncio
import json
import os
import platform
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import uvloop

from tensorhost.batching import QueueOptions
from tensorhost.core.dtypes import DType
from tensorhost.core.ids import ModelId
from tensorhost.core.signatures import Signature
from tensorhost.core.tensors import Array, Tensors, TensorSpec
from tensorhost.inference import InferenceEngine
from tensorhost.models.config import ModelConfig
from tensorhost.models.loading import LoadedVersion
from tensorhost.models.manager import ModelManager
from tensorhost.models.records import ModelRecord, VersionRecord
from tensorhost.models.repository import VersionOnDisk
from tensorhost.models.servable import Servable
from tensorhost.models.states import VersionState
from tensorhost.pipelines import (
    PostprocessingOptions,
    PostprocessingPipeline,
    PreprocessingOptions,
    PreprocessingPipeline,
)
from tensorhost.runtimes import ModelFormat

CALLERS = (1, 32, 128, 512)
DURATION_S = 3.0
MAX_BATCH_ROWS = 32
RESULT = Path(__file__).parent / "results" / "engine.json"
SIGNATURE = Signature(
    "serving_default",
    {"x": TensorSpec("x", DType.FLOAT32, (None, 4))},
    {"y": TensorSpec("y", DType.FLOAT32, (None, 4))},
)


class NullRuntime:
    """A model that returns a copy of its input."""

    name = "null"
    weights_bytes = 0

    def __init__(self) -> None:
        self.signatures = {SIGNATURE.name: SIGNATURE}
        self.refused_signatures: dict[str, str] = {}

    def call_path(self, _signature: str) -> str:
        return "copy"

    def run(self, _signature: str, inputs: Tensors) -> dict[str, Array]:
        return {"y": inputs["x"].copy()}

    def close(self) -> None:
        pass


def make_engine(runtime: Any = None, *, timeout_s: float = 0.0, tracing: bool = False) -> InferenceEngine:
    """An engine over a real manager that holds ``runtime``, or the null model, as if loaded and found fast."""
    runtime = runtime or NullRuntime()
    signature = next(iter(runtime.signatures.values()))
    manager = ModelManager()
    manager.settings = manager.settings.model_copy(update={"request_timeout_s": timeout_s, "tracing": tracing})
    loaded = LoadedVersion(
        runtime,
        ModelConfig(),
        {},
        {signature.name: PreprocessingPipeline(PreprocessingOptions(), signature)},
        {signature.name: PostprocessingPipeline(PostprocessingOptions(), signature)},
        load_s=0.0,
        warmup_s=0.0,
        memory_bytes=0,
    )
    options = QueueOptions(
        batched=True,
        max_batch_rows=MAX_BATCH_ROWS,
        batch_timeout_s=0.0,
        max_queue_rows=4096,
        inline_rows=MAX_BATCH_ROWS,
    )
    model_id = ModelId("null", "1")
    metrics = manager.metrics.version(*model_id)
    servable = Servable(model_id, loaded, metrics, {signature.name: options}, traced=tracing)
    folder = Path("null")
    record = VersionRecord(model_id, VersionOnDisk("1", folder, ModelFormat.SAVED_MODEL, 0, 0.0))
    record.state, record.servable = VersionState.AVAILABLE, servable
    model = manager._catalog.models["null"] = ModelRecord("null", folder, versions={"1": record})
    manager._catalog.refresh(model)
    return InferenceEngine(manager)


async def measure(callers: int, duration_s: float, *, timeout_s: float = 0.0) -> dict[str, Any]:
    """Requests per second with so many callers, after a tenth of the time to warm up."""
    engine = make_engine(timeout_s=timeout_s)
    row = np.ones((1, 4), np.float32)
    running = True

    async def call() -> None:
        while running:
            with await engine.admit("null", None, engine.deadline(None)) as admission:
                prepared = engine.prepare(admission)
                await engine.run(admission, prepared, {"x": row})

    tasks = [asyncio.create_task(call()) for _ in range(callers)]
    await asyncio.sleep(duration_s / 10)
    metrics = engine.metrics.version("null", "1")
    requests, batches = metrics.requests, metrics.batch_rows.count
    started, cpu_started = time.perf_counter(), time.process_time()
    await asyncio.sleep(duration_s)
    requests, batches = metrics.requests - requests, metrics.batch_rows.count - batches
    seconds, cpu_s = time.perf_counter() - started, time.process_time() - cpu_started
    running = False
    await asyncio.gather(*tasks)
    return {
        "callers": callers,
        "deadline": timeout_s > 0,
        "requests_per_s": round(requests / seconds),
        "requests_per_cpu_s": round(requests / cpu_s),
        "mean_batch_rows": round(requests / batches, 1),
    }


def main() -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    results = []
    for callers, timeout_s in [*((callers, 0.0) for callers in CALLERS), (128, 10.0)]:
        result = uvloop.run(measure(callers, DURATION_S, timeout_s=timeout_s))
        results.append(result)
        with_deadline = ", each with a deadline" if result["deadline"] else ""
        print(
            f"{callers:>4} callers{with_deadline}: {result['requests_per_s']:>7} requests/s, "
            f"{result['requests_per_cpu_s']:>7} per second of processor time, "
            f"{result['mean_batch_rows']} rows a batch"
        )
    if "--save" in sys.argv[1:]:
        machine = {"cpu": cpu_name(), "cores_used": 1, "system": platform.system()}
        versions = {"python": platform.python_version(), **{name: version(name) for name in ("numpy", "uvloop")}}
        saved = {
            "machine": machine,
            "versions": versions,
            "duration_s": DURATION_S,
            "max_batch_rows": MAX_BATCH_ROWS,
            "results": results,
        }
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
