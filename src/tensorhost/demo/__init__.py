"""The demo models shipped with tensorhost: where they are, and inputs to try them with.

Data only: the models are trained by ``scripts/train_demo`` in the source tree, and nothing here loads one. Importing
this must stay free of TensorFlow. The package is read from the file system, as a model repository has to be.
"""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import TypedDict, cast

__all__ = ["DemoInput", "Sample", "demo_models_path", "samples"]

DemoInput = str | list[float] | list[list[list[int]]]
"""One row of a model's input: a text, 13 measurements, or an image of 8 rows of 8 pixels of 1 channel in 0..16."""


class Sample(TypedDict):
    """A held-out example.

    ``input`` is one row without the batch dimension, ready for JSON; ``expected`` is its true label, which the shipped
    models also answer.
    """

    input: DemoInput
    expected: str


def demo_models_path() -> Path:
    """The repository root that holds the demo models: ``digits`` (two versions), ``langid`` and ``wine``."""
    return _package() / "models"


def samples() -> dict[str, list[Sample]]:
    """Samples by model name, one of each class as a rule, ordered by class."""
    return cast("dict[str, list[Sample]]", json.loads((_package() / "samples.json").read_text(encoding="utf-8")))


def _package() -> Path:
    return Path(str(files(__name__)))
