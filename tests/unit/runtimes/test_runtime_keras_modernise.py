"""What the translation of a configuration does by itself; that the result computes the same, references show."""

from __future__ import annotations

import contextlib
import copy
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from keras_archives import layers_of

from tensorhost.core.errors import ModelFailedError, UnsupportedModelError
from tensorhost.runtimes.keras.legacy_config import modernise, written_by_keras_3

START = {"class_name": "InputLayer", "config": {"name": "x", "batch_input_shape": [None, 4], "dtype": "float32"},
         "name": "x", "inbound_nodes": []}  # fmt: skip


def sequential(*layers):
    return {"class_name": "Sequential", "config": {"name": "m", "layers": list(layers)}}


def layer(class_name, **config):
    return {"class_name": class_name, "config": {"name": class_name.lower(), **config}}


def functional(*layers, outputs):
    return {
        "class_name": "Model",
        "config": {
            "name": "m",
            "layers": [START, *layers],
            "input_layers": [["x", 0, 0]],
            "output_layers": outputs,
        },
    }


def called(layer, *nodes):
    return {**layer, "name": layer["config"]["name"], "inbound_nodes": list(nodes)}


def only(config, class_name):
    (found,) = layers_of(config, class_name)
    return found["config"]


@pytest.fixture(autouse=True)
def _keras(keras):
    """Translation registers its own functions with Keras."""


@pytest.mark.parametrize(
    ("described", "reason"),
    [
        (layer("LocallyConnected1D", filters=2), "no longer has it"),
        (layer("LSTM", units=2, time_major=True), "time_major = True"),
        (layer("BatchNormalization", axis=[1, 2]), r"axes \[1, 2\]"),
        (layer("BatchNormalization", axis=-1, renorm=True), "renorm = True"),
        (layer("DepthwiseConv2D", kernel_size=3, groups=2), "groups"),
        (layer("Merge", mode="sum"), "layer of Keras 1"),
        (layer("TensorFlowOpLayer", node_def="..."), "piece of a TensorFlow graph"),
        (layer("TimeDistributed", layer=layer("LocallyConnected2D")), "no longer has it"),
        (layer("Bidirectional", layer=layer("GRU", units=1, time_major=True)), "time_major"),
    ],
    ids=lambda value: value["class_name"] if isinstance(value, dict) else "",
)
def test_what_keras_3_cannot_compute_is_refused_by_name(described, reason):
    with pytest.raises(UnsupportedModelError, match=reason) as caught:
        modernise(sequential(described))
    innermost = described["config"].get("layer", described)
    assert innermost["config"]["name"] in caught.value.message


@pytest.mark.parametrize("function", ["io.write_file", "py_function", "numpy_function", "raw_ops.ReadFile", "os", None])
def test_only_listed_tensorflow_functions_are_called(function):
    call = called(layer("TFOpLambda", function=function), ["x", 0, 0, {}])
    with pytest.raises(UnsupportedModelError, match="not among the functions allowed"):
        modernise(functional(call, outputs=[["tfoplambda", 0, 0]]))


def test_every_listed_function_is_there(tf):
    from tensorhost.runtimes.keras.legacy_functions import TENSORFLOW_FUNCTIONS, tensorflow_function

    for name in TENSORFLOW_FUNCTIONS:
        assert callable(tensorflow_function(tf, name))
    with pytest.raises(ValueError, match="not a function"):
        tensorflow_function(tf, "io.read_file")


@pytest.mark.parametrize("written", ["hard_sigmoid", {"class_name": "function", "config": "hard_sigmoid"}])
def test_hard_sigmoid_is_replaced_wherever_it_stands(written):
    cell = layer("LSTMCell", units=2, recurrent_activation=written)
    wrapped = layer("Bidirectional", layer=layer("LSTM", units=2, activation=written, recurrent_activation=written))
    config = sequential(
        layer("Activation", activation=written), wrapped, layer("RNN", cell=layer("StackedRNNCells", cells=[cell]))
    )
    assert json.dumps(modernise(config)).count('"registered_name": "tensorhost>hard_sigmoid"') == 4


def test_what_keras_3_wrote_stays_as_it_is(keras):
    layers = keras.layers
    model = keras.Sequential([keras.Input((3, 2)), layers.LSTM(2, recurrent_activation="hard_sigmoid")])
    config = {"class_name": "Sequential", "config": model.get_config()}
    assert written_by_keras_3(config)
    assert modernise(config) == config
    assert modernise(config) is not config


def test_the_argument_is_not_changed_and_the_result_shares_nothing_with_it():
    config = functional(called(layer("Dense", units=2), [["x", 0, 0, {}]]), outputs=[["dense", 0, 0]])
    before = copy.deepcopy(config)
    modern = modernise(config)
    only(modern, "InputLayer")["batch_shape"].append(7)
    assert config == before


@pytest.mark.parametrize(
    ("described", "key", "value"),
    [
        (layer("GRU", units=2), "reset_after", False),
        (layer("GRU", units=2, reset_after=True), "reset_after", True),
        (layer("LeakyReLU"), "negative_slope", 0.3),
        (layer("LeakyReLU", alpha={"type": "ndarray", "value": 0.2}), "negative_slope", 0.2),
        (layer("BatchNormalization", axis=[3]), "axis", 3),
        (layer("Dense", units=2, dtype={"class_name": "Policy", "config": {"name": "mixed_float16"}}), "dtype",
         "mixed_float16"),
        (layer("Dense", units=2, activation="softmax_v2"), "activation", "softmax"),
        (layer("CategoryEncoding", max_tokens=4, output_mode="binary"), "output_mode", "multi_hot"),
    ],
)  # fmt: skip
def test_settings_become_those_of_keras_3(described, key, value):
    assert only(modernise(sequential(described)), described["class_name"])[key] == value


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("BatchNormalizationV1", "BatchNormalization"),
        ("SyncBatchNormalization", "BatchNormalization"),
        ("UnifiedLSTM", "LSTM"),
        ("CuDNNGRU", "GRU"),
        ("ThresholdedReLU", "ReLU"),
        ("AddLoss", "Identity"),
        ("RandomFlip", "Rescaling"),
        ("RandomCrop", "Resizing"),
    ],
)
def test_classes_are_those_of_keras_3(keras, written, read):
    (modern,) = modernise(sequential(layer(written)))["config"]["layers"]
    assert (modern["module"], modern["class_name"]) == ("keras.layers", read)
    assert hasattr(keras.layers, read)


@pytest.mark.parametrize(
    "first",
    [
        layer("Dense", units=2, batch_input_shape=[None, 4]),
        layer("TimeDistributed", layer=layer("Dense", units=2), batch_input_shape=[None, 4]),
        sequential(layer("Dense", units=2, batch_input_shape=[None, 4])),
    ],
    ids=["layer", "wrapper", "model"],
)
def test_a_sequential_model_gets_its_input(first):
    modern = modernise(sequential(first))["config"]["layers"][0]
    assert (modern["class_name"], modern["config"]["batch_shape"]) == ("InputLayer", [None, 4])


def test_a_list_of_layers_is_a_sequential_model():
    config = {"class_name": "Sequential", "config": [layer("Dense", units=2, batch_input_shape=[None, 4])]}
    assert [part["class_name"] for part in modernise(config)["config"]["layers"]] == ["InputLayer", "Dense"]


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"class_name": "Sequential"},
        {"class_name": "Model", "config": {"layers": 3}},
        sequential(3),
        sequential({"class_name": "Dense"}),
        sequential(layer("Dense", activation={"class_name": "function", "config": 3})),
        functional(called(layer("Dense"), []), outputs=[["dense", 0, 0]]),
        functional(called(layer("Dense"), [["nobody", 0, 0, {}]]), outputs=[["dense", 0, 0]]),
        functional(called(layer("Dense"), [["x", -1, 0, {}]]), outputs=[["dense", 0, 0]]),
        functional(called(layer("Dense"), [["x", 0, 0, 3]]), outputs=[["dense", 0, 0]]),
        functional(called(layer("Dense"), [["x", 0, 0, {}]]), outputs=None),
    ],
)
def test_what_keras_cannot_have_written_is_damaged(config):
    with pytest.raises(ModelFailedError, match="configuration is damaged"):
        modernise(config)


def test_shapes_and_tuples_are_lists():
    shape = {"class_name": "TensorShape", "items": [None, 4]}
    described = layer("Conv1D", batch_input_shape=shape, kernel_size={"class_name": "__tuple__", "items": [3]})
    modern = modernise(sequential(described))
    assert only(modern, "InputLayer")["batch_shape"] == [None, 4]
    assert only(modern, "Conv1D")["kernel_size"] == [3]


def test_layers_within_layers_end_somewhere():
    nested = layer("Dense", units=2)
    for _ in range(200):
        nested = layer("TimeDistributed", layer=nested)
    with pytest.raises(ModelFailedError, match="nested too deeply"):
        modernise(sequential(nested))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["x", "dense", "Dense", "LSTM", "Model", ""]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["class_name", "config", "name", "layers", "inbound_nodes", "activation", "layer", "cell"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=25,
)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.sampled_from(["Sequential", "Model", "Dense", "Bidirectional"]), json_values)
def test_anything_else_is_refused_with_our_own_error(class_name, config):
    with contextlib.suppress(ModelFailedError):
        assert modernise({"class_name": class_name, "config": config})["class_name"]
