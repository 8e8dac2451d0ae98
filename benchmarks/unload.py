"""Whether unloading gives memory back: twenty load and unload cycles of ResNet50 in one process.

Run: ``python -m benchmarks.unload [--save] [--cycles N]``. About three minutes. The model has random weights and is
exported by a process of its own, so that nothing of the export is counted. Resident memory is read after each unload;
the first unloaded state, with TensorFlow imported and its caches filled, is what the last one is compared with.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import machine
from tensorhost.models import ModelManager
from tensorhost.settings import Settings
from tensorhost.telemetry import process_memory

RESULT = Path(__file__).parent / "results" / "unload.json"
CYCLES = 20
TARGET_MIB = 60.0
SETTINGS = {"warmup_iterations": 1, "max_batch_size": 4}
_EXPORT = "import sys, keras; keras.applications.ResNet50(weights=None).export(sys.argv[1], verbose=False)"


def rss_mib() -> float:
    """Resident memory of this process."""
    return round(process_memory().rss / 2**20, 1)


async def run_cycles(path: Path, cycles: int) -> list[dict[str, float]]:
    """Memory, in MiB, with the model loaded and after it was unloaded, and the seconds the load took, by cycle."""
    taken = []
    manager = ModelManager(Settings(**SETTINGS))
    for number in range(cycles):
        started = time.perf_counter()
        await manager.load_model("resnet50", path)
        load_s = round(time.perf_counter() - started, 2)
        loaded_mib = rss_mib()
        await manager.unload_model("resnet50")
        taken.append({"loaded_mib": loaded_mib, "unloaded_mib": rss_mib(), "load_s": load_s})
        print(number + 1, taken[-1], flush=True)
    await manager.close()
    return taken


def summarise(taken: list[dict[str, float]]) -> dict[str, Any]:
    """The first and the last unloaded state, what lies between them, and the most that was ever left."""
    unloaded = [cycle["unloaded_mib"] for cycle in taken]
    return {
        "first_unloaded_mib": unloaded[0],
        "last_unloaded_mib": unloaded[-1],
        "growth_mib": round(unloaded[-1] - unloaded[0], 1),
        "most_unloaded_mib": max(unloaded),
        "model_mib": round(taken[0]["loaded_mib"] - unloaded[0], 1),
        "target_growth_mib": TARGET_MIB,
    }


def main() -> None:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.unload")
    parser.add_argument("--save", action="store_true", help=f"write {RESULT.name}")
    parser.add_argument("--cycles", type=int, default=CYCLES, help="how often the model is loaded and unloaded")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "resnet50"
        subprocess.run([sys.executable, "-c", _EXPORT, str(path)], check=True, capture_output=True)
        taken = asyncio.run(run_cycles(path, options.cycles))
    summary = summarise(taken)
    print(summary)
    if options.save:
        how = {"model": "ResNet50, random weights", "cycles": options.cycles} | SETTINGS
        saved = machine.describe() | {"how": how, "results": summary | {"cycles": taken}}
        RESULT.write_text(json.dumps(saved, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
