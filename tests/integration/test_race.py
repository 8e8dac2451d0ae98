"""Servers whose models are executed by whoever wins the race, really: what they say, what they load, what they keep."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path

import numpy as np
import psutil
import pytest
from native_server import RunningServer

import tensorhost

DEMO = Path(tensorhost.__file__).parent / "demo" / "models"

WITHOUT = """import sys
for name in {names!r}:
    sys.modules[name] = None
"""


@pytest.fixture(scope="module")
def network(tf, tmp_path_factory):
    """A model of a megabyte that TensorFlow serves slowest, and what it answers to a row of ones."""
    folder = tmp_path_factory.mktemp("race") / "network"
    module = tf.Module()
    rng = np.random.default_rng(0)
    module.first, module.second = (tf.Variable(rng.normal(size=(512, 512)).astype("float32") / 20) for _ in range(2))

    @tf.function(input_signature=[tf.TensorSpec((None, 512), tf.float32, name="x")])
    def serve(x):
        return {"y": tf.matmul(tf.nn.relu(tf.matmul(x, module.first)), module.second)}

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tf.saved_model.save(module, str(folder / "1"), signatures=serve)
    return folder, serve(tf.ones((1, 512)))["y"].numpy()


@pytest.fixture
def environment(tmp_path):
    """Of a server that keeps what it finds out in a folder of this test's."""
    return {"TENSORHOST_CACHE_DIR": str(tmp_path / "kept"), "TENSORHOST_CACHE_SIZE": "1GiB"}


def answers(server, expected):
    answer = server.request("POST", "/predict", {"modelName": "network", "inputs": [[1.0] * 512]})
    assert answer.status == 200, answer.body
    np.testing.assert_allclose(np.array(answer.json["predictions"]), expected, rtol=1e-4, atol=1e-5)


def described(server):
    [model] = server.request("GET", "/models").json["models"]
    return model


def maps(server):
    """Libraries that the process has mapped."""
    return {Path(mapped.path).name for mapped in psutil.Process(server.process.pid).memory_maps()}


def test_the_winner_serves_and_a_restart_races_no_more(network, environment):
    folder, expected = network
    with RunningServer(folder, TENSORHOST_RUNTIME="auto", **environment) as server:
        server.wait_for("ready")
        server.wait_for("racing runtimes", model="network/1")
        first = described(server)
        answers(server, expected)
        assert server.stop() == 0
    race = first["signatures"]["serving_default"]["race"]
    assert race["reference"] == "tensorflow"
    assert {each["runtime"] for each in race["candidates"]} == {"openvino", "litert", "onnxruntime"}
    compared = [each for each in race["candidates"] if each["comparedCalls"]]
    assert {each["runtime"] for each in compared} == {"openvino", "litert"}
    for each in compared:
        assert each["largestDifference"] <= 1e-4 * each["outputScale"]
        assert set(each["speedup"]) == {"1", "2", "4", "8", "16", "32"}
        assert each["serves"] != bool(each["reason"])
    with RunningServer(folder, TENSORHOST_RUNTIME="auto", **environment) as server:
        server.wait_for("tried before", model="network/1")
        server.wait_for("ready")
        again = described(server)
        answers(server, expected)
        assert not [record for record in server.records if record["event"] == "racing runtimes"]
        if "tensorflow" not in {served["runtime"] for served in race["served"]}:
            assert not [name for name in maps(server) if "libtensorflow" in name]
        assert server.stop() == 0
    assert again["signatures"]["serving_default"]["race"] == race


@pytest.mark.parametrize("runtime", ["openvino", "litert", "onnxruntime"])
def test_the_runtime_that_the_operator_names_serves_without_tensorflow_in_memory(network, environment, runtime):
    folder, expected = network
    with RunningServer(folder, TENSORHOST_RUNTIME=runtime, **environment) as server:
        server.wait_for("ready")
        assert described(server)["runtime"] == runtime
        answers(server, expected)
        assert not [name for name in maps(server) if "libtensorflow" in name]
        assert server.stop() == 0


def test_what_the_named_runtime_cannot_execute_is_not_served_and_why_is_told(environment):
    with RunningServer(DEMO / "langid", TENSORHOST_RUNTIME="openvino", **environment) as server:
        record = server.wait_for("load failed")
        assert "runtime = openvino cannot execute" in record["reason"]
        assert "text" in record["reason"]
        [unavailable] = server.request("GET", "/models").json["unavailable"]
        assert unavailable["error"]["attempts"] == 1
        assert server.stop() == 0


def test_a_model_says_itself_who_executes_it(network, environment, tmp_path):
    folder, expected = network
    root = tmp_path / "models"
    shutil.copytree(folder, root / "network")
    (root / "network" / "model.toml").write_text('runtime = "litert"\n[warmup.ranges]\nx = [0, 255]\n')
    with RunningServer(root, TENSORHOST_RUNTIME="native", **environment) as server:
        server.wait_for("ready")
        assert described(server)["runtime"] == "litert"
        answers(server, expected)
        assert server.stop() == 0


def test_a_damaged_compiled_form_is_no_reason_not_to_serve(network, environment, tmp_path):
    folder, expected = network
    with RunningServer(folder, TENSORHOST_RUNTIME="openvino", **environment) as server:
        server.wait_for("ready")
        assert server.stop() == 0
    [file] = (tmp_path / "kept").glob("*/openvino-0.xml")
    file.write_text("<nonsense/>")
    with RunningServer(folder, TENSORHOST_RUNTIME="openvino", TENSORHOST_LOAD_BACKOFF_S="0.1", **environment) as server:
        server.wait_for("tried before")
        server.wait_for("load failed")
        server.wait_for("racing runtimes")
        server.wait_for("available")
        answers(server, expected)
        assert server.stop() == 0


@pytest.fixture
def without(tmp_path):
    """An environment in which packages are not installed."""

    def make(*names):
        folder = tmp_path / "hidden"
        folder.mkdir()
        (folder / "sitecustomize.py").write_text(WITHOUT.format(names=names))
        return {"PYTHONPATH": str(folder)}

    return make


def test_openvino_serves_a_saved_model_where_tensorflow_is_not_installed(network, environment, without):
    folder, expected = network
    hidden = without("tensorflow", "ai_edge_litert", "keras")
    with RunningServer(folder, TENSORHOST_RUNTIME="auto", **environment, **hidden) as server:
        server.wait_for("ready")
        model = described(server)
        assert model["runtime"] == "openvino"
        assert "not compared" in model["signatures"]["serving_default"]["callPath"]
        assert model["inputs"] == [{"name": "x", "dtype": "float32", "shape": [None, 512]}]
        assert model["findings"] == []
        answers(server, expected)
        refused = server.request("POST", "/predict", {"modelName": "network", "inputs": [[1.0] * 3]})
        assert refused.status == 400
        assert server.stop() == 0


def test_a_format_that_nothing_installed_reads_is_refused_with_what_to_install(environment, without):
    hidden = without("tensorflow", "keras")
    with RunningServer(DEMO / "wine", TENSORHOST_RUNTIME="auto", **environment, **hidden) as server:
        record = server.wait_for("load failed")
        assert "pip install 'tensorhost[tensorflow]'" in record["reason"]
        assert server.stop() == 0
