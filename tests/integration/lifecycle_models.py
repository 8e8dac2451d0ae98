"""Real models, tiny: ``y = x + constant``, so that an answer tells which version gave it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np


def write_saved_model(tf, folder: Path, constant: float, *, steps: int = 0) -> None:
    """A SavedModel that adds ``constant``; ``steps`` matrix products make each call slow."""
    module = tf.Module()
    module.constant = tf.Variable(constant)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
    def add(x):
        if not steps:
            return {"y": x + module.constant}
        start = tf.fill([192, 192], tf.reduce_sum(x) * 0.0)
        product = tf.while_loop(lambda i, _: i < steps, lambda i, m: (i + 1, tf.matmul(m, m)), (0, start))[1]
        return {"y": x + module.constant + product[0, 0]}

    tf.saved_model.save(module, str(folder), signatures={"serving_default": add})


def write_keras(keras, file: Path, constant: float) -> None:
    """A ``.keras`` file that adds ``constant`` to its single feature."""
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.set_weights([np.array([[1.0]]), np.array([constant])])
    model.save(file)


def place(source: Path, target: Path) -> None:
    """Put a copy in place at once, as a careful upload does: under a hidden name first, then renamed."""
    hidden = target.parent / f".{target.name}.new"
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, hidden)
    else:
        shutil.copyfile(source, hidden)
    if target.is_dir():
        target.rename(target.parent / f".{target.name}.{os.urandom(4).hex()}")
    hidden.replace(target)
