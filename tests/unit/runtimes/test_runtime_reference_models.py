"""Trained models with answers recorded by the runtime of their own format.

Each lies in a folder of its own under the folder that the environment variable ``REFERENCE_MODELS`` names, beside a
``meta.json`` that names the arrays: ``inputs`` and ``outputs``, each with ``name`` and ``file``. Without the variable
there is nothing to test here.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from tensorhost.core.signatures import DEFAULT_SIGNATURE
from tensorhost.runtimes import load

ROOT = os.environ.get("REFERENCE_MODELS")
FOLDERS = sorted(path.parent for path in Path(ROOT).glob("*/meta.json")) if ROOT else []
TFJS_TOLERANCE = {"rtol": 1e-4, "atol": 2e-4}
TOLERANCE = {"rtol": 1e-5, "atol": 1e-5}


def model_path(folder: Path) -> Path:
    """The version folder of a SavedModel, else the one model file."""
    if (folder / "1").is_dir():
        return folder / "1"
    return next(folder / name for name in ("model.json", "model.h5", "model.tflite") if (folder / name).is_file())


def arrays(folder: Path, entries: list[dict]) -> dict[str, np.ndarray]:
    """The recorded arrays by public name; strings become bytes."""
    found = {}
    for entry in entries:
        array = np.load(folder / entry["file"])
        if array.dtype.kind == "S":
            array = array.astype(object)
        found[entry["name"].removesuffix(":0")] = array
    return found


def renamed(recorded: dict[str, np.ndarray], names: list[str]) -> dict[str, np.ndarray]:
    """``recorded`` under the model's public names, where the record has names of tensors, numbered in their order."""
    if recorded.keys() == set(names):
        return recorded
    return dict(zip(names, (recorded[name] for name in sorted(recorded)), strict=True))


if FOLDERS:  # an empty parametrisation would be reported as a skipped test

    @pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
    def test_a_trained_model_answers_as_recorded(folder, options):
        meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
        runtime = load(model_path(folder), options)
        try:
            name = DEFAULT_SIGNATURE if DEFAULT_SIGNATURE in runtime.signatures else next(iter(runtime.signatures))
            signature = runtime.signatures[name]
            inputs = arrays(folder, meta["inputs"])
            expected = arrays(folder, meta["outputs"])
            answers = runtime.run(name, renamed(inputs, list(signature.inputs)))
            tolerance = TFJS_TOLERANCE if meta["format"].startswith("tfjs") else TOLERANCE
            for output, array in renamed(expected, list(answers)).items():
                if array.dtype == object:
                    assert answers[output].tolist() == array.tolist()
                else:
                    np.testing.assert_allclose(answers[output], array, **tolerance)
        finally:
            runtime.close()
