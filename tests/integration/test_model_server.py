"""TensorFlow Serving's command line, files and environment, with a real server process behind them and real clients."""

from __future__ import annotations

import re
import shutil
import subprocess
import threading

import grpc
import pytest
from model_server import LINE, ModelServer, Stubs
from native_server import TIMEOUT_S

MODELS = """
model_config_list: {{
  # as TensorFlow Serving's own fixtures write it
  config: {{ name: 'two', base_path: '{root}/half_plus_two_tf2', model_platform: 'tensorflow' }},
  config {{
    name: "versions"; base_path: "{root}/two_versions"; model_platform: "tensorflow"
    model_version_policy < specific {{ versions: 1, versions: 2 }} >
    version_labels {{ key: 'stable' value: 1 }}
    version_labels {{ key: 'canary' value: 2 }}
  }}
}}
"""
BATCHING = "max_batch_size { value: 16 }, batch_timeout_micros { value: 0 }\nnum_batch_threads { value: 2 }\n"
MONITORING = "prometheus_config { enable: true path: '/monitoring/here' }"


@pytest.fixture(scope="module")
def files(serving_repository, tmp_path_factory):
    """The config files of ``listed``; the first is rewritten by tests, and read again every second."""
    folder = tmp_path_factory.mktemp("config")
    (folder / "models.config").write_text(MODELS.format(root=serving_repository))
    (folder / "batching.config").write_text(BATCHING)
    (folder / "monitoring.config").write_text(MONITORING)
    return folder


@pytest.fixture(scope="module")
def listed(files):
    """A server with all config files, and a Unix socket."""
    flags = (
        f"--model_config_file={files}/models.config",
        "--model_config_file_poll_wait_seconds=1",
        "--allow_version_labels_for_unavailable_models=true",
        "--enable_batching",
        f"--batching_parameters_file={files}/batching.config",
        f"--monitoring_config_file={files}/monitoring.config",
        f"--grpc_socket_path={files}/grpc.sock",
        "--flush_filesystem_caches=false",
    )
    with ModelServer(*flags) as server:
        server.wait_for("ready")
        yield server
        assert server.stop() == 0


@pytest.fixture
def stubs(listed):
    with listed.stubs() as made:
        yield made


def test_models_of_the_config_file_are_served_over_both_wires(listed, stubs):
    assert stubs.values("two", [[1.0], [2.0], [5.0]]) == [2.5, 3.0, 4.5]
    answer = listed.request("POST", "/v1/models/two:predict", {"instances": [1.0, 2.0, 5.0]})
    assert (answer.status, answer.json) == (200, {"predictions": [2.5, 3.0, 4.5]})


def test_a_shape_that_is_not_the_signatures_is_the_models_to_take(stubs):
    # What TensorFlow Serving's own tests send: [1] for [-1,1].
    assert stubs.values("two", [2.0]) == [3.0]


def test_labels_and_versions_name_what_the_file_says(listed, stubs):
    for label, version, answer in (("stable", 1, [3.0]), ("canary", 2, [4.0])):
        assert stubs.values("versions", [[2.0]], version_label=label) == answer
        assert stubs.values("versions", [[2.0]], version=version) == answer
        path = f"/v1/models/versions/labels/{label}:predict"
        assert listed.request("POST", path, {"instances": [2.0]}).json == {"predictions": answer}
    assert stubs.predict("versions", [[2.0]], version_label="stable").model_spec.version.value == 1
    assert stubs.states("versions") == {1: "AVAILABLE", 2: "AVAILABLE"}


def test_the_unix_socket_of_the_flag(files, listed):
    with listed.stubs(f"unix:{files}/grpc.sock") as stubs:
        assert stubs.values("two", [[1.0]]) == [2.5]


def test_batching_is_as_the_file_says(listed):
    signature = listed.get("/models/two/versions/1").json["signatures"]["serving_default"]
    assert signature["batching"]["maxBatchSize"] == 16


def test_metrics_are_at_the_path_of_the_file(listed, stubs):
    stubs.values("two", [[1.0]])
    answer = listed.get("/monitoring/here")
    assert answer.status == 200
    assert re.search(
        rb'^:tensorflow:serving:request_count\{model_name="two",status="OK"\} \d', answer.body, re.MULTILINE
    )
    assert listed.get("/monitoring/prometheus/metrics").status == 404


def test_probes_are_beside_the_rest_api(listed):
    assert [listed.get(path).status for path in ("/healthz", "/readyz", "/health/ready")] == [200, 200, 200]


def test_a_flag_without_effect_is_a_line_of_the_log(listed):
    assert listed.wait_for("flag without effect", flag="--flush_filesystem_caches")["level"] == "warning"


class Traffic:
    """Predict without pause from a thread, until left; what failed meanwhile."""

    def __init__(self, stubs: Stubs, model: str) -> None:
        self.failures: list[grpc.RpcError] = []
        self.answered = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._ask, args=(stubs, model))

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *exception):
        self._stop.set()
        self._thread.join(TIMEOUT_S)

    def _ask(self, stubs: Stubs, model: str) -> None:
        while not self._stop.is_set():
            try:
                stubs.predict(model, [[1.0]])
                self.answered += 1
            except grpc.RpcError as error:
                self.failures.append(error)


def test_the_config_file_is_followed_and_a_bad_one_changes_nothing(files, listed, stubs, serving_repository):
    """One failure-free second of traffic after another: a model comes, a file is broken, the model goes."""
    good = MODELS.format(root=serving_repository)
    third = f"config {{ name: 'three' base_path: '{serving_repository}/half_plus_three' model_platform: 'tensorflow' }}"
    with Traffic(stubs, "two") as traffic:
        (files / "models.config").write_text(good.replace("config: {", f"{third} config: {{", 1))
        listed.wait_for("available", model="three/1")
        assert stubs.values("three", [[1.0]]) == [3.5]
        (files / "models.config").write_text(good + "\n  nonsense")
        line = good.count("\n") + 2
        said = listed.wait_for("the changed model config file is not followed")["reason"]
        assert said.startswith(f"Error parsing text-format tensorflow.serving.ModelServerConfig: {line}:"), said
        assert stubs.values("three", [[1.0]]) == [3.5]
        (files / "models.config").write_text(good)
        listed.wait_for("unloaded", model="three/1")
        with pytest.raises(grpc.RpcError) as refused:
            stubs.values("three", [[1.0]])
        assert refused.value.code() is grpc.StatusCode.NOT_FOUND
        assert refused.value.details() == "Servable not found for request: Latest(three)"
    assert traffic.failures == []
    assert traffic.answered > 0


@pytest.fixture
def growing(serving_repository, tmp_path):
    """A base path with version 1 of two, which may be given more."""
    base = tmp_path / "grows"
    shutil.copytree(serving_repository / "two_versions" / "1", base / "1")
    return base


def test_one_model_from_the_environment_and_its_versions(growing, serving_repository):
    """As TensorFlow Serving's image is run; a version that comes replaces the one before, without a failure."""
    environment = {"MODEL_NAME": growing.name, "MODEL_BASE_PATH": str(growing.parent)}
    with ModelServer(**environment) as server, server.stubs() as stubs:
        server.wait_for("ready")
        assert stubs.values("grows", [[2.0]]) == [3.0]
        with Traffic(stubs, "grows") as traffic:
            shutil.copytree(serving_repository / "two_versions" / "2", growing / "00000002")
            server.wait_for("available", model="grows/2")
            server.wait_for("unloaded", model="grows/1")
            assert stubs.values("grows", [[2.0]]) == [4.0]
        assert traffic.failures == []
        status = server.get("/v1/models/grows").json["model_version_status"]
        assert [(one["version"], one["state"]) for one in status] == [("2", "AVAILABLE"), ("1", "END")]
        assert server.stop() == 0


def start(*flags: str) -> subprocess.CompletedProcess[str]:
    """A start that must fail."""
    return subprocess.run([*LINE, *flags], capture_output=True, text=True, timeout=TIMEOUT_S, check=False)


def test_a_bad_config_file_ends_the_start_with_its_place(tmp_path):
    file = tmp_path / "models.config"
    file.write_text("model_config_list {\n  config { name: 'm' base_dir: '/m' }\n}\n")
    ended = start(f"--model_config_file={file}", "--rest_api_port=0", "--port=8500")
    assert ended.returncode == 255
    assert "Failed to start server. Error: INVALID_ARGUMENT: Error parsing text-format" in ended.stderr
    assert "tensorflow.serving.ModelServerConfig: 2:22:" in ended.stderr


def test_a_port_that_is_taken_ends_the_start(listed, serving_repository):
    flags = ("--model_name=m", f"--model_base_path={serving_repository}/half_plus_two")
    ended = start(f"--port={listed.grpc_port}", *flags)
    assert ended.returncode == 255
    assert "Failed to start server. Error: " in ended.stderr
    assert str(listed.grpc_port) in ended.stderr


def test_without_more_flags_batching_is_ours_and_anyone_may_replace_the_list(serving_repository, tmp_path):
    """And a base path that is missing keeps the other model from nothing."""
    file = tmp_path / "models.config"
    configs = [
        f"config {{ name: '{name}' base_path: '{path}' model_platform: 'tensorflow' }}"
        for name, path in (("gone", "/no/such/folder"), ("two", serving_repository / "half_plus_two_tf2"))
    ]
    file.write_text(f"model_config_list {{ {' '.join(configs)} }}")
    with ModelServer(f"--model_config_file={file}") as server, server.stubs() as stubs:
        server.wait_for("available", model="two/1")
        assert stubs.values("two", [[1.0]] * 40) == [2.5] * 40
        batching = server.get("/models/two/versions/1").json["signatures"]["serving_default"]["batching"]
        assert (batching["batched"], batching["maxBatchSize"]) == (True, 32)
        stubs.reload({"three": serving_repository / "half_plus_three"})
        assert stubs.values("three", [[1.0]]) == [3.5]
        with pytest.raises(grpc.RpcError, match=r"Servable not found for request: Latest\(two\)"):
            stubs.values("two", [[1.0]])
