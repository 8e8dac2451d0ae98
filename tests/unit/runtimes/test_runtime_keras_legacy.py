"""Models that Keras 2 wrote answer as Keras 2 answered; see tests/data/keras."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
from keras_archives import with_weights

from tensorhost.core.errors import ModelFailedError
from tensorhost.runtimes import load
from tensorhost.runtimes.keras import h5, loader

ARCHIVE = Path(__file__).parents[2] / "data" / "keras" / "references.zip"


def stored():
    with zipfile.ZipFile(ARCHIVE) as archive:
        return sorted(name for name in archive.namelist() if not name.endswith(".npz"))


@pytest.fixture(scope="session")
def references(tmp_path_factory):
    root = tmp_path_factory.mktemp("references")
    with zipfile.ZipFile(ARCHIVE) as archive:
        archive.extractall(root)
    return root


def recorded(file):
    with np.load(file.with_suffix(".npz")) as arrays:
        inputs = {name.removeprefix("in:"): arrays[name] for name in arrays if name.startswith("in:")}
        outputs = [arrays[f"out:{index}"] for index in range(len(arrays.files) - len(inputs))]
    for name, value in inputs.items():
        if value.dtype.kind == "U":
            inputs[name] = np.array([text.encode() for text in value.ravel()], object).reshape(value.shape)
    return inputs, outputs


def assert_close(got, wanted):
    assert len(got) == len(wanted)
    for ours, theirs in zip(got, wanted, strict=True):
        assert ours.shape == theirs.shape
        half = theirs.dtype == np.float16
        np.testing.assert_allclose(ours, theirs, rtol=1e-2 if half else 1e-5, atol=1e-3 if half else 1e-6)


@pytest.mark.parametrize("name", stored())
def test_computes_what_keras_2_computed(tf, keras, references, options, monkeypatch, name):
    """The model that is handed on to be traced, called in a graph as tracing does, with dimensions left open."""
    for module in (h5, loader):
        monkeypatch.setattr(module, "serve_keras_model", lambda tf, keras, make, options: make())
    file = references / name
    inputs, wanted = recorded(file)
    model = load_any(file, options)
    assert [tensor.name for tensor in model.inputs] == list(inputs)
    structure = model.inputs[0] if isinstance(model, keras.Sequential) else model.input
    specs = [tf.TensorSpec(tensor.shape, tensor.dtype) for tensor in model.inputs]

    @tf.function(input_signature=specs, autograph=False)
    def call(*tensors):
        return keras.tree.flatten(model(keras.tree.pack_sequence_as(structure, tensors), training=False))

    assert_close([tensor.numpy() for tensor in call(*map(tf.constant, inputs.values()))], wanted)
    keras.backend.clear_session()


def load_any(file, options):
    return (h5.load_keras_h5 if file.suffix == ".h5" else loader.load_keras_file)(file, options)


@pytest.mark.parametrize("name", ["lstm.h5", "nested.h5", "nested.keras", "categories.keras", "names.h5"])
def test_serves_what_keras_2_computed(references, options, name):
    file = references / name
    inputs, wanted = recorded(file)
    runtime = load(file, options)
    try:
        signature = runtime.signatures["serving_default"]
        assert set(signature.inputs) == set(inputs)
        assert runtime.call_path("serving_default") == "frozen graph, single-threaded session, prepared callable"
        got = runtime.run("serving_default", inputs)
    finally:
        runtime.close()
    assert_close([got[key] for key in signature.outputs], wanted)


@pytest.fixture
def changed(keras, references, tmp_path):
    def make(name, change):
        return with_weights(references / name, tmp_path / name, change)

    return make


def drop_a_layer(file):
    for path in ("layers/dense", "model_weights/dense"):
        if path in file:
            del file[path]
    if "model_weights" in file:
        weights = file["model_weights"]
        kept = [name for name in weights.attrs["layer_names"] if name != "dense"]
        del weights.attrs["layer_names"]
        weights.attrs["layer_names"] = kept


def other_shape(file):
    for path in ("layers/dense/vars/0", "model_weights/dense/dense/kernel:0"):
        if path in file:
            del file[path]
            file[path] = np.zeros((3, 7), "f4")


def text_for_numbers(file):
    for path in ("layers/dense/vars/0", "model_weights/dense/dense/kernel:0"):
        if path in file:
            del file[path]
            file[path] = np.full((3, 2), b"x")


def swapped(file):
    weights = file["model_weights/dense"]
    weights.attrs["weight_names"] = weights.attrs["weight_names"][::-1]


def lost(file):
    del file["model_weights/dense/dense/kernel:0"]


def stray(file):
    top = file["model_weights"].require_group("top_level_model_weights")
    top["stray:0"] = np.zeros(2, "f4")
    top.attrs["weight_names"] = np.array([b"stray:0"])


def by_theano(file):
    file["model_weights"].attrs["backend"] = b"theano"


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("sentences.h5", drop_a_layer, "it has 2 layers with weights where the model has 3"),
        ("sentences.keras", drop_a_layer, "layer 'dense' differ in number or shape"),
        ("sentences.h5", other_shape, "'dense/kernel:0' of the layer 'dense' has the shape"),
        ("sentences.keras", other_shape, "layer 'dense' differ in number or shape"),
        ("sentences.h5", text_for_numbers, "damaged or incomplete"),
        ("sentences.keras", text_for_numbers, "damaged or incomplete"),
        ("sentences.h5", swapped, "of the layer 'dense' lie in another order"),
        ("sentences.h5", lost, "damaged or incomplete"),
        ("sentences.h5", stray, "belong to no layer"),
        ("sentences.h5", by_theano, "trained with Keras on theano"),
    ],
)
def test_weights_that_do_not_fit_are_named(changed, options, name, change, message):
    with pytest.raises(ModelFailedError, match=message):
        load(changed(name, change), options)


def test_layers_with_other_names_are_filled_in_order(changed, references, options):
    """As Keras does where a file's names are not those of its model."""

    def rename(file):
        weights = file["model_weights"]
        weights.move("dense", "renamed")
        weights.attrs["layer_names"] = [name.replace("dense", "renamed") for name in weights.attrs["layer_names"]]

    inputs, wanted = recorded(references / "sentences.h5")
    runtime = load(changed("sentences.h5", rename), options)
    assert_close(list(runtime.run("serving_default", inputs).values()), wanted)
    runtime.close()
