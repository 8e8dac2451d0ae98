"""Several workers as one server, with real processes: what clients and operators see of them, and what they do not."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest
from load_clients import KEPT_ALIVE, NEW, Load
from native_models import write_constant
from native_server import TIMEOUT_S, RunningServer

QUICK = ("--no-probe", "--settle-s", 0, "--poll-interval-s", 0, "--drain-window-s", 0.2)
ROW = [0.0]


@pytest.fixture(scope="module")
def models(tf, tmp_path_factory):
    """A repository with ``two`` (versions 1 and 2, all served) and ``one``; beside it ``other``, a version's folder."""
    base = tmp_path_factory.mktemp("workers")
    for version in ("1", "2"):
        write_constant(tf, base / "models" / "two" / version, float(version))
    (base / "models" / "two" / "model.toml").write_text('version_policy = "all"\n')
    write_constant(tf, base / "models" / "one" / "1", 1.0)
    write_constant(tf, base / "other", 7.0)
    return base


def start(models, *flags, **environment):
    root = models / "models"
    return RunningServer(root, "--workers", 2, "--allowed-roots", models, *QUICK, *flags, **environment)


@pytest.fixture(scope="module")
def server(models):
    with start(models, "--access-log", "--oip-metrics") as running:
        running.wait_for("ready")
        yield running
        assert running.stop() == 0


def workers_of(server):
    """The worker processes, without the children in which models are tried."""
    children = psutil.Process(server.process.pid).children()
    return [child for child in children if "tensorhost.server.workers.worker" in child.cmdline()]


def ask_each(server, method, path, body=None, **headers):
    """The same request over new connections until both workers have answered; the last answer of each."""
    answers = {}
    for number in range(200):
        request_id = f"{method}-{path.replace('/', '_')}-{os.urandom(4).hex()}-{number}"
        answer = server.request(method, path, body, X_Request_Id=request_id, **headers)
        answers[server.wait_for("request", request_id=request_id)["worker"]] = answer
        if len(answers) == 2:
            return answers
    raise AssertionError(f"only {set(answers)} answered")


def control(server, action, model, **body):
    return server.request("POST", f"/models/{model}/{action}", body)


def serving(server):
    """What each worker says it serves; the same, or the test fails."""
    lists = {
        frozenset((each["name"], each["version"]) for each in answer.json["models"])
        for answer in ask_each(server, "GET", "/models").values()
    }
    assert len(lists) == 1
    return next(iter(lists))


def predictions(server, model, **fields):
    """What both workers answer: statuses, or the first prediction."""
    body = {"modelName": model, "inputs": ROW, **fields}
    return {
        answer.json["predictions"][0] if answer.status == 200 else answer.status
        for answer in ask_each(server, "POST", "/predict", body).values()
    }


def test_readiness_is_that_of_the_whole_server_and_ctrl_c_is_one_signal(models):
    with start(models) as server:
        server.wait_for("listening")
        seen = []
        while not seen or seen[-1] != 200:
            seen.append(server.get("/health/ready").status)
        assert set(seen) == {503, 200}
        assert [server.get("/health/ready").status for _ in range(20)] == [200] * 20
        assert len([record for record in server.records if record["event"] == "worker ready"]) == 2
        # A terminal sends it to every process of the group.
        for process in (server.process, *workers_of(server)):
            os.kill(process.pid, signal.SIGINT)
        assert server.process.wait(TIMEOUT_S) == 0


def test_a_control_call_on_one_worker_has_reached_all_when_it_is_answered(server):
    assert serving(server) == {("two", "2"), ("two", "1"), ("one", "1")}
    assert control(server, "unload", "two", version="2").json["state"] == "END"
    assert serving(server) == {("two", "1"), ("one", "1")}
    assert predictions(server, "two") == {1.0}
    assert control(server, "unload", "two").status == 200
    assert predictions(server, "two") == {503}
    assert control(server, "load", "two").status == 200
    assert serving(server) == {("two", "2"), ("two", "1"), ("one", "1")}
    assert predictions(server, "two") == {2.0}


def test_a_path_is_loaded_by_all_and_unloaded_by_all(server, models):
    loaded = control(server, "load", "named", path=str(models / "other"), version="5")
    assert (loaded.status, loaded.json["state"]) == (200, "AVAILABLE")
    assert predictions(server, "named", modelVersion="5") == {7.0}
    assert control(server, "unload", "named").status == 200
    assert predictions(server, "named") == {503}


def test_calls_that_contradict_each_other_leave_all_workers_alike(server):
    with ThreadPoolExecutor(8) as pool:
        calls = [pool.submit(control, server, action, "one") for action in ("unload", "load") * 4]
        assert {call.result(TIMEOUT_S).status for call in calls} == {200}
    serving(server)
    assert control(server, "load", "one").status == 200
    assert predictions(server, "one") == {1.0}


@pytest.mark.parametrize(
    ("action", "model", "body", "status", "code"),
    [
        ("load", "none", {}, 404, "MODEL_NOT_FOUND"),
        ("unload", "none", {}, 404, "MODEL_NOT_FOUND"),
        ("load", "one", {"version": "9"}, 404, "VERSION_NOT_FOUND"),
        ("unload", "one", {"version": "9"}, 404, "VERSION_NOT_FOUND"),
        ("unload", "one", {"version": "x" * 9000}, 400, "INVALID_REQUEST"),
        ("load", "one", {"path": "nothing-there"}, 400, "INVALID_REQUEST"),
        ("load", "one", {"path": "/etc"}, 403, "PERMISSION_DENIED"),
    ],
)
def test_refusals_are_those_of_a_single_process(server, action, model, body, status, code):
    answer = control(server, action, model, **body)
    assert (answer.status, answer.error["code"]) == (status, code)
    assert predictions(server, "one") == {1.0}


def predictions_answered(server):
    return [record for record in server.records if (record["event"], record.get("path")) == ("request", "/predict")]


def test_metrics_are_the_sum_whichever_worker_is_asked(server):
    before, answered_before = server.metrics(), len(predictions_answered(server))
    rows = [ask_each(server, "POST", "/predict", {"modelName": "one", "inputs": ROW * n}) for n in (1, 3)]
    assert all(answer.status == 200 for answers in rows for answer in answers.values())
    for answer in ask_each(server, "POST", "/predict", {"modelName": "no-such", "inputs": ROW}).values():
        assert answer.status == 404
    answered = len(predictions_answered(server)) - answered_before
    both = [answer.json for answer in ask_each(server, "GET", "/metrics").values()]
    for metrics in both:
        one = metrics["models"]["one"]["1"]
        assert metrics["requestCount"] - before["requestCount"] == answered
        assert one["requestCount"] - before["models"]["one"]["1"]["requestCount"] >= 4
        assert one["latency"]["total"]["count"] == one["requestCount"] - one["errorCount"]
        assert metrics["unattributedErrors"]["MODEL_NOT_FOUND"] >= 2
        assert metrics["modelsByState"]["AVAILABLE"] == 3
        assert metrics["workers"] == {"count": 2, "ready": 2, "restarts": 0}
        assert metrics["memoryUsage"]["rss"] > sum(w.memory_info().rss for w in workers_of(server)) * 0.8
    assert both[0]["models"] == both[1]["models"]


def test_prometheus_reads_the_same_from_every_worker(server):
    texts = [answer.body.decode() for answer in ask_each(server, "GET", "/metrics", Accept="text/plain").values()]
    names = ("tensorhost_requests_total", "tensorhost_workers", "tensorhost_batch_rows_bucket", "nv_inference")
    series = [{line for line in text.splitlines() if line.startswith(names)} for text in texts]
    assert series[0] == series[1]
    assert "tensorhost_workers_ready 2.0" in series[0]
    cpu_s = [float(re.search(r"^process_cpu_seconds_total (\S+)", text, re.MULTILINE)[1]) for text in texts]
    own = [sum(worker.cpu_times()[:2]) for worker in workers_of(server)]
    assert min(cpu_s) > max(own)


def test_statistics_are_those_of_all_workers(server):
    for answer in ask_each(server, "POST", "/predict", {"modelName": "one", "inputs": ROW}).values():
        assert answer.status == 200
    [first], [second] = (
        answer.json["model_stats"] for answer in ask_each(server, "GET", "/v2/models/one/stats").values()
    )
    assert first == second
    latency = server.metrics()["models"]["one"]["1"]["latency"]
    assert first["inference_stats"]["success"]["count"] == latency["total"]["count"] >= 2
    assert sum(each["compute_infer"]["count"] for each in first["batch_stats"]) == latency["execution"]["count"]


def test_the_port_of_another_server_is_refused(server, models):
    with RunningServer(models / "models", "--workers", 2, *QUICK, port=server.port) as second:
        assert second.process.wait(TIMEOUT_S) == 1


def test_a_killed_worker_takes_its_own_requests_along_and_is_replaced(models):
    with start(models) as server:
        server.wait_for("ready")
        assert control(server, "load", "named", path=str(models / "other")).status == 200
        assert control(server, "unload", "two", version="2").status == 200
        before = server.metrics()["requestCount"]
        load = Load(server, {"modelName": "one", "inputs": ROW})
        with ThreadPoolExecutor(KEPT_ALIVE + NEW) as pool:
            clients = load.run(pool)
            load.wait_for_answers(200)
            seen = server.metrics()["requestCount"]
            victim = workers_of(server)[0]
            victim.kill()
            load.wait_for_answers(len(load.answers) + 200)
            ended = server.wait_for("a worker ended; it is replaced")
            assert (ended["exit_code"], ended["signal"]) == (-9, "SIGKILL")
            slot = ended["of_worker"]
            server.wait_for_count("worker ready", 2, of_worker=slot)
            lost = len(load.lost)
            load.wait_for_answers(200)
            load.enough.set()
            for client in clients:
                client.result(TIMEOUT_S)
        # Each client had at most one request with the worker that was killed, and none was refused since.
        assert lost <= KEPT_ALIVE + NEW
        assert len(load.lost) == lost
        assert load.unsent == 0
        assert {answer.status for answer in load.answers} == {200}
        # The replacement is as the others are: what was loaded is, and what was unloaded is not.
        lists = [server.get("/models").json["models"] for _ in range(20)]
        assert {tuple(sorted((each["name"], each["version"]) for each in models_)) for models_ in lists} == {
            (("named", "1"), ("one", "1"), ("two", "1"))
        }
        metrics = server.metrics()
        assert metrics["workers"] == {"count": 2, "ready": 2, "restarts": 1}
        assert before < seen <= metrics["requestCount"]
        assert server.stop() == 0


def test_connections_that_wait_at_a_killed_worker_are_answered_by_another(models):
    with start(models) as server:
        server.wait_for("ready")
        for worker in workers_of(server):
            worker.suspend()
        connections = [server.connect() for _ in range(24)]
        body = json.dumps({"modelName": "one", "inputs": ROW})
        for connection in connections:
            connection.request("POST", "/predict", body, {"Content-Type": "application/json"})
        first, second = workers_of(server)
        first.kill()
        second.resume()
        assert [connection.getresponse().status for connection in connections] == [200] * 24
        for connection in connections:
            connection.close()
        server.wait_for_count("worker ready", 3)
        assert server.stop() == 0


def test_sigterm_under_load_drains_all_workers_and_loses_nothing(models):
    with start(models, "--drain-window-s", 0.5) as server:
        server.wait_for("ready")
        load = Load(server, {"modelName": "one", "inputs": ROW})
        with ThreadPoolExecutor(KEPT_ALIVE + NEW) as pool:
            clients = load.run(pool)
            load.wait_for_answers(200)
            server.process.terminate()
            assert server.process.wait(TIMEOUT_S) == 0
            for client in clients:
                client.result(TIMEOUT_S)
        assert load.lost == []
        assert {answer.status for answer in load.answers} == {200}
        assert len([record for record in server.records if record["event"] == "stopped"]) == 3


def gone(processes):
    return psutil.wait_procs(processes, timeout=TIMEOUT_S)[1] == []


def test_a_second_signal_ends_all_processes_at_once(models):
    with start(models, "--drain-window-s", 600) as server:
        server.wait_for("ready")
        workers = workers_of(server)
        server.process.terminate()
        server.wait_for("stopping", worker=0)
        server.process.terminate()
        assert server.process.wait(TIMEOUT_S) == 128 + signal.SIGTERM
        assert gone(workers)


def test_no_worker_outlives_the_supervisor(models):
    with start(models) as server:
        server.wait_for("ready")
        workers = workers_of(server)
        assert len(workers) == 2
        server.process.kill()
        assert gone(workers)


FAILS_ONCE_TAKEN = """
import os

os.close(os.open(os.environ["TAKEN"], os.O_CREAT | os.O_EXCL))


def unchanged(tensors):
    return tensors
"""


def test_a_load_that_fails_on_one_worker_is_taken_back_on_the_other(tf, models, tmp_path):
    write_constant(tf, tmp_path / "picky" / "1", 3.0)
    (tmp_path / "picky" / "model.toml").write_text('[preprocessing]\nentry_point = "fails_once_taken:unchanged"\n')
    (tmp_path / "fails_once_taken.py").write_text(FAILS_ONCE_TAKEN)
    environment = {"PYTHONPATH": str(tmp_path), "TAKEN": str(tmp_path / "taken")}
    flags = ("--access-log", "--allowed-roots", tmp_path, "--load-attempts", 1)
    with start(models, *flags, **environment) as server:
        server.wait_for("ready")
        answer = control(server, "load", "picky", path=str(tmp_path / "picky"))
        assert answer.status == 500
        assert "unloaded again" in answer.error["message"]
        assert serving(server) == {("two", "2"), ("two", "1"), ("one", "1")}
        assert predictions(server, "picky") == {503}
        assert server.stop() == 0


@pytest.mark.parametrize("kept", ["8GiB", "0"])
def test_a_model_is_tried_once_for_all_workers_and_a_new_version_comes_to_all(models, tmp_path, kept):
    root = tmp_path / "models"
    shutil.copytree(models / "models" / "one", root / "one")
    flags = ("--settle-s", 0, "--poll-interval-s", 0.1, "--access-log", "--drain-window-s", 0, "--runtime", "native")
    cache = ("--cache-dir", tmp_path / "cache", "--cache-size", kept)
    with RunningServer(root, "--workers", 2, *flags, *cache) as server:
        server.wait_for("ready")
        loads = [record for record in server.records if record["event"] == "available"]
        assert sorted(record["probe_s"] > 0 for record in loads) == [False, True]
        shutil.copytree(models / "models" / "two" / "2", tmp_path / "2")
        (tmp_path / "2").rename(root / "one" / "2")
        for worker in (0, 1):
            server.wait_for("available", model="one/2", worker=worker)
            server.wait_for("unloaded", model="one/1", worker=worker)
        assert predictions(server, "one") == {2.0}
        assert server.stop() == 0
