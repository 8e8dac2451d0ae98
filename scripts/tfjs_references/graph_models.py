"""Writes the graph models of the references to tests/data/tfjs/graph, one folder each.

    python graph_models.py && node graph_answers.mjs ../../tests/data/tfjs/graph/*

Needs TensorFlow 2.21. A model is rewritten in full, so the answers have to be made anew after it.
"""

from __future__ import annotations

import json
import shutil
import sys
import zlib
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "tests/data/tfjs/graph"
sys.path.insert(0, str(ROOT / "tests/unit/runtimes"))

import graph_cases_control  # noqa: E402
import graph_cases_fused  # noqa: E402
import graph_cases_operations  # noqa: E402
import graph_cases_weights  # noqa: E402
from graph_tracing import reference  # noqa: E402

MODULES = (graph_cases_fused, graph_cases_operations, graph_cases_control, graph_cases_weights)
CASES = {name: (module, case) for module in MODULES for name, case in module.CASES.items()}
SHARD_BYTES = {"weights": 50}  # through the middle of some


def main() -> None:
    for name in sys.argv[1:] or CASES:
        module, case = CASES[name]
        module.RANDOM = np.random.default_rng(zlib.crc32(name.encode()))  # the same whichever cases are made
        model, inputs = case()
        shutil.rmtree(FOLDER / name, ignore_errors=True)
        model.write(FOLDER / name, SHARD_BYTES.get(name, 4 * 2**20))
        (FOLDER / name / "reference.json").write_text(json.dumps(reference(model, inputs), separators=(",", ":")))


if __name__ == "__main__":
    main()
