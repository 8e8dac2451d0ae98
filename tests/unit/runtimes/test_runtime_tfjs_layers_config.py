"""The configuration of layers models, read without Keras."""

from __future__ import annotations

import contextlib
import json
import time

import pytest
import tfjs_layers_files as files
from hypothesis import given
from hypothesis import strategies as st

from tensorhost.core.errors import ModelFailedError, UnsupportedModelError
from tensorhost.runtimes.tfjs.layers_config import MAX_LAYERS, input_spec, read_topology
from tensorhost.runtimes.tfjs.layers_nodes import Reference

INPUT = files.layer("InputLayer", "x", [], batch_input_shape=[None, 3], dtype="float32")


def relu(name, inbound):
    return files.layer("Activation", name, inbound, activation="relu")


def graph(*layers, outputs=("y",)):
    return files.functional([INPUT, *layers], ["x"], list(outputs))


def test_sequential_becomes_a_chain_with_an_input():
    model = read_topology(files.dense_model())
    assert model.inputs == ("0",)
    assert model.layers["0"].name == "dense_input"
    assert input_spec(model.layers["0"]) == ((3,), "float32")
    assert model.layers["1"].calls == ((Reference("0", 0, 0),),)
    assert model.outputs == (Reference("1", 0, 0),)


@pytest.mark.parametrize(
    ("kind", "config", "shape"),
    [
        ("Dense", {"units": 1, "input_dim": 4}, (4,)),
        ("Dense", {"units": 1, "input_shape": [2, 4]}, (2, 4)),
        ("Dense", {"units": 1, "batchInputShape": [None, 7]}, (7,)),
        ("Embedding", {"input_dim": 5, "output_dim": 2}, (None,)),
        ("Embedding", {"input_dim": 5, "output_dim": 2, "input_length": 6}, (6,)),
        ("Embedding", {"input_dim": 5, "output_dim": 2, "input_length": [6, 2]}, (6, 2)),
    ],
)
def test_input_of_a_sequential(kind, config, shape):
    model = read_topology(files.sequential(files.layer(kind, "first", **config)))
    assert input_spec(model.layers["0"])[0] == shape


def test_sequential_without_an_input_shape():
    with pytest.raises(ModelFailedError, match="first layer 'relu' of a Sequential has no batch_input_shape"):
        read_topology(files.sequential(files.layer("ReLU", "relu")))


def test_bare_list_and_camel_case():
    config = {"className": "Dense", "config": {"name": "d", "units": 1, "batchInputShape": [None, 2]}}
    model = read_topology({"className": "Sequential", "class_name": "Sequential", "config": [config]})
    assert model.layers["1"].settings.whole("units") == 1


@pytest.mark.parametrize("first", [0, 1])
def test_calls_of_a_model_are_counted_from_0_or_from_1(first):
    inner = {**graph(relu("y", [[["x", 0, 0]]])), "name": "inner"}
    inner["config"] = {**inner["config"], "name": "inner"}
    inner["inbound_nodes"] = [[["x", 0, 0]], [["inner", first, 0]]]
    model = read_topology(graph(inner, outputs=[["inner", first + 1, 0]]))
    assert model.outputs == (Reference("inner", 1, 0),)
    assert model.layers["inner"].calls[1] == (Reference("inner", 0, 0),)


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (files.layer("AttentionOfMine", "a"), "uses the layer 'AttentionOfMine'"),
        (files.layer("MultiHeadAttention", "a"), "uses the layer 'MultiHeadAttention'"),
        (files.layer("Lambda", "a"), r"'a' \(Lambda\) is Python code"),
        (files.layer("TFOpLambda", "a"), "uses the layer 'TFOpLambda'"),
        (files.layer("RandomWidth", "a"), "draws random numbers"),
        (files.layer("Resizing", "a"), "TensorFlow.js itself cannot execute"),
        ({**files.layer("Dense", "a", units=1), "module": "os"}, "outside Keras"),
        ({**files.layer("Dense", "a", units=1), "module": "keras_evil.layers"}, "outside Keras"),
        ({**files.layer("Dense", "a", units=1), "module": ["os"]}, "outside Keras"),
        ({**files.layer("Dense", "a", units=1), "registered_name": "mine>Dense"}, "outside Keras"),
        ({"class_name": "__lambda__", "config": {"name": "a", "value": "payload"}}, "uses the layer '__lambda__'"),
        ({"class_name": "function", "config": "system", "module": "os", "name": "a"}, "uses the layer 'function'"),
        (files.layer("TimeDistributed", "a", layer=files.layer("Evil", "b")), "uses the layer 'Evil'"),
        (files.layer("Bidirectional", "a", layer=files.layer("Lambda", "b")), "is Python code"),
        (files.layer("RNN", "a", cell={"class_name": "MyCell", "config": {}, "name": "c"}), "uses the layer 'MyCell'"),
        (files.sequential(files.layer("Evil", "b")), "uses the layer 'Evil'"),
    ],
)
def test_classes_outside_the_list_are_refused_by_name(data, match):
    with pytest.raises(UnsupportedModelError, match=match):
        read_topology(files.sequential(files.layer("InputLayer", "x", batch_input_shape=[None, 3]), data))


@pytest.mark.parametrize(
    ("topology", "match"),
    [
        ({"model_config": "{"}, "not valid JSON"),
        ({"model_config": []}, "modelTopology must be an object"),
        ({"model_config": {}}, "has no class_name"),
        ({"class_name": "Dense", "config": {}}, "class 'Dense', not Sequential"),
        ({"class_name": "Sequential", "config": {"layers": {}}}, "layers must be a list"),
        ({"class_name": "Sequential", "config": {"layers": []}}, "has no layers"),
        ({"class_name": "Sequential", "config": {"layers": [7]}}, "A layer must be an object"),
        ({"class_name": "Functional", "config": {"layers": [], "input_layers": {}}}, "input_layers must be a list"),
        (graph(relu("y", [[["nowhere", 0, 0]]])), "'nowhere', which the model does not have"),
        (graph(relu("y", [[["x", 1, 0]]])), "call 1 of 'x'"),
        (graph(relu("y", [[["x", -1, 0]]])), "not \\[layer, call, output\\]"),
        (graph(relu("y", [["x", 0, 0]])), "not \\[layer, call, output\\]"),
        (graph(relu("y", [[]])), "called with no inputs"),
        (graph(relu("y", {"args": []})), "must be a list"),
        (graph(relu("y", [[["x", 0, 0, {"initial_state": [["x", 0, 0]]}]]])), "initial_state among its settings"),
        (graph(relu("y", [[["x", 0, 0]]]), relu("y", [[["x", 0, 0]]])), "two layers named 'y'"),
        (graph(relu("y", [[["x", 0, 0]]]), outputs=[["y", 5, 0]]), "call 5 of 'y'"),
        (graph(relu("y", [[["x", 0, 0]]]), outputs=[]), "no inputs or no outputs"),
        (files.functional([relu("y", [[["y", 0, 0]]])], ["y"], ["y"]), "'y' is not an InputLayer"),
        (graph(relu("", [[["x", 0, 0]]])), "has no name"),
        (graph(relu("n" * 600, [[["x", 0, 0]]])), "has no name of 1 to 512"),
        (files.sequential(files.layer("TimeDistributed", "t", layer=None)), "A layer must be an object"),
        (files.sequential(files.layer("RNN", "r", cell=[])), "cell must be a cell"),
        (files.sequential(files.layer("RNN", "r", cell=files.layer("Dense", "d"))), "cell must be a cell"),
        (files.sequential(files.layer("Bidirectional", "r", layer=files.layer("LSTMCell", "d"))), "layer must be"),
    ],
)
def test_damaged_configurations(topology, match):
    with pytest.raises(ModelFailedError, match=match):
        read_topology(topology)


def test_too_many_layers_fail_soon():
    many = [files.layer("ReLU", f"r{index}") for index in range(300_000)]
    started = time.monotonic()
    with pytest.raises(ModelFailedError, match=f"more than {MAX_LAYERS} layers"):
        read_topology(files.sequential(*many))
    assert time.monotonic() - started < 5


def test_too_many_inputs_of_layers():
    calls = [[["x", 0, 0]]] * 50_000
    with pytest.raises(ModelFailedError, match="inputs"):
        read_topology(graph(relu("y", calls)))


@pytest.mark.parametrize("wrap", ["model", "layer"])
def test_deep_nesting(wrap):
    inner = files.layer("ReLU", "r", batch_input_shape=[None, 3])
    for level in range(60):
        inner = (
            {**files.sequential(inner), "name": f"m{level}"}
            if wrap == "model"
            else files.layer("TimeDistributed", f"t{level}", layer=inner)
        )
    with pytest.raises(ModelFailedError, match="more than 16 deep"):
        read_topology(files.sequential(inner))


@pytest.mark.parametrize(
    ("config", "match"),
    [
        ({"batch_input_shape": None}, "must be a list of dimensions"),
        ({"batch_input_shape": []}, "at least the batch dimension"),
        ({"batch_input_shape": [None, "3"]}, "whole numbers"),
        ({"batch_input_shape": [None, 3], "dtype": "string"}, "dtype must be one of bool, float32, int32"),
        ({"batch_input_shape": [None, 3], "sparse": True}, "is sparse"),
    ],
)
def test_inputs_nobody_can_feed(config, match):
    model = read_topology(
        files.functional([files.layer("InputLayer", "x", [], **config), relu("y", [[["x", 0, 0]]])], ["x"], ["y"])
    )
    with pytest.raises(ModelFailedError, match=match):
        input_spec(model.layers["x"])


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(allow_nan=False) | st.sampled_from(["x", "y", "Dense"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["name", "class_name", "config", "layers", "layer", "cell"]), inner)
    ),
    max_leaves=12,
)


@given(replacement=_JSON, where=st.integers(0, 200))
def test_no_replacement_of_any_part_does_more_than_fail(replacement, where):
    topology = json.loads(json.dumps(graph(files.dense_model(), relu("y", [[["x", 0, 0]]]))))
    places = []

    def collect(value):
        children = list(value.items()) if isinstance(value, dict) else list(enumerate(value))
        for key, child in children:
            places.append((value, key))
            if isinstance(child, dict | list):
                collect(child)

    collect(topology)
    holder, key = places[where % len(places)]
    holder[key] = replacement
    with contextlib.suppress(ModelFailedError):
        read_topology(topology)


def units_of(layer):
    return layer.settings.whole("units")


LONG = "name\u202e" * 100_000


@pytest.mark.parametrize(
    "topology",
    [
        graph(relu("y", [[[LONG, 0, 0]]])),
        graph(relu("y", [[["x", 0, 0]]]), outputs=[LONG]),
        files.functional([INPUT], [LONG], ["x"]),
        files.sequential(files.layer("Dense", "y", units=LONG, batch_input_shape=[None, 3])),
        files.sequential(files.layer("Dense\u202e", "y")),
        files.sequential(files.layer("Dense", "y\u202e" * 50)),
    ],
)
def test_words_of_the_file_are_cut_short_and_printable_in_messages(topology):
    with pytest.raises(ModelFailedError) as caught:
        list(map(units_of, read_topology(topology).layers.values()))
    assert len(caught.value.message) < 400
    assert caught.value.message.isprintable()
    assert len(json.dumps(caught.value.details)) < 2000
