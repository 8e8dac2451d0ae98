"""The models under test, written as SavedModels, each with one request body and the answer TensorFlow gives to it.

``python -m benchmarks.models FOLDER`` writes ``FOLDER/<model>/1`` (what every server loads),
``FOLDER/<model>.rows.json`` (the rows of the request), ``FOLDER/<model>.input.json`` (name and dtype of the input) and
``FOLDER/<model>.expected.npy``. What is there already is kept. The weights are random:
speed does not depend on them, and the answers are compared with TensorFlow's own. Networks end before their softmax,
whose answer would hardly differ from one input to the next.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

DEFAULT_CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tensorhost-benchmarks"
"""Where models, and the other servers' environments, are kept from one run to the next."""


@dataclass(frozen=True, slots=True)
class Model:
    """One model on disk, with the request it is asked and the right answer.

    ``rows`` is nested lists of numbers, one row of the model's input shape, of NumPy's ``input_dtype``; ``expected`` is
    float32 ``(1, outputs)``. ``input_name`` is the signature's, for protocols that want it.
    """

    name: str
    folder: Path
    rows: list[Any]
    expected: np.ndarray[Any, Any]
    input_name: str = ""
    input_dtype: str = "float32"

    @property
    def saved_model(self) -> Path:
        """The SavedModel's own folder."""
        return self.folder / "1"

    @classmethod
    def read(cls, name: str, root: Path) -> Model:
        """Read what ``build`` has written."""
        rows = json.loads((root / f"{name}.rows.json").read_text(encoding="utf-8"))
        spec = json.loads((root / f"{name}.input.json").read_text(encoding="utf-8"))
        expected = np.load(root / f"{name}.expected.npy")
        return cls(name, root / name, rows, expected, spec["name"], spec["dtype"])


def ensure(names: tuple[str, ...], root: Path) -> dict[str, Model]:
    """The named models under ``root``, built first, in a process of its own, where they are missing."""
    root.mkdir(parents=True, exist_ok=True)
    if any(not is_built(name, root) for name in names):
        subprocess.run([sys.executable, "-m", "benchmarks.models", str(root), *names], check=True)
    return {name: Model.read(name, root) for name in names}


def is_built(name: str, root: Path) -> bool:
    """Whether ``build`` has come to its end."""
    return all((root / f"{name}.{ending}").is_file() for ending in ("rows.json", "input.json", "expected.npy"))


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


def _pixels() -> tuple[Any, tuple[int, ...]]:
    """The mean colour of an image of 224x224x3: what is left is what moving a large tensor costs."""
    import tensorflow as tf

    module = tf.Module()
    module.serve = tf.function(
        lambda x: {"y": tf.reduce_mean(x, (1, 2))},
        input_signature=[tf.TensorSpec((None, 224, 224, 3), tf.float32, name="x")],
    )
    return module, (224, 224, 3)


def _transformer() -> tuple[Any, tuple[int, ...]]:
    """Two encoder layers, 128 wide, four heads, on 64 token ids of a vocabulary of 8,000: a small text classifier."""
    import tensorflow as tf

    generator = np.random.default_rng(0)
    tokens, width, heads, inner, classes = 64, 128, 4, 512, 4

    def weight(*shape: int) -> Any:
        return tf.Variable(generator.normal(0, np.sqrt(1 / shape[0]), shape).astype(np.float32))

    module = tf.Module()
    module.embeddings = tf.Variable(generator.normal(0, 1, (VOCABULARY, width)).astype(np.float32))
    module.positions = tf.Variable(generator.normal(0, 0.1, (tokens, width)).astype(np.float32))
    module.layers = [
        {"qkv": weight(width, 3 * width), "out": weight(width, width), "up": weight(width, inner)}
        | {"down": weight(inner, width)}
        for _ in range(2)
    ]
    module.classifier = weight(width, classes)

    def normalise(x: Any) -> Any:
        mean, variance = tf.nn.moments(x, -1, keepdims=True)
        return (x - mean) * tf.math.rsqrt(variance + 1e-5)

    def attend(x: Any, layer: dict[str, Any]) -> Any:
        qkv = tf.reshape(tf.matmul(x, layer["qkv"]), (-1, tokens, 3, heads, width // heads))
        query, key, value = tf.unstack(tf.transpose(qkv, (2, 0, 3, 1, 4)))
        scores = tf.nn.softmax(tf.matmul(query, key, transpose_b=True) * (heads / width) ** 0.5)
        joined = tf.reshape(tf.transpose(tf.matmul(scores, value), (0, 2, 1, 3)), (-1, tokens, width))
        return tf.matmul(joined, layer["out"])

    def call(ids: Any) -> dict[str, Any]:
        x = tf.gather(module.embeddings, ids) + module.positions
        for layer in module.layers:
            x = normalise(x + attend(x, layer))
            x = normalise(x + tf.matmul(tf.nn.gelu(tf.matmul(x, layer["up"])), layer["down"]))
        return {"logits": tf.matmul(tf.reduce_mean(x, axis=1), module.classifier)}

    module.serve = tf.function(call, input_signature=[tf.TensorSpec((None, tokens), tf.int32, name="ids")])
    return module, (tokens,)


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


VOCABULARY = 8000

MAKERS: dict[str, Callable[[], tuple[Any, tuple[int, ...]]]] = {
    "tiny": _tiny,
    "pixels": _pixels,
    "mlp": _mlp,
    "lstm": _lstm,
    "transformer": _transformer,
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
    signature = tf.saved_model.load(target).signatures["serving_default"]
    ((input_name, spec),) = signature.structured_input_signature[1].items()
    generator = np.random.default_rng(1)
    if spec.dtype.is_integer:
        array = generator.integers(0, VOCABULARY, (1, *row_shape)).astype(spec.dtype.as_numpy_dtype)
    else:  # pixels of 8 bits brought to 0..1, as a client would send them
        array = (generator.integers(0, 256, (1, *row_shape)) / 255).astype(np.float32)
    (output,) = signature(**{input_name: tf.constant(array)}).values()
    (root / f"{name}.rows.json").write_text(json.dumps(array.tolist()), encoding="utf-8")
    spec_of_input = {"name": input_name, "dtype": spec.dtype.name}
    (root / f"{name}.input.json").write_text(json.dumps(spec_of_input), encoding="utf-8")
    np.save(root / f"{name}.expected.npy", output.numpy())


def main() -> None:
    """Build what is missing."""
    root, *names = sys.argv[1:]
    for name in names or MAKERS:
        if not is_built(name, Path(root)):
            print(f"building {name}", flush=True)
            build(name, Path(root))


if __name__ == "__main__":
    main()
