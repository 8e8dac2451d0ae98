"""What is written loads in plain TensorFlow, in a process that has never heard of tensorhost, and answers alike."""

from __future__ import annotations

import pickle
import shutil
import subprocess
import sys

import numpy as np
import pytest

from tensorhost.core.errors import InvalidRequestError, ModelFailedError, UnsupportedModelError
from tensorhost.runtimes import ModelFormat, load
from tensorhost.runtimes.conversion import refuse_source, write_saved_model, write_tflite, written_format
from tensorhost.runtimes.tensorflow import export, saved_model

TEXT = np.array([b"a", b"b", b"\xff"], object)
X = np.float32([1, 2, 5.5])
CALLS = {
    "half_plus_two": [("serving_default", {"x": X}), ("plus_three", {"x": X})],
    "counter": [
        ("serving_default", {"by": np.int32([1, 0, 2])}),
        ("serving_default", {"by": np.int32([1, 1, 1])}),
        ("peek", {}),
    ],
    "edges": [("serving_default", {"x": np.arange(8, dtype=np.float32).reshape(2, 4)})],
    "strings": [("serving_default", {"text": TEXT})],
    "assets": [("serving_default", {"word": np.array([b"blue", b"?"], object)})],
    "loop": [("serving_default", {"x": X, "times": np.array(3, np.int32)})],
    "shapes": [("serving_default", {"x": X}), ("pick", {"index": np.int32([2])})],
    "casts": [("as_float64", {"x": X.astype(np.float64)}), ("as_bool", {"x": np.array([True, False])})],
    "embeddings": [("serving_default", {"ids": np.array([0, 299, 7], np.int64)})],
    "tf1_half_plus_two": [("serving_default", {"x": X}), ("echo", {"x": X})],
    "tf1_control_flow": [("serving_default", {"x": X}), ("serving_default", {"x": -X})],
}

PLAIN_TENSORFLOW = """
import os, pickle, sys
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import numpy as np
import tensorflow as tf
answers = {}
with open(sys.argv[1], "rb") as file:
    calls = pickle.load(file)
for name, (path, asked) in calls.items():
    loaded = tf.saved_model.load(path)
    answers[name] = []
    for signature, inputs in asked:
        out = loaded.signatures[signature](**{key: tf.constant(value) for key, value in inputs.items()})
        answers[name].append({key: np.asarray(value.numpy()) for key, value in out.items()})
with open(sys.argv[2], "wb") as file:
    pickle.dump(answers, file)
assert not [name for name in sys.modules if name.startswith("tensorhost")]
"""


def example(tf, value):
    feature = tf.train.Feature(float_list=tf.train.FloatList(value=[value]))
    return tf.train.Example(features=tf.train.Features(feature={"x": feature})).SerializeToString()


@pytest.fixture(scope="module")
def converted(tf, models, tf1_models, options, tmp_path_factory):
    """By model: its exported folder, the calls, and what tensorhost and plain TensorFlow answered."""
    root = tmp_path_factory.mktemp("converted")
    examples = {"inputs": np.array([example(tf, 3.0), example(tf, 4.0)], object)}
    calls = {**CALLS, "tf1_half_plus_two": [*CALLS["tf1_half_plus_two"], ("regress", examples), ("classify", examples)]}
    asked, expected = {}, {}
    for name, wanted in calls.items():
        source = tf1_models / name.removeprefix("tf1_") if name.startswith("tf1_") else models / name
        copy = root / "source" / name
        shutil.copytree(source, copy)
        runtime = load(copy, options)
        write_saved_model(runtime, root / "written" / name, options)
        expected[name] = [runtime.run(signature, inputs) for signature, inputs in wanted]
        asked[name] = (str(root / "moved" / name), wanted)
        runtime.close()
    shutil.rmtree(root / "source")
    (root / "written").rename(root / "moved")
    (root / "calls").write_bytes(pickle.dumps(asked))
    arguments = [sys.executable, "-c", PLAIN_TENSORFLOW, root / "calls", root / "answers"]
    subprocess.run(arguments, check=True, capture_output=True, timeout=100)
    actual = pickle.loads((root / "answers").read_bytes())
    return {name: (root / "moved" / name, calls[name], expected[name], actual[name]) for name in calls}


def assert_alike(expected, actual):
    assert expected.keys() == actual.keys()
    for key, value in expected.items():
        if value.dtype == object:
            assert np.asarray(actual[key], object).tolist() == value.tolist()
        else:
            assert actual[key].dtype == value.dtype
            np.testing.assert_allclose(actual[key], value, rtol=1e-5)


@pytest.mark.parametrize("name", CALLS)
def test_plain_tensorflow_answers_like_the_model(converted, name):
    _, _, expected, actual = converted[name]
    for one, other in zip(expected, actual, strict=True):
        assert_alike(one, other)


@pytest.mark.parametrize("name", CALLS)
def test_tensorhost_loads_it_again_with_the_same_signatures(converted, models, tf1_models, options, name):
    path, calls, expected, _ = converted[name]
    source = tf1_models / name.removeprefix("tf1_") if name.startswith("tf1_") else models / name
    before, after = load(source, options), load(path, options)
    try:
        assert list(after.signatures.items()) == list(before.signatures.items())
        assert [after.call_path(key) for key in after.signatures] == [
            before.call_path(key) for key in before.signatures
        ]
        for (signature, inputs), answer in zip(calls, expected, strict=True):
            assert_alike(answer, after.run(signature, inputs))
    finally:
        before.close()
        after.close()


def test_files_of_tables_come_along_and_no_path_of_the_source_is_needed(converted):
    assert [file.name for file in (converted["assets"][0] / "assets").iterdir()] == ["vocabulary.txt"]
    assert [file.name for file in (converted["tf1_half_plus_two"][0] / "assets").iterdir()] == ["classes.txt"]


def test_a_stateful_model_keeps_its_variables_a_frozen_one_has_none(converted):
    assert (converted["counter"][0] / "variables" / "variables.index").is_file()
    assert not (converted["half_plus_two"][0] / "variables" / "variables.index").exists()


@pytest.mark.parametrize("name", ["half_plus_two", "counter", "tf1_half_plus_two"])
def test_variables_that_are_not_frozen_are_written(tf, models, tf1_models, options, tmp_path, monkeypatch, name):
    monkeypatch.setattr(saved_model, "MAX_FROZEN_BYTES", 4)
    source = tf1_models / "half_plus_two" if name.startswith("tf1_") else models / name
    runtime = load(source, options)
    write_saved_model(runtime, tmp_path / "m", options)
    assert (tmp_path / "m" / "variables" / "variables.index").is_file()
    signature, inputs = CALLS[name][0]
    expected = runtime.run(signature, inputs)
    again = load(tmp_path / "m", options)
    assert again.call_path(signature).startswith("graph with variables")
    assert_alike(expected, again.run(signature, inputs))
    plain = tf.saved_model.load(str(tmp_path / "m")).signatures[signature]
    arguments = {key: tf.constant(value) for key, value in inputs.items()}
    assert_alike(expected, {key: value.numpy() for key, value in plain(**arguments).items()})


def test_public_names_of_keras_models_are_kept(tf, keras, keras_models, options, tmp_path):
    for name in ("two_by_two", "mapping", "text"):
        runtime = load(keras_models / f"{name}.keras", options)
        write_saved_model(runtime, tmp_path / name, options)
        again = load(tmp_path / name, options)
        for key, signature in runtime.signatures.items():
            assert again.signatures[key].inputs == signature.inputs
            assert again.signatures[key].outputs == signature.outputs
        runtime.close()
        again.close()


def test_an_asset_that_is_gone_is_said(models, options, tmp_path):
    shutil.copytree(models / "assets", tmp_path / "source")
    runtime = load(tmp_path / "source", options)
    shutil.rmtree(tmp_path / "source")
    with pytest.raises(ModelFailedError, match="tables are filled from is no longer there") as caught:
        write_saved_model(runtime, tmp_path / "m", options)
    assert str(tmp_path) not in caught.value.message
    assert not (tmp_path / "m").exists()


def test_a_model_called_as_functions_cannot_be_written(models, options, tmp_path, monkeypatch):
    def refuse(*_args, **_options):
        raise RuntimeError("no session")

    monkeypatch.setattr(saved_model, "_load", refuse)
    runtime = load(models / "half_plus_two", options)
    with pytest.raises(UnsupportedModelError, match=r"cannot be written as a SavedModel \(tensorflow: function call\)"):
        write_saved_model(runtime, tmp_path / "m", options)


def test_what_tensorflow_cannot_write_is_one_sentence(models, options, tmp_path, monkeypatch):
    def refuse(*_):
        raise ValueError("pages of it")

    monkeypatch.setattr(export, "_import", refuse)
    with pytest.raises(ModelFailedError, match="TensorFlow cannot write this model") as caught:
        write_saved_model(load(models / "half_plus_two", options), tmp_path / "m", options)
    assert "pages of it" in caught.value.log_detail


def test_a_lite_file_has_the_same_signatures(tf, converted, options, tmp_path):
    from ai_edge_litert.interpreter import Interpreter

    write_tflite(converted["half_plus_two"][0], tmp_path / "m.tflite", options)
    interpreter = Interpreter(model_path=str(tmp_path / "m.tflite"))
    runners = {name: interpreter.get_signature_runner(name) for name in ("serving_default", "plus_three")}
    assert runners["serving_default"](x=X)["y"].tolist() == [2.5, 3.0, 4.75]
    assert runners["plus_three"](x=X)["y"].tolist() == [3.5, 4.0, 5.75]


def test_operations_that_lite_lacks_are_named_and_nothing_else_is_said(converted, options, tmp_path, capfd):
    with pytest.raises(UnsupportedModelError) as caught:
        write_tflite(converted["strings"][0], tmp_path / "m.tflite", options)
    assert caught.value.message == (
        "TensorFlow Lite has no operation for StringUpper, which the model needs; "
        "it can be converted to a SavedModel only."
    )
    assert "StringUpper" in caught.value.log_detail
    assert not (tmp_path / "m.tflite").exists()
    said = capfd.readouterr()
    assert said.out == said.err == ""


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("m.tflite", "tflite"),
        ("M.TFLITE", "tflite"),
        ("m", "saved_model"),
        ("1", "saved_model"),
        ("v1.2", "saved_model"),
    ],
)
def test_the_targets_name_says_the_format(tmp_path, name, expected):
    assert written_format(tmp_path / name) is ModelFormat(expected)


@pytest.mark.parametrize("name", ["m.keras", "m.h5", "saved_model.pb", "model.json", "m.onnx"])
def test_formats_that_are_not_written(tmp_path, name):
    with pytest.raises(InvalidRequestError, match=f"'{name}' names a kind of file that is not written"):
        written_format(tmp_path / name)


def test_a_lite_file_is_no_source():
    with pytest.raises(UnsupportedModelError, match="no longer holds the TensorFlow graph"):
        refuse_source(ModelFormat.TFLITE)
    for other in set(ModelFormat) - {ModelFormat.TFLITE}:
        refuse_source(other)
