"""Three cultivars of wine from thirteen measurements: a small Keras network that normalises its own inputs."""

from __future__ import annotations

import keras
import numpy as np
from numpy.typing import NDArray
from scripts.train_demo.artefacts import (
    MODELS,
    Stopwatch,
    Trained,
    first_right_per_class,
    make_reproducible,
    parameter_count,
    total_bytes,
)
from sklearn.datasets import load_wine
from sklearn.model_selection import train_test_split

SEED = 20
HELD_OUT = 45
EPOCHS = 60
Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


def split() -> tuple[Floats, Ints, Floats, Ints]:
    """Training measurements [n,13] and classes [n], then the same for the held-out rows."""
    data = load_wine()
    train_x, test_x, train_y, test_y = train_test_split(
        data.data.astype(np.float32), data.target, test_size=HELD_OUT, stratify=data.target, random_state=SEED
    )
    return train_x, train_y, test_x, test_y


def build(features: Floats) -> keras.Model:
    """Untrained network; mean and variance of ``features`` [n,13] are stored inside."""
    normalization = keras.layers.Normalization(name="normalization")
    normalization.adapt(features)
    inputs = keras.Input((13,), dtype="float32", name="features")
    hidden = keras.layers.Dense(32, activation="relu", name="hidden")(normalization(inputs))
    hidden = keras.layers.Dropout(0.5, name="dropout")(hidden)
    outputs = keras.layers.Dense(3, activation="softmax", name="probabilities")(hidden)
    return keras.Model({"features": inputs}, {"probabilities": outputs}, name="wine")


def train() -> Trained:
    """Train, save as ``model.keras`` without its optimiser, and measure."""
    train_x, train_y, test_x, test_y = split()
    make_reproducible(SEED)
    watch = Stopwatch()
    with watch.timing():
        model = build(train_x)
        model.compile(keras.optimizers.Adam(0.01), {"probabilities": keras.losses.SparseCategoricalCrossentropy()})
        model.fit({"features": train_x}, {"probabilities": train_y}, batch_size=16, epochs=EPOCHS, verbose=0)
    served = keras.Model(model.input, model.output, name=model.name)  # the same layers, without optimiser and loss
    target = MODELS / "wine" / "1" / "model.keras"
    target.parent.mkdir(parents=True, exist_ok=True)
    served.save(target)
    hits = np.argmax(served({"features": test_x})["probabilities"], axis=-1) == test_y
    measured = {
        "wine/1": {
            "training_examples": len(train_y),
            "held_out_examples": len(test_y),
            "held_out_accuracy": round(float(hits.mean()), 5),
            "parameters": parameter_count(served.trainable_variables),
            "bytes": total_bytes(target.parent),
            "seed": SEED,
            "training_s": round(watch.seconds, 1),
        }
    }
    names = [str(load_wine().target_names[y]) for y in test_y]
    rows = [[round(float(value), 4) for value in row] for row in test_x]
    return Trained(measured, first_right_per_class(names, rows, hits.tolist()))
