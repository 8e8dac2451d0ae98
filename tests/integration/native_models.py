"""The model repository that the tests of the assembled server serve: the demo models, and small ones made here."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np

from tensorhost.demo import demo_models_path

WEIGHTS = np.array([[1.0, -2.0, 0.5, 3.0], [0.25, 1.5, -1.0, 2.0], [-0.5, 0.75, 2.5, -3.0]], np.float32)
BIAS = np.array([0.1, -0.2, 0.3, -0.4], np.float32)
SLOW_S = 0.6
ECHO_DTYPES = ("bool", "uint8", "int8", "int32", "int64", "float16", "bfloat16", "float32", "float64")
WORDS = {"[PAD]": 0, "[UNK]": 1, "the": 2, "cat": 3, "sat": 4, "on": 5, "mat": 6}

CUSTOM_STEPS = '''"""Custom steps of a test model."""

import numpy as np

from tensorhost.core.errors import InvalidPreprocessingError


def double(tensors):
    x = tensors["x"]
    if np.any(x > 1000):
        raise InvalidPreprocessingError("Values above 1000 are refused by this model.")
    if np.any(x < -1000):
        raise ZeroDivisionError("secret of the custom step")
    return {"x": x * 2}


def add_row_sum(outputs):
    return {"y": outputs["y"], "sum": outputs["y"].sum(axis=1)}
'''


def write_repository(tf, root: Path) -> None:
    """Fill ``root`` with every model the tests use; ``custom_steps.py`` lies beside it, in ``root.parent``."""
    for model in demo_models_path().iterdir():
        shutil.copytree(model, root / model.name)
    for write in (_linear, _pair, _echo, _image, _shapes, _fragile, _slow, _custom, _tokens, _spare):
        write(tf, root)
    (root / "corrupt" / "1" / "variables").mkdir(parents=True)
    (root / "corrupt" / "1" / "saved_model.pb").write_bytes(b"this is no protocol buffer")
    (root / "empty").mkdir()
    (root / "half" / "1" / "variables").mkdir(parents=True)
    (root / "half" / "1" / "variables" / "variables.index").write_bytes(b"copied first")
    (root / "bad name").mkdir()
    (root.parent / "custom_steps.py").write_text(CUSTOM_STEPS, encoding="utf-8")


def write_constant(tf, folder: Path, value: float) -> None:
    """A SavedModel at ``folder`` that answers ``value`` for every row of ``x``, float32 [N]."""
    module = tf.Module()

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
    def answer(x):
        return {"y": x * 0.0 + value}

    tf.saved_model.save(module, str(folder), signatures=answer)


def write_tokenizer(file: Path) -> None:
    """A tokenizer that knows the words of ``WORDS``, split at spaces, in lower case."""
    file.write_text(
        json.dumps(
            {
                "version": "1.0",
                "truncation": None,
                "padding": None,
                "added_tokens": [],
                "normalizer": {"type": "Lowercase"},
                "pre_tokenizer": {"type": "Whitespace"},
                "post_processor": None,
                "decoder": None,
                "model": {"type": "WordLevel", "vocab": WORDS, "unk_token": "[UNK]"},
            }
        ),
        encoding="utf-8",
    )


def _save(tf, folder: Path, module, toml: str = "", **signatures) -> None:
    tf.saved_model.save(module, str(folder / "1"), signatures=signatures)
    if toml:
        (folder / "model.toml").write_text(toml, encoding="utf-8")


def _linear(tf, root: Path) -> None:
    module = tf.Module()
    module.w, module.b = tf.Variable(WEIGHTS), tf.Variable(BIAS)

    @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32, name="x")])
    def linear(x):
        return {"y": x @ module.w + module.b}

    _save(tf, root / "linear", module, 'description = "x @ w + b"', serving_default=linear)


def _pair(tf, root: Path) -> None:
    module = tf.Module()
    row = tf.TensorSpec([None, 2], tf.float32)

    @tf.function(input_signature=[tf.TensorSpec(row.shape, row.dtype, "a"), tf.TensorSpec(row.shape, row.dtype, "b")])
    def combine(a, b):
        return {"sum": a + b, "product": a * b}

    @tf.function(input_signature=[tf.TensorSpec(row.shape, row.dtype, "a")])
    def negate(a):
        return {"negated": -a}

    _save(tf, root / "pair", module, serving_default=combine, negate=negate)


def _echo(tf, root: Path) -> None:
    def echo_of(name: str):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.dtypes.as_dtype(name), name="x")])
        def echo(x):
            return {"y": tf.identity(x)}

        return echo

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="x")])
    def strings(x):
        return {"y": tf.strings.join([x, x])}

    _save(tf, root / "echo", tf.Module(), serving_default=strings, **{name: echo_of(name) for name in ECHO_DTYPES})


def _image(tf, root: Path) -> None:
    @tf.function(input_signature=[tf.TensorSpec([None, 4, 6, 3], tf.float32, name="image")])
    def pixels(image):
        return {"pixels": tf.identity(image)}

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8, name="image")])
    def raw(image):
        return {"pixels": tf.identity(image)}

    _save(tf, root / "image", tf.Module(), serving_default=pixels, raw=raw)


def _shapes(tf, root: Path) -> None:
    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.float32, name="x")])
    def row_sums(x):
        return {"sums": tf.reduce_sum(x, axis=1)}

    @tf.function(input_signature=[tf.TensorSpec(None, tf.float32, name="x")])
    def any_rank(x):
        return {"doubled": x * 2.0}

    _save(tf, root / "shapes", tf.Module(), serving_default=row_sums, any_rank=any_rank)


def _fragile(tf, root: Path) -> None:
    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
    def root_of(x):
        with tf.control_dependencies([tf.debugging.Assert(tf.reduce_all(x >= 0.0), ["negative", x])]):
            return {"y": tf.sqrt(x)}

    _save(tf, root / "fragile", tf.Module(), serving_default=root_of)


def _slow(tf, root: Path) -> None:
    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
    def busy(x):
        until = tf.timestamp() + SLOW_S
        spins = tf.while_loop(lambda _: tf.timestamp() < until, lambda spun: (spun + 1.0,), (tf.constant(0.0),))[0]
        return {"y": x + 0.0 * spins}

    _save(
        tf,
        root / "slow",
        tf.Module(),
        "[warmup]\niterations = 1\n[batching]\nmax_batch_size = 1\nmax_queue_rows = 4\n",
        serving_default=busy,
    )


def _custom(tf, root: Path) -> None:
    @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32, name="x")])
    def plus_one(x):
        return {"y": x + 1.0}

    toml = (
        '[preprocessing]\nentry_point = "custom_steps:double"\n'
        '[postprocessing]\nentry_point = "custom_steps:add_row_sum"\n'
    )
    _save(tf, root / "custom", tf.Module(), toml, serving_default=plus_one)


def _tokens(tf, root: Path) -> None:
    ids = tf.TensorSpec([None, None], tf.int32, "input_ids")
    mask = tf.TensorSpec([None, None], tf.int32, "attention_mask")

    @tf.function(input_signature=[ids, mask])
    def count(input_ids, attention_mask):
        return {"ids": tf.identity(input_ids), "known": tf.reduce_sum(attention_mask * input_ids, axis=1)}

    toml = '[preprocessing.tokenize]\nfile = "tokenizer.json"\nmax_length = 6\npadding = "longest"\n'
    _save(tf, root / "tokens", tf.Module(), toml, serving_default=count)
    write_tokenizer(root / "tokens" / "tokenizer.json")


def _spare(tf, root: Path) -> None:
    for version in ("1", "2"):
        write_constant(tf, root / "spare" / version, float(version))
    (root / "spare" / "model.toml").write_text('version_policy = "all"\n[version_labels]\nfirst = "1"\n')
