"""Frozen graphs in a file: what is fed and fetched, what is refused, and that nothing in the file is believed."""

from __future__ import annotations

import logging
import os

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tensorhost.core.dtypes import DType
from tensorhost.core.errors import (
    InvalidRequestError,
    MisconfiguredModelError,
    ModelFailedError,
    TensorhostError,
    UnsupportedModelError,
)
from tensorhost.runtimes import LoadOptions, ModelFormat, detect_format, load, missing_files
from tensorhost.runtimes.tensorflow import graph_def as graph_def_module
from tensorhost.runtimes.tensorflow.graph_def import load_graph_def

BEST = "frozen graph, single-threaded session, prepared callable"
KERNEL = np.random.default_rng(0).normal(size=(64, 5)).astype(np.float32)


def options_with(inputs=None, outputs=None):
    return LoadOptions(1, 1, graph_inputs=inputs or {}, graph_outputs=outputs or {})


def write_graph(tf, path, build):
    with tf.Graph().as_default() as graph:
        build()
    path.write_bytes(graph.as_graph_def().SerializeToString())
    return path


@pytest.fixture(scope="module")
def classifier(tf, tmp_path_factory):
    """A large constant, a scope named like a node, two outputs of which one is read, a placeholder with a default."""

    def build():
        x = tf.compat.v1.placeholder(tf.float32, [None, 64], name="net/image")
        unused = tf.compat.v1.placeholder(tf.float32, [None], name="labels")
        with tf.name_scope("net"):
            scale = tf.compat.v1.placeholder_with_default(1.0, [], name="scale")
            scores = tf.matmul(x, tf.constant(KERNEL, name="kernel")) * scale
            probabilities = tf.nn.softmax(scores, name="probabilities")
        tf.identity(probabilities, name="answer")
        tf.math.top_k(probabilities, 2, name="best")
        tf.no_op(name="nothing")
        del unused

    return write_graph(tf, tmp_path_factory.mktemp("graph") / "frozen.pb", build)


def softmax(x):
    scores = np.exp(x @ KERNEL)
    return scores / scores.sum(axis=1, keepdims=True)


X = np.random.default_rng(1).normal(size=(3, 64)).astype(np.float32) / 10


def test_inputs_and_outputs_are_found_by_looking(classifier, loaded, caplog):
    caplog.set_level(logging.INFO)
    runtime = loaded(classifier)
    assert list(runtime.signatures) == ["serving_default"]
    signature = runtime.signatures["serving_default"]
    assert {name: spec.shape for name, spec in signature.inputs.items()} == {"net/image": (None, 64)}
    assert {name: (spec.dtype, spec.shape) for name, spec in signature.outputs.items()} == {
        "answer": (DType.FLOAT32, (None, 5)),
        "best": (DType.FLOAT32, (None, 2)),
        "best:1": (DType.INT32, (None, 2)),
    }
    assert "found by looking at the graph" in caplog.text
    answer = runtime.run("serving_default", {"net/image": X})
    np.testing.assert_allclose(answer["answer"], softmax(X), rtol=1e-5)
    np.testing.assert_array_equal(answer["best:1"], np.argsort(-softmax(X))[:, :2])
    assert runtime.call_path("serving_default") == BEST
    assert runtime.weights_bytes >= KERNEL.nbytes


def test_inputs_and_outputs_go_by_their_public_names(classifier, loaded, caplog):
    caplog.set_level(logging.INFO)
    chosen = options_with({"image": "net/image:0", "scale": "net/scale"}, {"scores": "net/probabilities:0"})
    runtime = loaded(classifier, chosen)
    signature = runtime.signatures["serving_default"]
    assert list(signature.inputs) == ["image", "scale"]
    assert list(signature.outputs) == ["scores"]
    out = runtime.run("serving_default", {"image": X, "scale": np.float32(0).reshape(())})
    np.testing.assert_allclose(out["scores"], np.full((3, 5), 0.2), rtol=1e-6)
    assert "found by looking" not in caplog.text


def test_a_tensor_in_the_middle_may_be_fed(classifier, loaded):
    runtime = loaded(classifier, options_with({"p": "net/probabilities"}, {"answer": "answer"}))
    given_rows = np.float32([[1, 2, 3, 4, 5]])
    assert runtime.run("serving_default", {"p": given_rows})["answer"].tolist() == given_rows.tolist()


@pytest.mark.parametrize(
    ("inputs", "outputs", "message"),
    [
        ({"x": "net/imaeg:0"}, {}, "inputs names 'net/imaeg:0', which is not in the graph; names like it: 'net/image'"),
        ({"x": "image"}, {}, "names like it: 'net/image'"),
        ({}, {"y": "probabilities:0"}, "outputs names 'probabilities:0'.*names like it: 'net/probabilities'"),
        ({}, {"y": "answer:1"}, "outputs of 'answer': 1"),
        ({}, {"y": "zzzzzzzz"}, "names like it: none"),
        ({}, {"y": ""}, "is not in the graph"),
        ({}, {"y": ":0"}, "is not in the graph"),
        ({}, {"y": "answer:x"}, "is not in the graph"),
        ({"s": "net/scale"}, {"y": "answer"}, "the outputs depend on 'net/image' too"),
    ],
)
def test_names_that_do_not_fit_the_graph_are_explained(classifier, inputs, outputs, message):
    with pytest.raises(MisconfiguredModelError, match=message):
        load(classifier, options_with(inputs, outputs))


def test_an_element_type_no_request_can_carry_is_refused(tf, tmp_path, options):
    def build():
        tf.quantization.quantize(tf.compat.v1.placeholder(tf.float32, [2], name="x"), 0.0, 1.0, tf.qint8, name="q")

    path = write_graph(tf, tmp_path / "q.pb", build)
    with pytest.raises(MisconfiguredModelError, match="output 'y' has the element type qint8"):
        load(path, options_with(outputs={"y": "q"}))
    assert list(load(path, options).signatures["serving_default"].outputs) == ["q:1", "q:2"]


def test_a_graph_with_variables_is_not_frozen(tf, tmp_path, options):
    def build():
        x = tf.compat.v1.placeholder(tf.float32, [None], name="x")
        tf.identity(x * tf.compat.v1.get_variable("weight", initializer=1.0), name="y")

    path = write_graph(tf, tmp_path / "v.pb", build)
    with pytest.raises(UnsupportedModelError, match="not frozen: it has 1 variables, such as 'weight'"):
        load(path, options)


def test_variables_that_nothing_needs_do_not_matter(tf, tmp_path, loaded):
    def build():
        tf.identity(tf.compat.v1.placeholder(tf.float32, [None], name="x"), name="y")
        tf.compat.v1.get_variable("step", initializer=0, use_resource=True)

    runtime = loaded(write_graph(tf, tmp_path / "v.pb", build), options_with({"x": "x"}, {"y": "y"}))
    assert runtime.run("serving_default", {"x": np.float32([4])})["y"].tolist() == [4.0]


def test_tables_are_filled(tf, tmp_path, loaded):
    def build():
        words = tf.compat.v1.placeholder(tf.string, [None], name="words")
        entries = tf.lookup.KeyValueTensorInitializer(tf.constant(["a", "b"]), tf.constant([5, 6], tf.int64))
        tf.identity(tf.lookup.StaticHashTable(entries, -1).lookup(words), name="ids")

    runtime = loaded(write_graph(tf, tmp_path / "t.pb", build))
    out = runtime.run("serving_default", {"words": np.array([b"b", b"?"], object)})
    assert out["ids"].tolist() == [6, -1]


def test_a_kernel_of_one_by_one_is_safe_beside_a_pad(tf, tmp_path, loaded):
    """TensorFlow 2.21 crashes the process on this graph; the kernel is large enough to be kept apart."""
    kernel = np.random.default_rng(0).normal(size=(1, 1, 24, 28)).astype(np.float32)
    x = np.random.default_rng(1).normal(size=(1, 8, 8, 24)).astype(np.float32)

    def build():
        image = tf.compat.v1.placeholder(tf.float32, [None, 8, 8, 24], name="x")
        y = tf.nn.bias_add(tf.nn.conv2d(image, tf.constant(kernel), 1, "VALID"), tf.constant(np.zeros(28, np.float32)))
        tf.identity(y + tf.pad(image, [[0, 0], [0, 0], [0, 0], [0, 4]]), name="y")

    runtime = loaded(write_graph(tf, tmp_path / "c.pb", build))
    expected = x @ kernel[0, 0] + np.pad(x, [(0, 0), (0, 0), (0, 0), (0, 4)])
    np.testing.assert_allclose(runtime.run("serving_default", {"x": x})["y"], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64", "int8", "int64", "uint8", "bool", "complex64"])
def test_large_constants_of_every_element_type(tf, tmp_path, loaded, dtype):
    values = np.arange(4096).reshape(2, 2048).astype(DType(dtype).numpy)

    def build():
        index = tf.compat.v1.placeholder(tf.int32, [None], name="index")
        tf.gather(tf.constant(values), index, axis=1, name="y")

    runtime = loaded(write_graph(tf, tmp_path / "d.pb", build))
    out = runtime.run("serving_default", {"index": np.int32([7, 2047])})["y"]
    np.testing.assert_array_equal(out, values[:, [7, 2047]])


def test_a_constant_inside_a_scope_that_is_a_node(tf, tmp_path, loaded):
    def build():
        x = tf.compat.v1.placeholder(tf.float32, [None, 64], name="part")
        tf.matmul(x, tf.constant(KERNEL, name="part/kernel"), name="y")

    runtime = loaded(write_graph(tf, tmp_path / "s.pb", build))
    np.testing.assert_allclose(runtime.run("serving_default", {"part": X})["y"], X @ KERNEL, rtol=1e-5, atol=1e-6)


def test_functions_and_control_flow(tf, tmp_path, loaded):
    def build():
        x = tf.compat.v1.placeholder(tf.float32, [None], name="x")
        tf.identity(tf.while_loop(lambda i, _: i < 3, lambda i, v: (i + 1, v * 2.0), (0, x))[1], name="y")

    runtime = loaded(write_graph(tf, tmp_path / "f.pb", build))
    assert runtime.run("serving_default", {"x": np.float32([1, 2])})["y"].tolist() == [8.0, 16.0]
    assert runtime.call_path("serving_default") == BEST


def test_a_refused_value_blames_the_request(tf, tmp_path, loaded):
    def build():
        tf.gather(tf.constant([1.0, 2.0]), tf.compat.v1.placeholder(tf.int32, [None], name="i"), name="y")

    runtime = loaded(write_graph(tf, tmp_path / "g.pb", build))
    with pytest.raises(InvalidRequestError, match="= 9 is not in"):
        runtime.run("serving_default", {"i": np.int32([9])})


def test_an_unknown_operation_is_named_with_its_package(tf, tmp_path, options):
    graph = tf.compat.v1.GraphDef()
    graph.node.add(name="x", op="Placeholder").attr["dtype"].type = 7
    graph.node.add(name="y", op="NormalizeUTF8", input=["x"])
    (tmp_path / "m.pb").write_bytes(graph.SerializeToString())
    with pytest.raises(UnsupportedModelError, match=r"operation NormalizeUTF8,.*--import tensorflow_text") as caught:
        load(tmp_path / "m.pb", options)
    assert caught.value.details == {"operations": ["NormalizeUTF8"], "packages": ["tensorflow_text"]}


def test_a_graph_without_outputs(tf, tmp_path, options):
    path = write_graph(tf, tmp_path / "n.pb", lambda: tf.compat.v1.placeholder(tf.float32, [None], name="x"))
    with pytest.raises(ModelFailedError, match="no output"):
        load(path, options)


@pytest.mark.parametrize("kept", [0, 1, 3, 20, -1, -40])
def test_a_cut_file_fails_cleanly(classifier, tmp_path, options, kept):
    path = tmp_path / "cut.pb"
    path.write_bytes(classifier.read_bytes()[:kept])
    if kept:
        assert missing_files(path, ModelFormat.GRAPH_DEF) == ["cut.pb (cut short)"]
    with pytest.raises(ModelFailedError) as caught:
        load_graph_def(path, options)
    assert str(tmp_path) not in caught.value.message


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x0a\x00", "no TensorFlow graph"),
        (b"\x0a\x05\x0a\x01x\x12\x00", "no TensorFlow graph"),
        (b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "damaged"),
        (b"\x0a\xff\xff\xff\xff\x07x", "damaged"),
        (b"\x0a\x02\xff\xff", "damaged"),
        (b"\x0b\x0c", "damaged"),
        (b"\x0a\x06\x0a\x01x\x12\x01y" * 2, "two nodes have the same name"),
    ],
)
def test_what_is_no_graph_is_refused(tmp_path, options, content, message):
    (tmp_path / "x.pb").write_bytes(content)
    with pytest.raises(ModelFailedError, match=message):
        load_graph_def(tmp_path / "x.pb", options)


def test_a_file_over_two_gigabytes_is_refused_unread(tmp_path, options):
    path = tmp_path / "huge.pb"
    with path.open("wb") as file:
        file.write(b"\x0a")
        os.truncate(path, 2**31 + 5)
    with pytest.raises(UnsupportedModelError, match="larger than 2 GB"):
        load(path, options)


def test_a_sparse_file_that_claims_a_huge_node_is_refused(tmp_path, options):
    path = tmp_path / "m.pb"
    path.write_bytes(b"\x0a\xf0\xff\xff\xff\x07")
    with pytest.raises(ModelFailedError, match="cut short"):
        load_graph_def(path, options)


@pytest.mark.parametrize("which", [min, max], ids=["smallest", "largest"])
def test_a_constant_without_an_element_type_is_refused(tf, classifier, tmp_path, options, which):
    graph_def = tf.compat.v1.GraphDef.FromString(classifier.read_bytes())
    constant = which((node for node in graph_def.node if node.op == "Const"), key=lambda node: node.ByteSize())
    constant.attr["value"].tensor.dtype = 0
    path = tmp_path / "m.pb"
    path.write_bytes(graph_def.SerializeToString())
    with pytest.raises(ModelFailedError):
        load_graph_def(path, options)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_flipped_byte_never_breaks_out(classifier, tmp_path, options, data):
    content = bytearray(classifier.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "flipped.pb"
    path.write_bytes(content)
    said = ""
    try:
        load_graph_def(path, options).close()
    except TensorhostError as error:
        said = error.message
    assert str(tmp_path) not in said


def test_the_format_is_told_by_first_byte_and_suffix(classifier, tmp_path):
    assert detect_format(classifier) is ModelFormat.GRAPH_DEF
    assert detect_format(classifier.parent) is ModelFormat.GRAPH_DEF
    assert missing_files(classifier, ModelFormat.GRAPH_DEF) == []
    (tmp_path / "other.bin").write_bytes(classifier.read_bytes())
    (tmp_path / "onnx.pb").write_bytes(b"\x08\x07\x12\x00")
    assert detect_format(tmp_path / "other.bin") is None
    assert detect_format(tmp_path / "onnx.pb") is None


def test_what_nothing_needs_is_not_held(tf, tmp_path, loaded, monkeypatch):
    def build():
        x = tf.compat.v1.placeholder(tf.float32, [None], name="x")
        tf.identity(x, name="y")
        tf.identity(tf.constant(np.zeros(10_000, np.float32)), name="other")

    kept = []
    real = graph_def_module.load_frozen
    monkeypatch.setattr(graph_def_module, "load_frozen", lambda tf, model, o: kept.append(model) or real(tf, model, o))
    runtime = loaded(write_graph(tf, tmp_path / "k.pb", build), options_with(outputs={"y": "y"}))
    assert kept[0].graph.weights == {}
    assert {node.name for node in kept[0].graph.graph_def.node} == {"x", "y"}
    assert runtime.weights_bytes == 0
