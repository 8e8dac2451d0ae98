"""The server as a process: the stop under load, a new version under load, and what ``tensorhost demo`` prints."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor

from load_clients import KEPT_ALIVE, NEW, Load
from native_models import write_constant
from native_server import RunningServer, exchange

from tensorhost.demo import demo_models_path, samples


def test_sigterm_under_load_loses_nothing():
    image = samples()["digits"][0]["input"]
    with RunningServer(demo_models_path() / "digits", "--no-probe", "--settle-s", 0, "--drain-window-s", 0.5) as server:
        server.wait_for("ready")
        load = Load(server, {"modelName": "digits", "inputs": [image]})
        with ThreadPoolExecutor(KEPT_ALIVE + NEW) as pool:
            clients = load.run(pool)
            load.wait_for_answers(200)
            probe = server.connect()
            assert exchange(probe, "GET", "/health").status == 200
            server.process.terminate()
            health = exchange(probe, "GET", "/health")
            while health.status == 200:  # the signal is on its way
                health = exchange(probe, "GET", "/health")
            assert (health.status, health.json) == (503, {"status": "draining"})
            probe.close()
            assert server.process.wait(30) == 0
            for client in clients:
                client.result(30)
        assert load.lost == []
        statuses = {answer.status for answer in load.answers}
        assert statuses == {200}
        assert len({answer.json["predictions"][0][0]["label"] for answer in load.answers}) == 1
        server.wait_for("stopped")


def test_a_new_version_dropped_in_under_load_fails_no_request(tf, tmp_path):
    root = tmp_path / "models"
    write_constant(tf, root / "switch" / "1", 1.0)
    write_constant(tf, tmp_path / "2", 2.0)
    with RunningServer(root, "--poll-interval-s", 0.2, "--settle-s", 0.2) as server:
        server.wait_for("ready")
        load = Load(server, {"modelName": "switch", "inputs": [0.0, 0.0]})
        with ThreadPoolExecutor(KEPT_ALIVE + NEW) as pool:
            clients = load.run(pool)
            load.wait_for_answers(100)
            shutil.copytree(tmp_path / "2", root / "switch" / "2")
            server.wait_for("available", model="switch/2")
            seen = len(load.answers)
            load.wait_for_answers(seen + 200)
            load.enough.set()
            for client in clients:
                client.result(30)
        assert load.lost == []
        assert load.unsent == 0
        answers = [
            (answer.status, answer.json.get("modelVersion"), answer.json["predictions"]) for answer in load.answers
        ]
        assert set(map(str, answers)) == {"(200, '1', [1.0, 1.0])", "(200, '2', [2.0, 2.0])"}
        assert answers[0][1] == "1"
        assert answers[-1][1] == "2"
        assert server.stop() == 0


def test_the_curl_lines_of_the_demo_work_when_pasted():
    with RunningServer(command="demo") as server:
        server.printed_line("Ctrl-C")
        commands = [line for line in server.printed if line.startswith("curl")]
        expected = [line.rsplit(" ", 1)[1].strip() for line in server.printed if line.startswith("# ")]
        assert len(commands) == len(expected) == 3
        for command, label in zip(commands, expected, strict=True):
            ended = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=30, env=os.environ)
            assert ended.returncode == 0
            predictions = json.loads(ended.stdout)["predictions"]
            best = predictions["language"][0] if isinstance(predictions, dict) else predictions[0][0]["label"]
            assert best == label
        assert server.stop() == 0


HANGING_STEP = """
import threading


def hang(tensors):
    threading.Event().wait()
"""


def test_a_custom_step_that_never_ends_does_not_keep_the_process_alive(tf, tmp_path):
    root = tmp_path / "models"
    write_constant(tf, root / "stuck" / "1", 1.0)
    (root / "stuck" / "model.toml").write_text('[preprocessing]\nentry_point = "hanging_step:hang"\n')
    (tmp_path / "hanging_step.py").write_text(HANGING_STEP)
    with RunningServer(root, "--no-probe", "--drain-window-s", 0, PYTHONPATH=str(tmp_path)) as server:
        server.wait_for("ready")
        body = {"modelName": "stuck", "inputs": [0.0], "timeoutMs": 100}
        assert server.request("POST", "/predict", body).status == 504
        assert server.stop() == 0
        assert server.wait_for("threads did not end; leaving them behind")
