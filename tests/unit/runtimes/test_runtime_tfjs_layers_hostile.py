"""Layers models that are damaged, that claim too much, or that ask for what is not executed: clear errors, and soon."""

from __future__ import annotations

import numpy as np
import pytest
import tfjs_layers_files as files

from tensorhost.core.errors import ModelFailedError, UnsupportedModelError
from tensorhost.runtimes.tfjs import layers_graph

RNN = {"units": 2, "activation": "tanh"}


def fails(tmp_path, options, topology, match, weights=None, error=ModelFailedError):
    with pytest.raises(error, match=match) as caught:
        files.load(tmp_path, topology, weights, options)
    for word in ("Traceback", "KerasTensor", "ValueError", str(tmp_path)):
        assert word not in caught.value.message


def test_missing_weight_is_named(tmp_path, tf, keras, options):
    weights = {"dense/kernel": files.dense_weights()["dense/kernel"]}
    fails(tmp_path, options, files.dense_model(), r"lacks the weight 'dense/bias' of shape \[2\]", weights)


def test_extra_weight_is_named(tmp_path, tf, keras, options):
    weights = files.dense_weights() | {"other/kernel": np.zeros(4)}
    fails(tmp_path, options, files.dense_model(), "no layer of the model has: 'other/kernel'", weights)


def test_weight_of_another_shape_is_named(tmp_path, tf, keras, options):
    weights = files.dense_weights() | {"dense/kernel": np.zeros((2, 3))}
    expected = r"'dense/kernel' has the shape \[2, 3\]; the layer needs \[3, 2\]"
    fails(tmp_path, options, files.dense_model(), expected, weights)


@pytest.mark.parametrize("units", [10**12, 2**31 - 1])
def test_enormous_layer_takes_no_memory(tmp_path, tf, keras, options, units):
    fails(tmp_path, options, files.dense_model(units=units), "units must be whole numbers|the layer needs")


def test_enormous_output_is_refused(tmp_path, tf, keras, options):
    topology = files.sequential(files.layer("RepeatVector", "repeat", n=2**31 - 1, batch_input_shape=[None, 3]))
    fails(tmp_path, options, topology, "which is too large", {})


def test_layer_that_does_not_fit_its_input_is_named(tmp_path, tf, keras, options):
    topology = files.sequential(
        files.layer("Conv2D", "conv", filters=2, kernel_size=[3, 3], batch_input_shape=[None, 3])
    )
    fails(tmp_path, options, topology, r"The layer 'conv' \(Conv2D\) does not fit its inputs or its settings", {})


def test_models_that_call_models_that_call_models(tmp_path, tf, keras, options, monkeypatch):
    """Few layers, but each model calls the one within it twice, so that the calls double with every level."""
    monkeypatch.setattr(layers_graph, "MAX_CALLS", 200)
    inner = files.layer("Activation", "act", [[["x", 0, 0]]], activation="relu")
    start = files.layer("InputLayer", "x", [], batch_input_shape=[None, 3], dtype="float32")
    model = files.functional([start, inner], ["x"], ["act"])
    for level in range(10):
        name = f"m{level}"
        twice = {**model, "name": name, "inbound_nodes": [[["x", 0, 0]], [[name, 1, 0]]]}
        twice["config"] = {**twice["config"], "name": name}
        model = files.functional([start, twice], ["x"], [[name, 2, 0]])
    fails(tmp_path, options, model, "calls its layers more than 200 times", {})


@pytest.mark.parametrize(
    ("kind", "config", "match"),
    [
        ("LSTM", {**RNN, "stateful": True}, "is stateful"),
        ("GRU", {**RNN, "recurrent_activation": "exponential"}, "recurrent_activation must be one of"),
        ("Conv1D", {"filters": 1, "kernel_size": 1, "data_format": "channels_first"}, "has the channels first"),
        ("Conv1D", {"filters": 1, "kernel_size": 1, "padding": "causal"}, "padding must be one of same, valid"),
        ("Conv1D", {"filters": 1, "kernel_size": 1, "groups": 2}, "has groups"),
        ("Conv1D", {"filters": 1, "kernel_size": 1, "strides": 2, "dilation_rate": 2}, "does not fit"),
        ("Permute", {"dims": [7, 9]}, "does not fit"),
        ("Reshape", {"target_shape": [5, 7]}, "does not fit"),
        ("GRUCell", RNN, "cannot stand where it does"),
        ("ELU", {"alpha": 0.5}, "another alpha than 1"),
        ("LayerNormalization", {"axis": [2, 1]}, "axes out of order"),
        ("Dense", {"units": 2, "activation": {"class_name": "os.system", "config": {}}}, "activation must be one of"),
        ("Dense", {"units": -1}, "units must be whole numbers"),
        ("Dense", {}, "units must be whole numbers from 1 to 2147483647, not nothing"),
    ],
)
def test_what_cannot_be_computed_alike_is_refused_by_name(tmp_path, tf, keras, options, kind, config, match):
    topology = files.sequential(files.layer(kind, "named", batch_input_shape=[None, 4, 3], **config))
    fails(tmp_path, options, topology, rf"The layer 'named' \({kind}\).*{match}", {})


def test_separable_convolution_with_bias_and_channels_first(tmp_path, tf, keras, options):
    config = {"filters": 2, "kernel_size": 2, "data_format": "channels_first"}
    topology = files.sequential(files.layer("SeparableConv2D", "s", batch_input_shape=[None, 2, 4, 4], **config))
    fails(tmp_path, options, topology, "has a bias and the channels first", {}, UnsupportedModelError)


def test_mask_that_went_through_merging(tmp_path, tf, keras, options):
    topology = files.functional(
        [
            files.layer("InputLayer", "x", [], batch_input_shape=[None, 4, 3], dtype="float32"),
            files.layer("Masking", "masking", [[["x", 0, 0]]]),
            files.layer("Add", "sum", [[["masking", 0, 0], ["x", 0, 0]]]),
            files.layer("LSTM", "lstm", [[["sum", 0, 0]]], units=2),
        ],
        ["x"],
        ["lstm"],
    )
    fails(tmp_path, options, topology, "mask that went through a merging layer", {}, UnsupportedModelError)


def test_mask_within_time_distributed(tmp_path, tf, keras, options):
    inner = files.layer("LSTM", "inner", units=2)
    topology = files.sequential(
        files.layer("Masking", "masking", batch_input_shape=[None, 4, 3, 2]),
        files.layer("TimeDistributed", "each", layer=inner),
    )
    fails(tmp_path, options, topology, "lies in a TimeDistributed whose input is masked", {}, UnsupportedModelError)


def test_states_of_stacked_cells_must_be_complete(tmp_path, tf, keras, options):
    cells = [{"class_name": "LSTMCell", "config": {"name": f"cell{index}", "units": 2}} for index in range(2)]
    topology = files.functional(
        [
            files.layer("InputLayer", "x", [], batch_input_shape=[None, 4, 3], dtype="float32"),
            files.layer("InputLayer", "state", [], batch_input_shape=[None, 2], dtype="float32"),
            files.layer("RNN", "rnn", [[["x", 0, 0], ["state", 0, 0]]], cell=cells),
        ],
        ["x", "state"],
        ["rnn"],
    )
    fails(tmp_path, options, topology, "gets 1 initial states", {}, UnsupportedModelError)


def test_circle_of_layers(tmp_path, tf, keras, options):
    topology = files.functional(
        [
            files.layer("InputLayer", "x", [], batch_input_shape=[None, 3], dtype="float32"),
            files.layer("Add", "a", [[["x", 0, 0], ["b", 0, 0]]]),
            files.layer("ReLU", "b", [[["a", 0, 0]]]),
        ],
        ["x"],
        ["b"],
    )
    fails(tmp_path, options, topology, "part of a circle", {})


def test_output_a_layer_does_not_have(tmp_path, tf, keras, options):
    start = files.layer("InputLayer", "x", [], batch_input_shape=[None, 3], dtype="float32")
    relu = files.layer("ReLU", "relu", [[["x", 0, 0]]])
    topology = files.functional([start, relu], ["x"], [["relu", 0, 3]])
    fails(tmp_path, options, topology, "takes output 3 of 'relu', which has 1", {})


def test_input_layer_that_is_no_input_of_the_model(tmp_path, tf, keras, options):
    layers = [files.layer("InputLayer", name, [], batch_input_shape=[None, 3], dtype="float32") for name in "xy"]
    topology = files.functional([*layers, files.layer("Add", "sum", [[["x", 0, 0], ["y", 0, 0]]])], ["x"], ["sum"])
    fails(tmp_path, options, topology, "input layer 'y' is not among the inputs", {})


def test_model_is_given_back_after_a_failure(tmp_path, tf, keras, options):
    fails(tmp_path / "bad", options, files.dense_model(units=3), "the layer needs")
    runtime = files.load(tmp_path / "good", files.dense_model(), None, options)
    assert runtime.run("serving_default", {"dense_input": np.zeros((1, 3), np.float32)})["dense"].shape == (1, 2)
    runtime.close()
