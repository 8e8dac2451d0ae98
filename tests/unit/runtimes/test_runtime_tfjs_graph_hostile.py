"""Graph models made to harm: every one is a failed load with words for it, at once, and TensorFlow never sees it."""

from __future__ import annotations

import random
import time

import numpy as np
import pytest
from tfjs_graph_models import FLOAT, INT32, STRING, GraphModel, dense_model, node, tensor_info

from tensorhost.core.errors import ModelFailedError, TensorhostError, UnsupportedModelError
from tensorhost.runtimes.tfjs.graph_model import read_graph_model
from tensorhost.runtimes.tfjs.loader import load_tfjs
from tensorhost.runtimes.tfjs.model_json import read_model_json
from tensorhost.runtimes.tfjs.operations import ALLOWED


def refused(options, path, kind=ModelFailedError):
    started = time.perf_counter()
    with pytest.raises(kind) as caught:
        load_tfjs(path, options)
    assert time.perf_counter() - started < 30
    assert str(path.parent) not in caught.value.message
    assert "Traceback" not in caught.value.message
    return caught.value.message


def function(name, *nodes, ret="x"):
    arguments = [{"name": "x", "type": FLOAT}]
    results = [{"name": "r", "type": FLOAT}]
    return {
        "signature": {"name": name, "inputArg": arguments, "outputArg": results},
        "nodeDef": list(nodes),
        "ret": {"r": ret},
    }


def call(name, callee, source):
    return node(name, "PartitionedCall", source, Tin=[FLOAT], Tout=[FLOAT], f={"func": {"name": callee}})


def calling(callee, *functions):
    model = GraphModel()
    model.placeholder("x", FLOAT, 2)
    model.nodes.append(call("y", callee, "x"))
    model.document["modelTopology"]["library"] = {"function": list(functions)}
    model.sign({"x": tensor_info("x:0", FLOAT, 2)}, {"y": tensor_info("y:0", FLOAT, 2)})
    return model


def test_calls_of_functions_are_fine(options, tf, tmp_path):
    double = node("two", "AddV2", "x", "x", T=FLOAT)
    model = calling(
        "outer", function("outer", call("c", "inner", "x"), ret="c:output:0"), function("inner", double, ret="two:z:0")
    )
    runtime = load_tfjs(model.write(tmp_path), options)
    assert runtime.run("serving_default", {"x": np.float32([1, 2])})["y"].tolist() == [2, 4]
    runtime.close()


@pytest.mark.parametrize(
    "op", ["ReadFile", "WriteFile", "PyFunc", "HashTableFromFile", "SimpleMLLoadModelFromPathWithHandle", "Conv1D"]
)
def test_operations_outside_the_list_are_refused_by_name(options, tf, tmp_path, op):
    model = dense_model()
    model.nodes[-1]["input"][0] = "bad"
    model.add("bad", op, "x")
    message = refused(options, model.write(tmp_path / "graph"), UnsupportedModelError)
    assert f"uses {op}, which TensorFlow.js cannot execute" in message
    model = calling("f", function("f", node("bad", op, "x"), ret="bad:output:0"))
    assert op in refused(options, model.write(tmp_path / "function"), UnsupportedModelError)
    model = dense_model()
    model.document["modelInitializer"] = {
        "node": [
            node("table", "HashTableV2", key_dtype=STRING, value_dtype=STRING),
            node("bad", op),
            node("fill", "InitializeTableV2", "table", "bad", "bad", Tkey=STRING, Tval=STRING),
        ]
    }
    assert op in refused(options, model.write(tmp_path / "initializer"), UnsupportedModelError)


def test_a_function_of_the_same_name_does_not_make_an_operation_allowed(options, tf, tmp_path):
    model = dense_model()
    model.nodes[-1]["input"][0] = "bad"
    model.add("bad", "mine", "x")
    model.document["modelTopology"]["library"] = {"function": [function("mine")]}
    assert "uses mine" in refused(options, model.write(tmp_path))


def test_allowed_operations_keep_no_state_but_within_a_session(tf):
    """A TensorFlow in which another of them has state is one to look at anew."""
    from tensorflow.python.framework import op_def_registry

    definitions = {name: op_def_registry.get(name) for name in ALLOWED}
    own = {"DepthwiseConv2d", "FusedDepthwiseConv2dNative", "Prelu"}
    assert {name for name, definition in definitions.items() if definition is None} == own
    stateful = {name for name, definition in definitions.items() if definition is not None and definition.is_stateful}
    random_numbers = {"Multinomial", "RandomStandardNormal", "RandomUniform", "RandomUniformInt", "TruncatedNormal"}
    tables_and_arrays = {
        name for name in ALLOWED if name.startswith(("HashTable", "TensorArray", "LookupTable", "Init"))
    }
    assert stateful <= random_numbers | tables_and_arrays | {"If", "While", "Print", "StatefulPartitionedCall"}


def test_operations_that_nothing_depends_on_never_reach_tensorflow(tf, tmp_path):
    model = dense_model()
    model.add("bad", "ReadFile", "x")
    graph_def = read_graph_model(tf, read_model_json(model.write(tmp_path))).graph.graph_def
    assert {node.op for node in graph_def.node} <= ALLOWED


def test_what_only_tensorflow_acts_on_is_dropped(tf, tmp_path):
    model = dense_model()
    model.nodes[-1]["device"] = "/job:evil/device:CPU:0"
    model.nodes[-1]["attr"] |= {"_XlaMustCompile": {"b": True}, "_class": {"list": {"s": ["bG9jOkBnb25l"]}}}
    body = function("f", node("two", "AddV2", "x", "x", T=FLOAT, _kernel="evil"), ret="two:z:0")
    body["attr"] = {"_XlaMustCompile": {"b": True}}
    model.document["modelTopology"]["library"] = {"function": [body]}
    model.nodes.append(call("z", "f", "y"))
    model.document["signature"]["outputs"]["z"] = tensor_info("z:0", FLOAT, -1, 300)
    graph_def = read_graph_model(tf, read_model_json(model.write(tmp_path))).graph.graph_def
    assert not [node.device for node in graph_def.node if node.device]
    assert "Xla" not in str(graph_def)
    assert "_class" not in str(graph_def)
    assert "evil" not in str(graph_def)


def mutated(change):
    model = dense_model()
    change(model, model.document["modelTopology"])
    return model


def _set(entry, **values):
    entry.update(values)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda m, t: _set(t, node={"a": 1}), "modelTopology.node must be a list"),
        (lambda m, t: _set(t, node=[1]), "modelTopology.node[0] must be an object"),
        (lambda m, t: _set(t, node=[]), "has no output"),
        (lambda m, t: _set(t, library=[1]), "modelTopology.library must be an object"),
        (lambda m, t: _set(t, library={"function": [3]}), "library.function[0] must be an object"),
        (lambda m, t: _set(t, versions={"producer": "x"}), "modelTopology.versions is not as a graph has it"),
        (lambda m, t: _set(t["node"][3], name=7), "modelTopology.node[3] is not as a graph has it"),
        (lambda m, t: _set(t["node"][3], name=""), "node of the graph has no name"),
        (lambda m, t: _set(t["node"][3], name="x"), "node 'x' is in the graph 2 times"),
        (lambda m, t: _set(t["node"][3], input="x"), "modelTopology.node[3] is not as a graph has it"),
        (lambda m, t: _set(t["node"][3], input=["x", "kernel"]), "fuses BiasAdd + Relu with 2 inputs"),
        (lambda m, t: _set(t["node"][3], input=["x", "kernel", "gone"]), "'y' of the graph reads 'gone'"),
        (lambda m, t: _set(t["node"][3], input=["x", "kernel", "y"]), "'y' of the graph depends on itself"),
        (lambda m, t: _set(t["node"][3], attr=[1]), "node[3].attr must be an object"),
        (lambda m, t: _set(t["node"][3]["attr"], T="DT_FLOAT"), "attr.T must be an object"),
        (lambda m, t: _set(t["node"][3]["attr"], T={"type": [1]}), "node[3] is not as a graph has it"),
        (lambda m, t: _set(t["node"][3]["attr"], any={"list": {"s": ["?"]}}), "any must be a string in base64"),
        (lambda m, t: _set(t["node"][3]["attr"], message={"s": "a"}), "message must be a string in base64"),
        (lambda m, t: _set(t["node"][3]["attr"], message={"s": [300]}), "message must be a string in base64"),
        (lambda m, t: _set(t["node"][3]["attr"], message={"s": {}}), "message must be a string in base64"),
        (lambda m, t: _set(t["node"][1], name="other"), "reads 'kernel', which is not there"),
        (lambda m, t: m.weights.pop(0), "constant 'kernel' is not in the weights manifest"),
        (lambda m, t: _set(t["node"][1]["attr"], dtype={"type": INT32}), "'kernel' has another element type"),
        (lambda m, t: _set(t["node"][1]["attr"], dtype={"type": "DT_RESOURCE"}), "'kernel' has another element type"),
        (lambda m, t: _set(t["node"][1]["attr"], dtype={"type": 9999}), "'kernel' has another element type"),
        (lambda m, t: _set(m.document, modelInitializer=[1]), "modelInitializer must be an object"),
        (lambda m, t: _set(m.document, modelInitializer={"node": 1}), "modelInitializer.node must be a list"),
        (lambda m, t: _set(m.document, userDefinedMetadata=[1]), "userDefinedMetadata must be an object"),
    ],
)  # fmt: skip
def test_a_damaged_graph_is_refused_in_words(options, tf, tmp_path, change, words):
    assert words in refused(options, mutated(change).write(tmp_path))


@pytest.mark.parametrize(
    ("fused", "inputs"),
    [
        (["Relu"], 2),
        (["BiasAdd", "Tanh"], 3),
        (["BiasAdd", "Add"], 4),
        (["FusedBatchNorm"], 6),
        (["BiasAdd", "Prelu"], 3),
    ],
)
def test_fusions_that_tensorflow_js_refuses_are_refused(options, tf, tmp_path, fused, inputs):
    model = GraphModel()
    model.placeholder("x", FLOAT, 2, 2)
    model.const("c", np.ones((2, 2), np.float32))
    model.add("y", "_FusedMatMul", "x", *["c"] * (inputs - 1), T=FLOAT, fused_ops=fused)
    assert " + ".join(fused) in refused(options, model.write(tmp_path), UnsupportedModelError)


def test_a_longer_cycle_is_found(options, tf, tmp_path):
    model = dense_model()
    model.add("a", "AddV2", "y", "c", T=FLOAT)
    model.add("b", "Neg", "a", T=FLOAT)
    model.add("c", "Neg", "b", T=FLOAT)
    model.document["signature"]["outputs"]["c"] = tensor_info("c:0", FLOAT, -1, 300)
    assert "depends on itself" in refused(options, model.write(tmp_path))


def test_functions_that_call_each_other_for_ever_are_refused(options, tf, tmp_path):
    loop = [function("f", call("c", "g", "x"), ret="c:output:0"), function("g", call("c", "f", "x"), ret="c:output:0")]
    assert "calls itself" in refused(options, calling("f", *loop).write(tmp_path))
    own = function("f", call("c", "f", "x"), ret="c:output:0")
    assert "'f' of the graph calls itself" in refused(options, calling("f", own).write(tmp_path / "own"))


def test_functions_that_multiply_are_refused(options, tf, tmp_path):
    twice = [
        function(f"f{n}", call("a", f"f{n + 1}", "x"), call("b", f"f{n + 1}", "a:output:0"), ret="b:output:0")
        for n in range(60)
    ]
    assert "more than 1000000 nodes" in refused(options, calling("f0", *twice, function("f60")).write(tmp_path))


def test_functions_nested_too_deep_are_refused(options, tf, tmp_path):
    chain = [function(f"f{n}", call("a", f"f{n + 1}", "x"), ret="a:output:0") for n in range(300)]
    assert "more than 100 deep" in refused(options, calling("f0", *chain, function("f300")).write(tmp_path))


def test_a_function_that_is_missing_is_named(options, tf, tmp_path):
    assert "calls the function 'gone', which is not there" in refused(options, calling("gone").write(tmp_path))
    body = function("f", call("c", "gone", "x"), ret="c:output:0")
    assert "'gone'" in refused(options, calling("f", body).write(tmp_path / "inside"))


def test_a_function_that_reads_what_is_not_there(options, tf, tmp_path):
    body = function("f", node("n", "Neg", "gone:y:0", T=FLOAT), ret="n:y:0")
    assert "'n' of the function 'f' reads 'gone'" in refused(options, calling("f", body).write(tmp_path))


@pytest.mark.parametrize("ret", ["gone:y:0", "", "^x:y:0"])
def test_a_function_that_returns_what_is_not_there(options, tf, tmp_path, ret):
    message = refused(options, calling("f", function("f", ret=ret)).write(tmp_path))
    assert "Nothing in the function 'f' is its result 'r'" in message or ret.startswith("^")


def test_long_names_and_long_lists_of_operations_are_cut(options, tf, tmp_path):
    model = dense_model()
    model.nodes[-1]["input"] = [model.nodes[-1]["input"][0], *(f"bad{n}" for n in range(50))]
    for number in range(50):
        model.nodes.append(node(f"bad{number}", f"Op{number:02}" + "x\n" * 5000))
    assert len(refused(options, model.write(tmp_path), UnsupportedModelError)) < 4000


def test_shapes_that_do_not_fit_each_other(options, tf, tmp_path):
    model = dense_model()
    model.weights[0] = ("kernel", np.ones((5, 300), np.float32), None)
    assert "cannot be loaded" in refused(options, model.write(tmp_path))


def test_files_cut_short(options, tf, tmp_path):
    path = dense_model().write(tmp_path)
    shard = tmp_path / "group1-shard1of1.bin"
    shard.write_bytes(shard.read_bytes()[:-1])
    assert "has 5999 bytes; the manifest promises 6000" in refused(options, path)
    shard.unlink()
    assert "'group1-shard1of1.bin' is missing" in refused(options, path)


def test_random_damage_to_the_graph_raises_nothing_else(tf, tmp_path):
    """Read up to where TensorFlow would import it; what TensorFlow does with it is for the probe to find out."""
    model = calling("f", function("f", node("two", "AddV2", "x", "x", T=FLOAT), ret="two:z:0"))
    text = model.write(tmp_path).read_text()
    chance = random.Random(5)
    for _ in range(300):
        position = chance.randrange(len(text))
        damaged = text[:position] + chance.choice('01-"[]{},:e.xnt\\^') + text[position + 1 :]
        (tmp_path / "model.json").write_text(damaged)
        try:
            read_graph_model(tf, read_model_json(tmp_path / "model.json"))
        except TensorhostError:
            continue
