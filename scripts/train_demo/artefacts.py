"""Where the demo models go and how a trained function becomes a SavedModel.

Each trainer returns a ``Trained``: what was measured and a few samples. Only ``__main__`` writes the two JSON files.
Exported models are plain ``tf.Module``s with one signature: no optimiser, no Keras metadata, nothing that runs on load.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

DEMO = Path(__file__).resolve().parents[2] / "src" / "tensorhost" / "demo"
MODELS = DEMO / "models"


@dataclass(frozen=True)
class Sample:
    """One held-out example as a client would send it, and its true label."""

    input: Any
    expected: str


@dataclass(frozen=True)
class Trained:
    """What a trainer leaves behind: figures by ``model/version`` and samples of the model."""

    measured: Mapping[str, Mapping[str, float | int]]
    samples: Sequence[Sample]


class Stopwatch:
    """Seconds spent inside ``timing()``."""

    seconds = 0.0

    @contextmanager
    def timing(self) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds += time.perf_counter() - start


def make_reproducible(seed: int) -> None:
    """Seed Python, NumPy and TensorFlow, and let TensorFlow choose deterministic kernels."""
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()


def save_signature(module: tf.Module, call: Any, target: Path) -> None:
    """Write ``module`` as a SavedModel whose only signature is ``call``, a ``tf.function`` with an input signature."""
    shutil.rmtree(target, ignore_errors=True)
    tf.saved_model.save(module, str(target), signatures={"serving_default": call.get_concrete_function()})
    (target / "assets").rmdir()


def total_bytes(folder: Path) -> int:
    """Bytes of every file below ``folder``."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def parameter_count(variables: Sequence[Any]) -> int:
    """Numbers held by ``variables``."""
    return int(sum(np.prod(variable.shape) for variable in variables))


def first_right_per_class(
    labels: Sequence[str], inputs: Sequence[Any], right: Sequence[bool], keep: Callable[[Any], bool] = lambda _: True
) -> list[Sample]:
    """The first held-out example of every class that was answered rightly: they demonstrate, they do not measure."""
    chosen: dict[str, Sample] = {}
    for label, value, is_right in zip(labels, inputs, right, strict=True):
        if is_right and label not in chosen and keep(value):
            chosen[label] = Sample(value, label)
    return [chosen[label] for label in sorted(chosen)]
