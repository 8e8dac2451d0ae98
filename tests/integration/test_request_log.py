"""Requests of real clients, logged by one version and warming up the next, on a real server."""

from __future__ import annotations

import shutil
import time

import numpy as np
import pytest
from native_server import TIMEOUT_S, RunningServer
from serving_clients import ServingClient, example
from tensorflow_serving.apis import prediction_log_pb2

QUICK = ("--no-probe", "--settle-s", 0, "--poll-interval-s", 0.1, "--drain-window-s", 0)
RECORDS = "assets.extra/tf_serving_warmup_requests"
X = np.float32([[1.0], [2.0]])


def logs_in(tf, path):
    return [prediction_log_pb2.PredictionLog.FromString(each.numpy()) for each in tf.data.TFRecordDataset(str(path))]


def write_records(tf, folder, *logs):
    (folder / RECORDS).parent.mkdir(parents=True)
    with tf.io.TFRecordWriter(str(folder / RECORDS)) as writer:
        for log in logs:
            writer.write(log.SerializeToString())


def predict_log(tf, values):
    log = prediction_log_pb2.PredictionLog()
    log.predict_log.request.inputs["x"].CopyFrom(tf.make_tensor_proto(values))
    return log


def copy_of(version, target):
    return shutil.copytree(version, target)


def wait_until_written(server, count):
    """Until the metrics say that so many records were written."""
    line = f'tensorhost_request_log_records_total{{model="m",outcome="written"}} {count:.1f}'
    deadline = time.monotonic() + TIMEOUT_S
    while line not in server.get("/metrics", Accept="text/plain").body.decode():
        assert time.monotonic() < deadline, f"never: {line}"


@pytest.fixture
def served(tf, serving_repository, tmp_path):
    """A server that logs all requests of its one model, and the folder of that model's versions."""
    base = tmp_path / "m"
    copy_of(serving_repository / "half_plus_two" / "00000123", base / "1")
    config = tmp_path / "models.config"
    config.write_text(
        f"model_config_list {{ config {{ name: 'm' base_path: '{base}' model_platform: 'tensorflow'\n"
        f"logging_config {{ sampling_config {{ sampling_rate: 1 }}\n"
        f"log_collector_config {{ type: 'tfrecord' filename_prefix: '{tmp_path / 'logs' / 'm'}' }} }} }} }}\n"
    )
    server = RunningServer("--model-config-file", config, *QUICK, TENSORHOST_GRPC_PORT="-1")
    with server:
        yield server, base


def test_a_log_of_one_version_warms_up_the_next(tf, served, tmp_path):
    server, base = served
    server.wait_for("ready")
    with ServingClient(server.grpc_address) as client:
        assert client.outputs("m", {"x": X})["y"].tolist() == [[2.5], [3.0]]
        client.regress("m", example(x=[3.0]), example(x=[4.0]), context=example(x2=[1.0]), signature="regress_x_to_y")
        client.multi_inference(
            ("m", "regress_x_to_y", "regress"), ("m", "classify_x_to_y", "classify"), examples=(example(x=[5.0]),)
        )
        with pytest.raises(Exception, match="INVALID_ARGUMENT"):
            client.predict("m", {"z": X})
    server.request("POST", "/v1/models/m:predict", {"instances": [[7.0]]})
    body = {"signature_name": "classify_x_to_y", "examples": [{"x": 8.0}]}
    assert server.request("POST", "/v1/models/m:classify", body).json == {"results": [[["", 6.0]]]}

    (file,) = (tmp_path / "logs").iterdir()
    wait_until_written(server, 5)
    logs = logs_in(tf, file)
    assert [log.WhichOneof("log_type") for log in logs] == [
        "predict_log",
        "regress_log",
        "multi_inference_log",
        "predict_log",
        "classify_log",
    ]
    assert tf.make_ndarray(logs[3].predict_log.request.inputs["x"]).tolist() == [[7.0]]
    assert tf.make_ndarray(logs[3].predict_log.response.outputs["y"]).tolist() == [[5.5]]
    assert logs[4].classify_log.response.result.classifications[0].classes[0].score == 6.0
    assert {log.log_metadata.model_spec.version.value for log in logs} == {1}

    second = copy_of(base / "1", tmp_path / "second")
    (second / RECORDS).parent.mkdir()
    shutil.copy(file, second / RECORDS)
    second.rename(base / "2")
    assert server.wait_for("warm-up records run", model="m/2")["records"] == 5
    server.wait_for("available", model="m/2")

    third = copy_of(base / "1", tmp_path / "third")
    write_records(tf, third, predict_log(tf, X), predict_log(tf, np.array(["text"])))
    third.rename(base / "3")
    failed = server.wait_for("load failed", model="m/3")
    assert failed["reason"] == "Warm-up record 1 (Predict) failed: Input 'x' must be float32, not object."
    assert failed["attempt"] == "1 of 1"
    with ServingClient(server.grpc_address) as client:
        assert client.predict("m", {"x": X}).model_spec.version.value == 2
    assert server.stop() == 0
    assert len(logs_in(tf, file)) == 6
