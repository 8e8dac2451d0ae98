from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from tfjs_graph_models import FLOAT, INT32, INT64, STRING, GraphModel, dense_model, node, tensor_info

from tensorhost.core.dtypes import DType
from tensorhost.core.errors import ModelFailedError, RuntimeMissingError
from tensorhost.core.signatures import DEFAULT_SIGNATURE
from tensorhost.runtimes.tensorflow import process as tensorflow_process
from tensorhost.runtimes.tfjs.graph_model import read_graph_model
from tensorhost.runtimes.tfjs.loader import load_tfjs
from tensorhost.runtimes.tfjs.model_json import read_model_json

X = np.array([[1, -2, 3, 0.5]], np.float32)


@pytest.fixture
def loaded(tf, options, tmp_path):
    """Loads a model and closes it after the test."""
    runtimes = []

    def load(model, name="model"):
        runtimes.append(load_tfjs(model.write(tmp_path / name), options))
        return runtimes[-1]

    yield load
    for runtime in runtimes:
        runtime.close()


def run(runtime, **inputs):
    return runtime.run(DEFAULT_SIGNATURE, inputs)


def signature(runtime):
    return runtime.signatures[DEFAULT_SIGNATURE]


def shapes(specs):
    return {name: (spec.dtype, spec.shape) for name, spec in specs.items()}


def scaled(*, sign=True):
    """``y = 2 x``, with ``half = y / 4`` beside it."""
    model = GraphModel()
    model.placeholder("x", FLOAT, -1, 4)
    model.const("two", np.float32(2))
    model.const("four", np.float32(4))
    model.add("y", "Mul", "x", "two", T=FLOAT)
    model.add("half", "RealDiv", "y", "four", T=FLOAT)
    if sign:
        model.sign({"x": tensor_info("x:0", FLOAT, -1, 4)}, {"y": tensor_info("y:0", FLOAT, -1, 4)})
    return model


def test_a_model_answers(loaded):
    model = dense_model()
    runtime = loaded(model)
    kernel, bias = (array for _, array, _ in model.weights)
    np.testing.assert_allclose(run(runtime, x=X)["y"], np.maximum(X @ kernel + bias, 0), rtol=1e-5, atol=1e-6)
    assert shapes(signature(runtime).inputs) == {"x": (DType.FLOAT32, (None, 4))}
    assert shapes(signature(runtime).outputs) == {"y": (DType.FLOAT32, (None, 300))}
    assert signature(runtime).may_batch
    assert runtime.weights_bytes == 5 * 300 * 4
    assert runtime.name == "tensorflow"
    assert runtime.call_path(DEFAULT_SIGNATURE) == "frozen graph, single-threaded session, prepared callable"


def test_large_weights_stay_out_of_the_protocol_buffer(tf, tmp_path):
    frozen = read_graph_model(tf, read_model_json(dense_model().write(tmp_path))).graph
    assert set(frozen.weights) == {"kernel", "bias"}
    assert "kernel" not in {node.name for node in frozen.graph_def.node}
    assert frozen.graph_def.ByteSize() < 1000


def test_a_weight_in_the_scope_of_a_node_does_not_take_its_name(loaded):
    model = dense_model()
    for entry in model.nodes:
        entry["name"] = entry["name"].replace("kernel", "y/kernel")
        entry["input"] = [source.replace("kernel", "y/kernel") for source in entry.get("input", [])]
    model.weights[0] = ("y/kernel", *model.weights[0][1:])
    assert run(loaded(model), x=X)["y"].shape == (1, 300)


def test_pointwise_convolutions_that_crash_tensorflow_are_padded(tf, tmp_path):
    model = GraphModel()
    model.placeholder("x", FLOAT, 1, 64, 64, 24)
    model.const("kernel", np.ones((1, 1, 24, 28), np.float32))
    model.const("bias", np.ones(28, np.float32))
    options = {"T": FLOAT, "strides": [1, 1, 1, 1], "padding": "VALID", "fused_ops": ["BiasAdd"], "num_args": 1}
    model.add("y", "_FusedConv2D", "x", "kernel", "bias", **options)
    graph_def = read_graph_model(tf, read_model_json(model.write(tmp_path))).graph.graph_def
    assert [node.attr["padding"].s for node in graph_def.node if node.op == "Conv2D"] == [b"SAME"]


def test_weights_that_no_answer_needs_are_not_counted(loaded):
    model = scaled()
    model.const("left_over", np.zeros(1000, np.float32))
    assert loaded(model).weights_bytes == 4


def test_what_old_converters_left_out_is_made_up_for(loaded):
    model = dense_model()
    model.document["modelTopology"] = {"node": model.nodes, "library": None}
    fused = model.nodes[-1]["attr"]["fused_ops"]["list"]["s"]
    fused[:] = [list(b"BiasAdd"), fused[1].rstrip("=")]
    del model.nodes[-1]["attr"]["T"], model.nodes[1]["attr"]["dtype"]
    np.testing.assert_array_equal(run(loaded(model), x=X)["y"], run(loaded(dense_model(), "whole"), x=X)["y"])


def test_dilations_in_the_order_of_old_converters_are_put_right(tf, tmp_path):
    model = GraphModel()
    model.placeholder("x", FLOAT, 1, 9, 9, 1)
    model.const("kernel", np.ones((2, 2, 1, 1), np.float32))
    options = {"T": FLOAT, "strides": [1, 1, 1, 1], "padding": "SAME"}
    model.add("old", "Conv2D", "x", "kernel", **options, dilations=[3, 2, 1, 1])
    model.add("new", "DepthwiseConv2dNative", "x", "kernel", **options, dilations=[1, 2, 3, 1])
    graph_def = read_graph_model(tf, read_model_json(model.write(tmp_path))).graph.graph_def
    dilations = {node.name: list(node.attr["dilations"].list.i) for node in graph_def.node if "dilations" in node.attr}
    assert dilations == {"old": [1, 3, 2, 1], "new": [1, 2, 3, 1]}


def test_the_last_node_of_an_expanded_operation_keeps_name_and_control_inputs(tf, tmp_path):
    model = dense_model()
    model.add("y_MatMul", "Neg", "x", T=FLOAT)
    model.nodes[3]["input"].append("^y_MatMul")
    graph_def = read_graph_model(tf, read_model_json(model.write(tmp_path))).graph.graph_def
    nodes = {node.name: (node.op, list(node.input)) for node in graph_def.node}
    assert nodes["y"] == ("Relu", ["y_BiasAdd", "^y_MatMul"])
    assert nodes["y_BiasAdd"] == ("BiasAdd", ["y_MatMul_1", "bias"])
    assert nodes["y_MatMul_1"] == ("MatMul", ["x", "kernel"])


class TestSignatures:
    def test_names_lose_their_number_where_they_stay_distinct(self, loaded):
        model = scaled()
        y = tensor_info("y:0", FLOAT, -1, 4)
        model.sign({"x:0": tensor_info("x:0", FLOAT, -1, 4)}, {"y:0": y, "y": tensor_info("half:0", FLOAT, -1, 4)})
        runtime = loaded(model)
        assert list(signature(runtime).inputs) == ["x"]
        assert list(signature(runtime).outputs) == ["y:0", "y"]
        answer = run(runtime, x=X)
        np.testing.assert_allclose(answer["y:0"], X * 2)
        np.testing.assert_allclose(answer["y"], X / 2)

    def test_the_metadata_has_the_last_word(self, loaded):
        model = scaled()
        inputs = model.document["signature"]["inputs"]
        outputs = {"z": tensor_info("half:0", FLOAT, -1, 4), "y": tensor_info("y:0", FLOAT, -1, 4)}
        model.document["userDefinedMetadata"] = {"signature": {"inputs": inputs, "outputs": outputs}}
        assert list(signature(loaded(model)).outputs) == ["z", "y"]

    @pytest.mark.parametrize(
        ("keys", "names"),
        [(["b", "a"], ["b", "a"]), (["b"], ["y", "z"]), (["b", "b"], ["y", "z"]), ("ba", ["y", "z"])],
    )
    def test_structured_keys_name_the_outputs_if_they_fit(self, loaded, keys, names):
        model = scaled()
        model.document["signature"]["outputs"]["z"] = tensor_info("half:0", FLOAT, -1, 4)
        model.document["userDefinedMetadata"] = {"structuredOutputKeys": keys}
        assert list(signature(loaded(model)).outputs) == names

    @pytest.mark.parametrize("told", [None, {}, {"inputs": {}, "outputs": {}}])
    def test_without_one_placeholders_and_unread_nodes_are_taken(self, loaded, told):
        model = scaled(sign=False)
        model.const("index", np.int64(1))
        model.add("unread", "ArgMax", "x", "index", T=FLOAT, Tidx=INT64, output_type=INT64)
        model.add("waits", "NoOp", "^half")
        model.const("unread_constant", np.float32(1))
        if told is not None:
            model.document["signature"] = told
        runtime = loaded(model)
        assert shapes(signature(runtime).inputs) == {"x": (DType.FLOAT32, (None, 4))}
        assert shapes(signature(runtime).outputs) == {
            "half": (DType.FLOAT32, (None, 4)),
            "unread": (DType.INT64, (None,)),
        }
        assert run(runtime, x=X)["unread"].tolist() == [2]

    def test_the_graph_completes_what_the_signature_leaves_open(self, loaded):
        model = scaled()
        model.sign({"x": {"name": "x:0"}}, {"y": {"name": "y"}})
        runtime = loaded(model)
        assert shapes(signature(runtime).inputs) == {"x": (DType.FLOAT32, (None, 4))}
        assert shapes(signature(runtime).outputs) == {"y": (DType.FLOAT32, (None, 4))}

    @pytest.mark.parametrize(
        ("own", "told", "expected"),
        [
            ({"shape": {"dim": [{"size": "-1"}, {"size": "4"}]}}, (2, -1), (2, 4)),
            ({"shape": {"unknownRank": True}}, (-1, 4), (None, 4)),
            ({"shape": {"dim": [{"size": "1"}, {"size": "4"}]}}, (-1, 4), (1, 4)),
            ({"shape": {"dim": [{"size": "-1"}, {"size": "4"}]}}, (4,), (None, 4)),
            (None, (-1, 4), (None, 4)),
        ],
    )
    def test_an_input_has_the_shape_of_its_placeholder(self, loaded, own, told, expected):
        model = scaled()
        model.nodes[0]["attr"].pop("shape")
        if own is not None:
            model.nodes[0]["attr"]["shape"] = own
        model.sign({"x": tensor_info("x:0", FLOAT, *told)}, {"y": tensor_info("y:0", FLOAT, -1, 4)})
        assert signature(loaded(model)).inputs["x"].shape == expected

    def test_an_input_has_the_type_of_its_placeholder(self, loaded):
        model = GraphModel()
        model.placeholder("n", INT64, -1)
        model.const("one", np.int64(2**31 - 1))
        model.add("y", "AddV2", "n", "one", T=INT64)
        model.sign({"n": tensor_info("n:0", INT32, -1)}, {"y": tensor_info("y:0", INT64, -1)})
        runtime = loaded(model)
        assert run(runtime, n=np.array([1]))["y"].tolist() == [2**31]

    def test_entries_that_were_pruned_away_are_left_out(self, loaded):
        model = scaled()
        model.document["signature"]["inputs"]["gone"] = tensor_info("gone:0", FLOAT, 1)
        model.document["signature"]["outputs"]["lost"] = tensor_info("lost:0", FLOAT, 1)
        runtime = loaded(model)
        assert (list(signature(runtime).inputs), list(signature(runtime).outputs)) == (["x"], ["y"])

    def test_an_input_with_a_default_need_not_be_listed(self, loaded):
        model = scaled()
        model.add("factor", "PlaceholderWithDefault", "two", dtype=FLOAT, shape={"shape": {}})
        model.nodes[3]["input"] = ["x", "factor"]
        runtime = loaded(model)
        np.testing.assert_allclose(run(runtime, x=X)["y"], 2 * X)

    @pytest.mark.parametrize(
        ("inputs", "outputs", "words"),
        [
            ({"k": tensor_info("two:0", FLOAT)}, {"y": tensor_info("y:0", FLOAT)}, "'k' is not a placeholder"),
            ({"x": 1}, {}, "signature.inputs.x must be an object"),
            ([], {"y": 1}, "signature.inputs must be an object"),
            ({"x": {"name": 3}}, {}, "'x' names no tensor"),
            (
                {"x": tensor_info("x:0", FLOAT) | {"tensorShape": {"dim": 1}}},
                {},
                "x.tensorShape is not as a graph has it",
            ),
        ],
    )
    def test_a_damaged_one_is_refused(self, loaded, inputs, outputs, words):
        model = scaled()
        model.document["signature"] = {"inputs": inputs or [1], "outputs": outputs}
        with pytest.raises(ModelFailedError, match=words.replace(".", r"\.")):
            loaded(model)

    def test_an_input_that_is_needed_must_be_listed(self, loaded):
        model = scaled()
        model.placeholder("rate", FLOAT)
        model.nodes[3]["input"] = ["x", "rate"]
        with pytest.raises(ModelFailedError, match="needs the input 'rate', which its signature does not list"):
            loaded(model)

    def test_an_output_no_request_can_carry_is_refused(self, loaded):
        model = scaled()
        model.const("shape", np.array([4], np.int32))
        model.add("list", "TensorListFromTensor", "x", "shape", element_dtype=FLOAT, shape_type=INT32)
        model.document["signature"]["outputs"]["list"] = {"name": "list:0"}
        with pytest.raises(ModelFailedError, match="'list' has an element type that no request can carry"):
            loaded(model)

    def test_a_graph_without_answers_is_refused(self, loaded):
        model = GraphModel()
        model.placeholder("x", FLOAT)
        with pytest.raises(ModelFailedError, match="has no output"):
            loaded(model)


def table_model(values):
    model = GraphModel()
    model.placeholder("words", STRING, -1)
    attributes = {"key_dtype": STRING, "value_dtype": INT32, "shared_name": "same"}
    model.add("table", "HashTableV2", **attributes)
    model.const("unknown", np.int32(-1))
    model.add("ids", "LookupTableFindV2", "table", "words", "unknown", Tin=STRING, Tout=INT32)
    model.document["modelInitializer"] = {
        "node": [
            model.constant_node("keys", np.array([b"a", b"b"], object)),
            model.constant_node("numbers", np.array(values, np.int32)),
            node("table", "HashTableV2", **attributes),
            node("fill", "LookupTableImportV2", "table", "keys", "numbers", Tin=STRING, Tout=INT32),
        ]
    }
    model.sign({"words": tensor_info("words:0", STRING, -1)}, {"ids": tensor_info("ids:0", INT32, -1)})
    return model


WORDS = np.array([b"b", b"?", b"a"], object)


def test_tables_of_two_models_never_meet(loaded):
    first, second = loaded(table_model([1, 2]), "first"), loaded(table_model([3, 4]), "second")
    assert run(first, words=WORDS)["ids"].tolist() == [2, -1, 1]
    assert run(second, words=WORDS)["ids"].tolist() == [4, -1, 3]


def test_a_table_that_cannot_be_filled_fails_the_load(loaded):
    with pytest.raises(ModelFailedError):
        loaded(table_model([1, 2, 3]))


def test_a_captured_table_that_nobody_makes_is_refused(loaded):
    model = table_model([1, 2])
    model.placeholder("handle", "DT_RESOURCE")
    model.document["signature"]["inputs"]["handle"] = {"name": "handle:0", "resourceId": 5}
    with pytest.raises(ModelFailedError, match="'handle' is a resource that modelInitializer does not make"):
        loaded(model)


def test_printing_nodes_print_nothing(loaded, capfd):
    model = scaled()
    model.add("shown", "Print", "y", "x", T=FLOAT, U=[FLOAT], message="secret")
    model.document["signature"]["outputs"]["y"]["name"] = "shown:0"
    runtime = loaded(model)
    np.testing.assert_allclose(run(runtime, x=X)["y"], 2 * X)
    assert "secret" not in "".join(capfd.readouterr())


def test_a_layers_model_goes_to_the_layers_loader(tf, options, tmp_path, monkeypatch):
    from tensorhost.runtimes.tfjs import loader

    monkeypatch.setattr(loader, "load_layers_model", lambda model, options: (model.topology, options))
    document = {"modelTopology": {"class_name": "Sequential"}, "weightsManifest": []}
    (tmp_path / "model.json").write_text(json.dumps(document))
    assert load_tfjs(tmp_path / "model.json", options) == (document["modelTopology"], options)


def test_without_tensorflow_the_extra_is_named(tmp_path, options, monkeypatch):
    monkeypatch.setattr(tensorflow_process.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(tensorflow_process, "_prepared", tensorflow_process.threading.Event())
    with pytest.raises(RuntimeMissingError, match=r"tensorhost\[tensorflow\]"):
        load_tfjs(dense_model().write(tmp_path), options)


def test_graph_models_do_without_keras(tmp_path):
    path = dense_model().write(tmp_path)
    program = f"""
import sys
from pathlib import Path
from tensorhost.runtimes import LoadOptions, load
load(Path({str(path)!r}), LoadOptions(1, 1))
sys.exit("keras" in sys.modules)
"""
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, timeout=60)
