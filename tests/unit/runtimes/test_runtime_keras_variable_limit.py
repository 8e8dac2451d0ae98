"""A configuration may not claim weights that its file does not hold."""

from __future__ import annotations

import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
from keras_archives import layers_of, with_configuration

from tensorhost.core.errors import ModelFailedError
from tensorhost.runtimes import load
from tensorhost.runtimes.keras.variable_limit import FREE_NUMBERS, variables_within

HUGE = FREE_NUMBERS + 1_000_000


@pytest.fixture(scope="module")
def small(keras, tmp_path_factory):
    """A chain of layers of all kinds of weights, as Keras 3 writes it, in both formats."""
    layers = keras.layers
    model = keras.Sequential(
        [keras.Input((4,), dtype="int32", name="x"), layers.Embedding(5, 6, name="words"),
         layers.Conv1D(7, 2, name="near"), layers.LSTM(8, name="steps"), layers.Dense(3, name="one"),
         layers.Dense(2, name="two")]
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("small")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.save(folder / "m.keras")
        model.save(folder / "m.h5")
    keras.backend.clear_session()
    return folder


@pytest.fixture(scope="module")
def keras_2_files(tmp_path_factory):
    root = tmp_path_factory.mktemp("keras_2")
    with zipfile.ZipFile(Path(__file__).parents[2] / "data" / "keras" / "references.zip") as archive:
        for name in ("nested.keras", "nested.h5"):
            archive.extract(name, root)
    return root


def changed(*changes):
    def change(configuration):
        for layer in configuration["config"]["layers"]:
            layer.pop("build_config", None)  # from the shapes in there each layer is built alone, and fails
            for name, setting, value in changes:
                if layer["config"]["name"] == name:
                    layer["config"][setting] = value

    return change


@pytest.mark.parametrize("suffix", ["keras", "h5"])
@pytest.mark.parametrize(
    ("changes", "layer", "weight"),
    [
        ([("words", "input_dim", HUGE)], "words", "embeddings"),
        ([("words", "output_dim", HUGE)], "words", "embeddings"),
        ([("near", "filters", HUGE)], "near", "kernel"),
        ([("near", "kernel_size", [HUGE]), ("near", "padding", "same")], "near", "kernel"),
        ([("steps", "units", HUGE)], "steps", "kernel"),
        ([("one", "units", HUGE)], "one", "kernel"),
        ([("one", "units", 10_000), ("two", "units", 10_000)], "two", "kernel"),
    ],
)
def test_a_claim_that_the_file_does_not_back_is_refused(small, tmp_path, options, suffix, changes, layer, weight):
    file = with_configuration(small / f"m.{suffix}", tmp_path / f"m.{suffix}", changed(*changes))
    with pytest.raises(ModelFailedError, match=r"more than the [0-9]+ numbers that the file holds") as caught:
        load(file, options)
    assert layer in caught.value.details["layer"]
    assert f"needs a weight '{weight}'" in caught.value.message
    assert caught.value.details["stored"] < 2000


@pytest.mark.parametrize("name", ["nested.keras", "nested.h5"])
def test_a_model_of_keras_2_may_not_claim_more_either(keras_2_files, tmp_path, options, name):
    def change(configuration):
        for layer in layers_of(configuration, "Dense"):
            layer["config"]["units"] = HUGE

    file = with_configuration(keras_2_files / name, tmp_path / name, change)
    with pytest.raises(ModelFailedError, match=r"more than the [0-9]+ numbers that the file holds"):
        load(file, options)


@pytest.mark.parametrize("suffix", ["keras", "h5"])
def test_the_file_as_it_was_made_loads(small, options, suffix):
    load(small / f"m.{suffix}", options).close()


def test_variables_are_counted_before_they_are_made_and_together(tf, keras):
    made = []

    def ones(shape, dtype):
        made.append(tuple(shape))
        return tf.ones(shape, dtype)

    with variables_within(tf, 10), keras.name_scope("layer"):
        keras.Variable(ones, shape=(FREE_NUMBERS,), name="a")
        keras.Variable(ones, shape=(2, 4), name="c")
        with pytest.raises(ModelFailedError, match="'layer' needs a weight 'b' of shape"):
            keras.Variable(ones, shape=(3,), name="b")
    assert made == [(FREE_NUMBERS,), (2, 4)]


def test_ready_values_and_variables_outside_are_not_counted(tf, keras):
    with variables_within(tf, -FREE_NUMBERS):
        kept = keras.Variable(np.ones(3, np.float32))
        plain = tf.Variable(tf.ones([3]))
    assert keras.Variable("ones", shape=(5,)).shape == (5,)
    assert kept.shape == plain.shape == (3,)
