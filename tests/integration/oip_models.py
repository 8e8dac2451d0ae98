"""Models as clients of the Open Inference Protocol ask them, each with what it must answer said beside it."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

DATATYPES = {
    "BOOL": "bool",
    "UINT8": "uint8",
    "UINT16": "uint16",
    "UINT32": "uint32",
    "UINT64": "uint64",
    "INT8": "int8",
    "INT16": "int16",
    "INT32": "int32",
    "INT64": "int64",
    "FP16": "half",
    "BF16": "bfloat16",
    "FP32": "float",
    "FP64": "double",
    "BYTES": "string",
}
"""Every datatype of the protocol, with TensorFlow's name for it."""

UNTYPED = ("FP16", "BF16")
"""Those that have no field in typed contents."""

BEYOND = 1000.0
"""``slow`` works for as many seconds as its largest input is beyond this; warm-up feeds nothing near it."""


def write_repository(tf: Any, root: Path) -> None:
    """Fill ``root`` with every model below, by the names of their folders."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for version, factor in ((1, 1.0), (2, 2.0)):
            write_identity(tf, root / "identity" / str(version), factor)
        for write in (_simple, _datatypes, write_text, _slow):
            write(tf, root)


def write_identity(tf: Any, folder: Path, factor: float) -> None:
    """``identity``: x FP32 [-1,4] → y, the same times the number of the version (1 or 2)."""

    @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32, name="x")])
    def scaled(x):
        return {"y": x * factor}

    tf.saved_model.save(tf.Module(), str(folder), signatures={"serving_default": scaled})


def _simple(tf: Any, root: Path) -> None:
    """``simple``: INPUT0, INPUT1 INT32 [-1,16] → OUTPUT0, their sum, and OUTPUT1, their difference."""
    spec = [tf.TensorSpec([None, 16], tf.int32, name=f"INPUT{number}") for number in (0, 1)]

    @tf.function(input_signature=spec)
    def add_sub(INPUT0, INPUT1):  # noqa: N803 - the inputs' names
        return {"OUTPUT0": INPUT0 + INPUT1, "OUTPUT1": INPUT0 - INPUT1}

    tf.saved_model.save(tf.Module(), str(root / "simple" / "1"), signatures={"serving_default": add_sub})


def _datatypes(tf: Any, root: Path) -> None:
    """``datatypes``: an input per name in DATATYPES, lower-case, [-1,2] → ``NAME_out``, the same values.

    ``typed``: the same without those of UNTYPED.
    """
    write_echo(tf, root / "datatypes" / "1", list(DATATYPES))
    write_echo(tf, root / "typed" / "1", [name for name in DATATYPES if name not in UNTYPED])


def write_echo(tf: Any, folder: Path, names: list[str]) -> None:
    """A model with an input for each of these datatypes, see ``_datatypes``."""

    specs = [tf.TensorSpec([None, 2], tf.dtypes.as_dtype(DATATYPES[name]), name=name.lower()) for name in names]

    @tf.function(input_signature=specs)
    def echo(*inputs):
        return {f"{name.lower()}_out": tf.identity(given) for name, given in zip(names, inputs, strict=True)}

    tf.saved_model.save(tf.Module(), str(folder), signatures={"serving_default": echo})


def write_text(tf: Any, root: Path) -> None:
    """``text``: text BYTES [-1] → said, ``hello TEXT``; length INT32, its bytes."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="text")])
    def greet(text):
        return {"said": tf.strings.join(["hello ", text]), "length": tf.strings.length(text)}

    tf.saved_model.save(tf.Module(), str(root / "text" / "1"), signatures={"serving_default": greet})


def _slow(tf: Any, root: Path) -> None:
    """``slow``: x FP32 [-1] → y = x, after as many seconds as x is beyond BEYOND, at most 10. Not batched."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
    def busy(x):
        until = tf.timestamp() + tf.cast(tf.clip_by_value(tf.reduce_max(x) - BEYOND, 0.0, 10.0), tf.float64)
        spins = tf.while_loop(lambda _: tf.timestamp() < until, lambda spun: (spun + 1.0,), (tf.constant(0.0),))[0]
        return {"y": x + 0.0 * spins}

    tf.saved_model.save(tf.Module(), str(root / "slow" / "1"), signatures={"serving_default": busy})
    (root / "slow" / "model.toml").write_text("[batching]\nenabled = false\n", encoding="utf-8")
