"""Processes that try what a test process should not: begun with the first test, read when they are done."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from contract_case import DATA

from tensorhost.demo import demo_models_path

HERE = Path(__file__).parent
FLIPS, SOME = 60, 10
LONGEST_S = 280
GROUPS = (("tfjs layers", "keras"), ("saved_model", "graph_def", "tfjs"), ("keras_h5",), ("tflite",))
"""Kinds of models that one process meets: importing a framework takes as long as many attacks."""

Done = subprocess.CompletedProcess[str]


def begin(pool: ThreadPoolExecutor, graphs: Path, keras: Path, tflite: Path, folder: Path) -> dict[str, Future[Done]]:
    """Start the attacks on a model of each kind, of the same bytes in every run, and ``memory``.

    Args:
        pool: where the processes are waited for.
        graphs, keras, tflite: folders with ``linear.pb``, ``dense.h5`` and ``centred.tflite``.
        folder: for what the processes write.
    """
    models = {
        "saved_model": demo_models_path() / "digits" / "1",
        "keras": demo_models_path() / "wine" / "1" / "model.keras",
        "tfjs": DATA / "tfjs" / "graph" / "fused_in_functions" / "model.json",
        "tfjs layers": DATA / "tfjs" / "layers" / "dense_sequential" / "model.json",
    }
    for kind, file in (
        ("graph_def", graphs / "linear.pb"),
        ("keras_h5", keras / "dense.h5"),
        ("tflite", tflite / "centred.tflite"),
    ):
        (folder / kind).mkdir()
        models[kind] = Path(shutil.copy(file, folder / kind))
    begun: dict[str, Future[Done]] = {}
    for group in GROUPS:
        scratch = folder / f"scratch of {group[0]}"
        pairs = [str(part) for kind in group for part in (kind, models[kind])]
        running = pool.submit(_run, "contract_victim.py", scratch, str(FLIPS), str(SOME), "0", *pairs)
        begun |= dict.fromkeys(group, running)
    return begun | {"memory": pool.submit(_run, "contract_memory.py", folder / "memory")}


def _run(script: str, scratch: Path, *arguments: str) -> Done:
    scratch.mkdir()
    places = os.pathsep.join([str(HERE), str(HERE.parent)])
    return subprocess.run(
        [sys.executable, str(HERE / script), str(scratch), *arguments],
        env=os.environ | {"PYTHONPATH": places, "TMPDIR": str(scratch), "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        timeout=LONGEST_S,
        check=False,
    )


def json_lines(text: str) -> list[dict[str, Any]]:
    """The lines that are JSON objects: runtimes print lines of their own."""
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]
