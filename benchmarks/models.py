"""The models under test, written as SavedModels, each with one request body and the answer TensorFlow gives to it.

``python -m benchmarks.models FOLDER`` writes ``FOLDER/<model>/1`` (what every server loads),
``FOLDER/<model>.rows.json`` (the rows of the request) and ``FOLDER/<model>.expected.npy``. What is there already is
kept. The weights are random: speed does not depend on them, and the answers are compared with TensorFlow's own.
Networks end before their softmax, whose answer would hardly differ from one input to the next.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True, slots=True)
class Model:
    """One model on disk, with the request it is asked and the right answer.

    ``rows`` is nested lists of numbers, one row of the model's input shape; ``expected`` is float32 ``(1, outputs)``.
    """

    name: str
    folder: Path
    rows: list[Any]
    expected: np.ndarray[Any, Any]

    @property
    def saved_model(self) -> Path:
        """The SavedModel's own folder."""
        return self.folder / "1"

    @classmethod
    def read(cls, name: str, root: Path) -> Model:
        """Read what ``build`` has written."""
        rows = json.loads((root / f"{name}.rows.json").read_text(encoding="utf-8"))
        return cls(name, root / name, rows, np.load(root / f"{name}.expected.npy"))


def ensure(names: tuple[str, ...], root: Path) -> dict[str, Model]:
    """The named models under ``root``, built first, in a process of its own, where they are missing."""
    root.mkdir(parents=True, exist_ok=True)
    if any(not (root / f"{name}.expected.npy").is_file() for name in names):
        subprocess.run([sys.executable, "-m", "benchmarks.models", str(root), *names], check=True)
    return {name: Model.read(name, root) for name in names}


def _mlp() -> tuple[Any, tuple[int, ...]]:
    """784-512-256-10, ReLU between the layers."""
    import tensorflow as tf

    generator = np.random.default_rng(0)
    sizes = (784, 512, 256, 10)
    module = tf.Module()
    module.layers = [
        (
            tf.Variable(generator.normal(0, np.sqrt(2 / fan_in), (fan_in, fan_out)).astype(np.float32)),
            tf.Variable(np.zeros(fan_out, np.float32)),
        )
        for fan_in, fan_out in pairwise(sizes)
    ]

    def call(x: Any) -> dict[str, Any]:
        *hidden, (weights, bias) = module.layers
        for inner_weights, inner_bias in hidden:
            x = tf.nn.relu(tf.matmul(x, inner_weights) + inner_bias)
        return {"logits": tf.matmul(x, weights) + bias}

    module.serve = tf.function(call, input_signature=[tf.TensorSpec((None, 784), tf.float32, name="x")])
    return module, (784,)


def _tiny() -> tuple[Any, tuple[int, ...]]:
    """y = x * 0.5 + 2 on three numbers: what is left is the server's own cost."""
    import tensorflow as tf

    module = tf.Module()
    module.serve = tf.function(
        lambda x: {"y": x * 0.5 + 2.0}, input_signature=[tf.TensorSpec((None, 3), tf.float32, name="x")]
    )
    return module, (3,)


def _application(name: str) -> Callable[[], tuple[Any, tuple[int, ...]]]:
    def make() -> tuple[Any, tuple[int, ...]]:
        import keras

        network = getattr(keras.applications, name)
        return network(weights=None, classifier_activation=None), (224, 224, 3)

    return make


def _lstm() -> tuple[Any, tuple[int, ...]]:
    """Sequences of 32 steps of 64 numbers through 128 units: what recurrent networks cost."""
    import keras

    layers = [keras.Input((32, 64)), keras.layers.LSTM(128), keras.layers.Dense(10)]
    return keras.Sequential(layers), (32, 64)


MAKERS: dict[str, Callable[[], tuple[Any, tuple[int, ...]]]] = {
    "tiny": _tiny,
    "mlp": _mlp,
    "lstm": _lstm,
    "mobilenetv2": _application("MobileNetV2"),
    "resnet50": _application("ResNet50"),
}


def build(name: str, root: Path) -> None:
    """Write one model, its request and its answer."""
    import tensorflow as tf

    tf.random.set_seed(0)
    model, row_shape = MAKERS[name]()
    target = str(root / name / "1")
    if hasattr(model, "export"):
        model.export(target, verbose=False)
    else:
        tf.saved_model.save(model, target, signatures={"serving_default": model.serve})
    # Pixels of 8 bits brought to 0..1, as a client would send them.
    array = (np.random.default_rng(1).integers(0, 256, (1, *row_shape)) / 255).astype(np.float32)
    signature = tf.saved_model.load(target).signatures["serving_default"]
    (input_name,) = signature.structured_input_signature[1]
    (output,) = signature(**{input_name: tf.constant(array)}).values()
    (root / f"{name}.rows.json").write_text(json.dumps(array.tolist()), encoding="utf-8")
    np.save(root / f"{name}.expected.npy", output.numpy())


def main() -> None:
    """Build what is missing."""
    root, *names = sys.argv[1:]
    for name in names or MAKERS:
        if not (Path(root) / f"{name}.expected.npy").is_file():
            print(f"building {name}", flush=True)
            build(name, Path(root))


if __name__ == "__main__":
    main()
