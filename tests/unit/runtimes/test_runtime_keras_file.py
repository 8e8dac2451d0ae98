from __future__ import annotations

import json
import shutil
import warnings

import numpy as np
import pytest
from keras_archives import rewrite

from tensorhost.core.dtypes import DType
from tensorhost.core.errors import ModelFailedError
from tensorhost.runtimes import load
from tensorhost.runtimes.keras import tracing as keras_tracing

BEST = "frozen graph, single-threaded session, prepared callable"
RNG = np.random.default_rng(0)


def ones(*shape):
    return RNG.normal(size=shape).astype(np.float32)


@pytest.fixture
def loaded(keras_models, options):
    opened = []

    def open_one(name):
        runtime = load(keras_models / f"{name}.keras", options)
        opened.append(runtime)
        return runtime

    yield open_one
    for runtime in opened:
        runtime.close()


def wanted(keras, path, inputs):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return keras.models.load_model(path, compile=False)(inputs, training=False)


def test_several_inputs_and_outputs_have_the_authors_names(keras, keras_models, loaded):
    runtime = loaded("two_by_two")
    signature = runtime.signatures["serving_default"]
    assert list(signature.inputs) == ["left", "right"]
    assert list(signature.outputs) == ["total", "one_side"]
    assert signature.inputs["left"].shape == (None, 4)
    assert signature.outputs["one_side"].shape == (None, 3)
    left, right = ones(5, 4), ones(5, 4)
    out = runtime.run("serving_default", {"left": left, "right": right})
    total, one_side = wanted(keras, keras_models / "two_by_two.keras", [left, right])
    np.testing.assert_allclose(out["total"], total, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(out["one_side"], one_side, rtol=1e-5, atol=1e-6)
    assert runtime.call_path("serving_default") == BEST
    assert runtime.weights_bytes >= 4 * (4 * 2 + 2 + 4 * 3 + 3)


def test_mappings_are_named_by_their_keys(keras, keras_models, loaded):
    runtime = loaded("mapping")
    signature = runtime.signatures["serving_default"]
    assert set(signature.inputs) == {"left", "right"}
    assert set(signature.outputs) == {"a", "b"}
    inputs = {"left": ones(3, 4), "right": ones(3, 4)}
    out = runtime.run("serving_default", inputs)
    for name, value in wanted(keras, keras_models / "mapping.keras", inputs).items():
        np.testing.assert_allclose(out[name], value, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "shape", "output"), [("sequential", (2, 8, 8, 1), "output_0"), ("lstm", (2, 10, 3), "summary")]
)
def test_answers_like_keras_in_inference_mode(keras, keras_models, loaded, name, shape, output):
    runtime = loaded(name)
    (key,) = runtime.signatures["serving_default"].inputs
    x = ones(*shape)
    out = runtime.run("serving_default", {key: x})
    np.testing.assert_allclose(out[output], wanted(keras, keras_models / f"{name}.keras", x), rtol=1e-5, atol=1e-6)
    assert runtime.call_path("serving_default") == BEST


def test_a_fixed_batch_stays_fixed(loaded):
    signature = loaded("fixed").signatures["serving_default"]
    assert signature.inputs["fixed"].shape == (2, 4)
    assert signature.outputs["y"].shape == (2, 1)
    assert not signature.may_batch


def test_text_goes_in(keras, keras_models, loaded):
    runtime = loaded("text")
    assert runtime.signatures["serving_default"].inputs["text"].dtype is DType.STRING
    out = runtime.run("serving_default", {"text": np.array([b"a b", b"nothing known"], object)})
    expected = wanted(keras, keras_models / "text.keras", np.array(["a b", "nothing known"]))
    np.testing.assert_allclose(out["vectors"], expected, rtol=1e-5)
    assert runtime.call_path("serving_default") == BEST


def test_outputs_of_one_layer_are_numbered(loaded):
    assert list(loaded("same_layer").signatures["serving_default"].outputs) == ["output_0", "output_1"]


@pytest.mark.parametrize("name", ["two_by_two", "text"])
def test_what_cannot_be_exported_is_called_as_a_function(loaded, monkeypatch, name):
    best = loaded(name)
    monkeypatch.setattr(keras_tracing, "_export", lambda *_: False)
    plain = loaded(name)
    assert plain.call_path("serving_default") == "function call"
    assert plain.signatures == best.signatures
    assert plain.weights_bytes > 0
    inputs = {"text": np.array([b"c d"], object)} if name == "text" else {"left": ones(2, 4), "right": ones(2, 4)}
    expected = best.run("serving_default", inputs)
    for key, value in plain.run("serving_default", inputs).items():
        np.testing.assert_allclose(value, expected[key], rtol=1e-5, atol=1e-6)


def test_python_code_is_never_run(keras_models, keras, options):
    with pytest.raises(ModelFailedError, match="holds Python code"):
        load(keras_models / "lambda.keras", options)


def test_an_unknown_class_is_named_with_what_to_do(keras_models, keras, options):
    with pytest.raises(ModelFailedError, match="class or function that Keras itself does not have") as caught:
        load(keras_models / "unknown.keras", options)
    assert "Unknown" in caught.value.message
    assert "--import" in caught.value.message


@pytest.mark.parametrize("kept", [30, 0.5, 0.99])
def test_a_cut_archive_fails_cleanly(keras_models, tmp_path, options, kept):
    content = (keras_models / "fixed.keras").read_bytes()
    file = tmp_path / "m.keras"
    file.write_bytes(content[: int(kept if kept > 1 else len(content) * kept)])
    with pytest.raises(ModelFailedError, match="damaged or incomplete"):
        load(file, options)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"config.json": b"{"}, "damaged or incomplete"),
        ({"config.json": b"[]"}, "damaged or incomplete"),
        ({"config.json": None}, "no config.json"),
        (
            {"config.json": json.dumps({"module": "tf_keras.src.engine", "class_name": "Functional"}).encode()},
            "configuration is damaged",
        ),
        ({"config.json": b"[" * 100_000}, "damaged or incomplete"),
        ({"metadata.json": json.dumps({"keras_version": "1.2.2"}).encode()}, "saved by Keras 1.2.2"),
        ({"model.weights.h5": b"not HDF5"}, "file of weights in the .keras file is damaged"),
        ({"model.weights.h5": None}, "no model.weights.h5"),
        ({"config.json": json.dumps({"module": "os", "class_name": "system", "config": {}}).encode()}, "os.system"),
        ({"zeros": bytes(100 * 2**20)}, "would unpack to"),
    ],
)
def test_a_wrong_archive_fails_cleanly(keras_models, keras, tmp_path, options, changes, message):
    file = rewrite(keras_models / "fixed.keras", tmp_path / "m.keras", changes)
    with pytest.raises(ModelFailedError, match=message) as caught:
        load(file, options)
    assert str(tmp_path) not in caught.value.message


def test_the_temporary_copy_is_removed(keras_models, keras, options, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    load(keras_models / "fixed.keras", options).close()
    assert list(tmp_path.iterdir()) == []
    shutil.rmtree(tmp_path)
