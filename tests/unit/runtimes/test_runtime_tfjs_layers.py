"""Layers models against what TensorFlow.js itself computed: every folder of tests/data/tfjs/layers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tfjs_layers_files as files

from tensorhost.runtimes.tfjs.layers_classes import LAYERS
from tensorhost.runtimes.tfjs.layers_model import MAKERS, load_layers_model
from tensorhost.runtimes.tfjs.model_json import read_model_json

DATA = Path(__file__).parents[2] / "data" / "tfjs" / "layers"
CASES = sorted(folder.name for folder in DATA.iterdir())


def array_of(tensor):
    return np.array(tensor["values"], tensor["dtype"]).reshape(tensor["shape"])


def layers_in(config):
    """The classes of all layers of a configuration, those within others too."""
    if isinstance(config, dict):
        found = {config["class_name"]} if "config" in config and "class_name" in config else set()
        return found.union(*(layers_in(value) for value in config.values()))
    return set().union(*(layers_in(value) for value in config)) if isinstance(config, list) else set()


@pytest.mark.parametrize("case", CASES)
def test_answers_are_those_of_tensorflow_js(case, tf, keras, options):
    reference = json.loads((DATA / case / "reference.json").read_text())
    runtime = load_layers_model(read_model_json(DATA / case / "model.json"), options)
    try:
        signature = runtime.signatures["serving_default"]
        assert list(signature.inputs) == [tensor["name"] for tensor in reference["inputs"]]
        inputs = {tensor["name"]: array_of(tensor) for tensor in reference["inputs"]}
        outputs = runtime.run("serving_default", inputs)
        names = [tensor["name"] for tensor in reference["outputs"]]
        if len(set(names)) == len(names):
            assert list(outputs) == names
        for tensor, (name, output) in zip(reference["outputs"], outputs.items(), strict=True):
            np.testing.assert_allclose(output, array_of(tensor), rtol=1e-4, atol=1e-5, err_msg=name)
    finally:
        runtime.close()


def test_every_class_of_layer_is_in_a_reference_model():
    used = set().union(*(layers_in(json.loads((DATA / case / "model.json").read_text())) for case in CASES))
    assert used >= LAYERS


def test_every_class_can_be_made():
    assert {*MAKERS, "TimeDistributed"} == LAYERS


def test_outputs_of_one_layer_are_numbered(tf, keras, options):
    runtime = load_layers_model(read_model_json(DATA / "two_outputs_of_one_layer" / "model.json"), options)
    assert list(runtime.signatures["serving_default"].outputs) == ["output_0", "output_1", "output_2"]
    runtime.close()


def test_batch_may_have_any_size_even_where_the_file_gives_one(tmp_path, tf, keras, options):
    runtime = files.load(tmp_path, files.dense_model(batch_input_shape=[32, 3]), None, options)
    signature = runtime.signatures["serving_default"]
    assert signature.inputs["dense_input"].shape == (None, 3)
    assert signature.outputs["dense"].shape == (None, 2)
    kernel, bias = files.dense_weights().values()
    rows = np.eye(3, dtype=np.float32)
    np.testing.assert_allclose(runtime.run("serving_default", {"dense_input": rows})["dense"], kernel + bias)
    assert runtime.weights_bytes == 8 * 4
    runtime.close()


def test_topology_may_be_json_text_within_the_json(tmp_path, tf, keras, options):
    topology = {"model_config": json.dumps(files.dense_model()), "keras_version": "2.3.0"}
    runtime = files.load(tmp_path, topology, None, options)
    assert list(runtime.signatures["serving_default"].outputs) == ["dense"]
    runtime.close()


def test_names_with_slashes(tmp_path, tf, keras, options):
    topology = files.functional(
        [
            files.layer("InputLayer", "in/x", [], batch_input_shape=[None, 3], dtype="float32"),
            files.layer("Dense", "block/dense", [[["in/x", 0, 0, {"training": True}]]], units=2),
        ],
        ["in/x"],
        ["block/dense"],
    )
    weights = {f"block/{name}": value for name, value in files.dense_weights().items()}
    runtime = files.load(tmp_path, topology, weights, options)
    assert list(runtime.signatures["serving_default"].inputs) == ["in/x"]
    assert list(runtime.signatures["serving_default"].outputs) == ["block/dense"]
    runtime.close()


def test_input_that_is_also_an_output(tmp_path, tf, keras, options):
    start = files.layer("InputLayer", "x", [], batch_input_shape=[None, 3], dtype="int32")
    runtime = files.load(tmp_path, files.functional([start], ["x"], ["x"]), {}, options)
    rows = np.array([[1, 2, 3]], np.int32)
    np.testing.assert_array_equal(runtime.run("serving_default", {"x": rows})["x"], rows)
    runtime.close()


def test_more_layers_than_python_can_nest_calls(tmp_path, tf, keras, options):
    first = files.layer("Activation", "first", activation="relu", batch_input_shape=[None, 3])
    rest = [files.layer("Dropout", f"drop{index}", rate=0.5) for index in range(1200)]
    last = files.layer("Activation", "last", activation="tanh")
    runtime = files.load(tmp_path, files.sequential(first, *rest, last), {}, options)
    rows = np.array([[-1, 0, 1]], np.float32)
    answer = runtime.run("serving_default", {"first_input": rows})["last"]
    np.testing.assert_allclose(answer, np.tanh([[0, 0, 1]]), rtol=1e-6)
    runtime.close()


def test_gru_with_reset_after_as_keras_has_it(tmp_path, tf, keras, options):
    random = np.random.default_rng(1)
    shapes = {"gru/gru_cell/kernel": (3, 6), "gru/gru_cell/recurrent_kernel": (2, 6), "gru/gru_cell/bias": (2, 6)}
    weights = {name: random.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    config = {"units": 2, "reset_after": True, "recurrent_activation": "sigmoid", "activation": "tanh"}
    topology = files.sequential(files.layer("GRU", "gru", batch_input_shape=[None, 4, 3], **config))
    runtime = files.load(tmp_path, topology, weights, options)
    rows = random.normal(size=(2, 4, 3)).astype(np.float32)
    gru = keras.layers.GRU(2, reset_after=True)
    gru.build((None, 4, 3))
    gru.set_weights(list(weights.values()))
    expected = np.asarray(gru(rows))
    np.testing.assert_allclose(
        runtime.run("serving_default", {"gru_input": rows})["gru"], expected, rtol=1e-5, atol=1e-6
    )
    runtime.close()


def test_category_out_of_range_is_the_clients_mistake(tf, keras, options):
    from tensorhost.core.errors import InvalidRequestError

    runtime = load_layers_model(read_model_json(DATA / "category_encoding" / "model.json"), options)
    inputs = {"x": np.array([[0, 1, 9]], np.int32), "one": np.array([[0]], np.int32)}
    with pytest.raises(InvalidRequestError):
        runtime.run("serving_default", inputs)
    runtime.close()


@pytest.mark.parametrize("dtype", ["int32", "bool"])
def test_the_mean_of_whole_numbers_is_none(tmp_path, tf, keras, options, dtype):
    config = {"batch_input_shape": [None, 2, 1], "dtype": dtype}
    topology = files.sequential(files.layer("GlobalAveragePooling1D", "mean", **config))
    runtime = files.load(tmp_path, topology, {}, options)
    rows = np.array([[[0], [1]]], dtype)
    np.testing.assert_array_equal(runtime.run("serving_default", {"mean_input": rows})["mean"], np.float32([[0.5]]))
    runtime.close()
