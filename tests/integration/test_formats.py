"""A server over a repository with a good and a broken model of every format."""

from __future__ import annotations

import re
import shutil
import tempfile
import warnings

import numpy as np
import pytest
from format_models import double_shard, write_repository, write_tflite
from lifecycle_models import place
from native_server import RunningServer

INDISCREET = re.compile(
    re.escape(tempfile.gettempdir()) + r"|Traceback|\n|<class | object at 0x|\b[A-Z][A-Za-z]*(?:Error|Exception)\b"
)
OPTIONS = ("--load-attempts", 1, "--settle-s", 0, "--drain-window-s", 0, "--poll-interval-s", 0.2, "--load-threads", 2)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("formats") / "models"


@pytest.fixture(scope="module")
def served(tf, root):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import keras

        root.mkdir()
        return write_repository(tf, keras, root)


@pytest.fixture(scope="module")
def server(root, served):
    with RunningServer(root, *OPTIONS, WARMUP_ITERATIONS="1") as running:
        running.wait_for("ready")
        yield running
        assert running.process.poll() is None, "the server died"
        assert running.stop() == 0
        running.wait_for("stopped")


def ask(server, name, model):
    """The outputs of a prediction over HTTP, by name."""
    inputs = {key: array.tolist() for key, array in model.inputs.items()}
    answer = server.predict(name, inputs)["predictions"]
    return answer if len(model.outputs) > 1 else {next(iter(model.outputs)): answer}


def assert_answers(server, name, model, factor=1.0):
    answer = ask(server, name, model)
    assert answer.keys() == model.outputs.keys()
    for output, expected in model.outputs.items():
        np.testing.assert_allclose(answer[output], expected * factor, rtol=1e-4, atol=1e-5)


def test_every_format_answers_over_http(server, served):
    for name, model in served.items():
        assert_answers(server, name, model)


def test_every_format_is_described(server, served):
    for name, model in served.items():
        facts = server.get(f"/models/{name}").json
        assert (facts["format"], facts["runtime"], facts["state"]) == (model.format, model.runtime, "AVAILABLE")
        signature = facts["signatures"]["serving_default"]
        assert {spec["name"] for spec in signature["inputs"]} == model.inputs.keys()
        assert [spec["name"] for spec in signature["outputs"]] == list(model.outputs)
        assert all(spec["dtype"] in ("float32", "int32") and spec["shape"][0] is None for spec in signature["inputs"])
        assert signature["callPath"]
        assert facts["findings"] == []
        assert facts["warmupComplete"]
        assert facts["weightsBytes"] > 0


def test_rows_are_batched_where_they_are_independent(server, served):
    for name in served:
        batching = server.get(f"/models/{name}").json["signatures"]["serving_default"]["batching"]
        assert batching["batched"], (name, batching)


def test_broken_models_are_listed_with_their_reason(server, served):
    listed = {entry["name"]: entry for entry in server.get("/models").json["unavailable"]}
    assert set(listed) == {f"broken_{name}" for name in [*served, "endless"]}
    for name, entry in listed.items():
        error = entry["error"]
        assert error["code"] in ("MODEL_FAILED", "MODEL_NOT_READY"), entry
        assert error["message"], name
        assert not INDISCREET.search(error["message"]), error
        assert server.refuse(name, [0.0])["code"] == "MODEL_NOT_READY"


def test_a_new_version_of_a_tflite_model_takes_over(server, served, root, tmp_path):
    name, model = "reloaded_tflite", served["tflite"]
    assert_answers(server, name, model)
    write_tflite(tmp_path / "2" / "model.tflite", 10.0)
    place(tmp_path / "2", root / name / "2")
    server.wait_for("available", model=f"{name}/2")
    server.wait_for("unloaded", model=f"{name}/1")
    assert_answers(server, name, model, factor=5.0)
    (root / name / "2").rename(tmp_path / "away")
    server.wait_for("unloaded", model=f"{name}/2")
    assert_answers(server, name, model)


def test_a_new_version_of_a_tfjs_model_takes_over(server, served, root, tmp_path):
    name, model = "reloaded_tfjs", served["tfjs_layers"]
    assert_answers(server, name, model)
    shutil.copytree(root / name / "1", tmp_path / "2")
    double_shard(tmp_path / "2")
    place(tmp_path / "2", root / name / "2")
    server.wait_for("available", model=f"{name}/2")
    server.wait_for("unloaded", model=f"{name}/1")
    assert server.get(f"/models/{name}").json["version"] == "2"
    after = ask(server, name, model)
    assert not any(np.allclose(after[output], expected) for output, expected in model.outputs.items())


def test_a_model_is_unloaded_and_loaded_again(server, served):
    for name in ("graph_def", "keras_2_h5", "tflite"):
        assert server.request("POST", f"/models/{name}/unload", {}).status == 200
        assert server.refuse(name, [0.0])["code"] == "MODEL_NOT_READY"
        assert server.request("POST", f"/models/{name}/load", {}).status == 200
        assert_answers(server, name, served[name])
