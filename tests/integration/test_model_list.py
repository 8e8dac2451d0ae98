"""A model config file, followed by real servers under traffic."""

from __future__ import annotations

import shutil
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest
from lifecycle_models import place, write_saved_model
from load_clients import KEPT_ALIVE, NEW, Load
from model_server import ModelServer
from native_models import write_constant
from native_server import COMMAND, TIMEOUT_S, RunningServer

QUICK = ("--no-probe", "--settle-s", 0, "--poll-interval-s", 0.1, "--model-config-poll-s", 0.1, "--drain-window-s", 0)


@pytest.fixture(scope="module")
def constants(tf, tmp_path_factory):
    """Folders of versions, each named by the number that it answers."""
    root = tmp_path_factory.mktemp("constants")
    for value in (1, 2, 3, 4):
        write_constant(tf, root / str(value), float(value))
    return root


class Config:
    """A model config file; an entry is a name, the folder of its versions and what else it says."""

    def __init__(self, folder):
        self.folder = folder
        self.file = folder / "models.config"

    def say(self, *entries, text=None):
        lines = [
            f"  config {{ name: '{name}' base_path: '{self.folder / base}' model_platform: 'tensorflow' {more} }}"
            for name, base, more in entries
        ]
        new = self.file.with_suffix(".new")
        new.write_text(text if text is not None else "\n".join(["model_config_list {", *lines, "}", ""]))
        new.replace(self.file)


def label(name, version):
    return f"version_labels {{ key: '{name}' value: {version} }}"


@pytest.mark.parametrize("workers", [1, 2])
def test_lists_and_versions_change_under_traffic_and_no_request_fails(workers, constants, tmp_path):
    config = Config(tmp_path)
    place(constants / "1", tmp_path / "a" / "1")
    place(constants / "3", tmp_path / "b" / "1")
    config.say(("m", "a", ""), ("missing", "none", ""))
    with RunningServer("--model-config-file", config.file, "--workers", workers, *QUICK) as server:
        server.wait_for("ready")
        load = Load(server, {"modelName": "m", "inputs": [0.0]})
        with ThreadPoolExecutor(KEPT_ALIVE + NEW) as pool:
            clients = load.run(pool)
            load.wait_for_answers(50)
            place(constants / "2", tmp_path / "a" / "00002")
            server.wait_for_count("available", workers, model="m/2")
            config.say(("m", "a", label("stable", 2)), ("n", "b", ""))
            server.wait_for_count("available", workers, model="n/1")
            config.say(text="model_config_list {\n  config { nmae: 'm' }\n}\n")
            refused = server.wait_for("the changed model config file is not followed")
            assert "ModelServerConfig: 2:12: " in refused["reason"]
            config.say(("m", "b", "model_version_policy { specific { versions: 1 } } " + label("stable", 1)))
            server.wait_for_count("unloaded", workers, model="m/2")
            server.wait_for_count("unloaded", workers, model="n/1")
            place(constants / "4", tmp_path / "b" / "2")
            config.say(("m", "b", label("stable", 2)))
            server.wait_for_count("available", 2 * workers, model="m/2")
            load.wait_for_answers(50)
            load.enough.set()
            for client in clients:
                client.result(TIMEOUT_S)
        assert load.lost == []
        assert {answer.status for answer in load.answers} == {200}
        assert {answer.json["predictions"][0] for answer in load.answers} == {1.0, 2.0, 3.0, 4.0}
        for version in (None, "2", "stable"):
            fields = {} if version is None else {"modelVersion": version}
            assert server.predict("m", [0.0], **fields)["predictions"] == [4.0]
        assert server.refuse("n", [0.0])["code"] == "MODEL_NOT_FOUND"
        assert server.stop() == 0


@pytest.fixture(scope="module")
def adding(tf, tmp_path_factory):
    """Folders of versions that add the number they are named by."""
    root = tmp_path_factory.mktemp("adding")
    for value in (1, 2, 3):
        write_saved_model(tf, root / str(value), float(value))
    return root


def ask(server, stubs, over_rest, enough, answers):
    """Ask for the model ``m`` until it is enough; what it answers."""
    while not enough.is_set():
        if over_rest:
            answer = server.request("POST", "/v1/models/m:predict", {"instances": [0.0]})
            answers.append(answer.json["predictions"][0] if answer.status == 200 else answer.body)
        else:
            answers += stubs.values("m", [0.0])


def test_tensorflow_servings_clients_have_lists_replaced_under_traffic(adding, tmp_path):
    config = Config(tmp_path)
    place(adding / "1", tmp_path / "a" / "1")
    place(adding / "3", tmp_path / "b" / "7")
    config.say(("m", "a", ""))
    answers, enough = [], threading.Event()
    with ModelServer(f"--model_config_file={config.file}") as server, server.stubs() as stubs:
        server.wait_for("ready")
        with ThreadPoolExecutor(6) as pool:
            clients = [pool.submit(ask, server, stubs, number % 2, enough, answers) for number in range(6)]
            stubs.reload({"m": tmp_path / "a", "n": tmp_path / "b"})
            assert stubs.values("n", [0.0]) == [3.0]
            place(adding / "2", tmp_path / "a" / "2")
            server.wait_for("unloaded", model="m/1")
            stubs.reload({"m": tmp_path / "b"})
            assert stubs.values("m", [0.0]) == [3.0]
            assert stubs.states("n") == {7: "END"}
            enough.set()
            for client in clients:
                client.result(TIMEOUT_S)
        assert set(answers) == {1.0, 2.0, 3.0}
        assert stubs.states("m") == {7: "AVAILABLE", 2: "END", 1: "END"}
        assert server.stop() == 0


def test_a_killed_worker_comes_back_with_the_list_of_the_others(constants, tmp_path):
    config = Config(tmp_path)
    place(constants / "1", tmp_path / "a" / "1")
    config.say()
    with RunningServer("--model-config-file", config.file, "--workers", 2, *QUICK) as server:
        server.wait_for("ready")
        config.say(("m", "a", label("stable", 1)))
        server.wait_for_count("available", 2, model="m/1")
        worker = next(
            child
            for child in psutil.Process(server.process.pid).children()
            if "tensorhost.server.workers.worker" in child.cmdline()
        )
        worker.kill()
        server.wait_for_count("worker ready", 3)
        answers = {server.predict("m", [0.0], modelVersion="stable")["predictions"][0] for _ in range(20)}
        assert answers == {1.0}
        assert server.stop() == 0


@pytest.mark.parametrize(
    ("text", "message", "workers"),
    [
        ("model_config_list {\n  config { nmae: 'm' } }", "tensorflow.serving.ModelServerConfig: 2:12: ", 1),
        ("model_config_list { config { name: 'm' base_path: 'm' } }", "Expected model m to have an absolute path", 2),
        (None, "Cannot read the model config file", 1),
    ],
)
def test_a_bad_file_keeps_a_server_from_starting(tmp_path, text, message, workers):
    file = tmp_path / "models.config"
    if text is not None:
        file.write_text(text)
    line = [COMMAND, "serve", "--model-config-file", file, "--workers", str(workers), "--port", "0"]
    ended = subprocess.run(line, capture_output=True, text=True, timeout=TIMEOUT_S)
    assert ended.returncode == 2
    assert message in ended.stderr
    assert "Traceback" not in ended.stderr


def test_one_named_model_is_served_by_whole_numbers(constants, tmp_path):
    place(constants / "1", tmp_path / "m" / "v9")
    place(constants / "2", tmp_path / "m" / "0002")
    with RunningServer(tmp_path / "m", "--model-name", "other", *QUICK) as server:
        server.wait_for("ready")
        assert server.predict("other", [0.0])["predictions"] == [2.0]
        assert [(each["name"], each["version"]) for each in server.get("/models").json["models"]] == [("other", "2")]
        shutil.rmtree(tmp_path / "m" / "0002")
        server.wait_for("unloaded", model="other/2")
        assert server.stop() == 0
