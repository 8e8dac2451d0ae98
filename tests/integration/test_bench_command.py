"""``tensorhost bench`` as a process, against a real server and with models of its own."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from native_server import RunningServer

import tensorhost

COMMAND = Path(sys.executable).parent / "tensorhost"
DEMO_MODELS = Path(tensorhost.__file__).parent / "demo" / "models"


@pytest.fixture(scope="module")
def demo():
    with RunningServer(command="demo") as server:
        server.wait_for("ready")
        yield server
        assert server.stop() == 0


def start(*args: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [str(COMMAND), "bench", *map(str, args)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def run(*args: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(COMMAND), "bench", *map(str, args)], capture_output=True, text=True, timeout=100)


def measured(*args: object) -> tuple[dict, list[dict]]:
    ended = run(*args, "--warmup", 0, "--json")
    assert ended.returncode == 0, ended.stderr
    document = json.loads(ended.stdout)
    return document["target"], document["runs"]


def url_of(server: RunningServer) -> str:
    return f"http://127.0.0.1:{server.port}"


def test_every_request_reaches_the_server_and_is_counted_once(demo):
    before = demo.metrics()["models"]["wine"]["1"]["requestCount"]
    target, runs = measured("wine", "--url", url_of(demo), "-n", 50, "-c", "1,8", "--rows", 3)
    assert (target["model"], target["version"], target["rows"]) == ("wine", "1", 3)
    assert [one["requests"] for one in runs] == [50, 50]
    assert [one["failed"] for one in runs] == [0, 0]
    # One request more: the one that had to be answered before the load.
    assert demo.metrics()["models"]["wine"]["1"]["requestCount"] - before == 101
    for one in runs:
        calls = one["batches"]
        assert calls["count"] * calls["averageRows"] == pytest.approx(150, rel=0.01)
        assert sum(calls["byRows"].values()) == calls["count"]
        latency = one["latencyMs"]
        assert 0 < latency["min"] <= latency["p50"] <= latency["p99"] <= latency["max"]
        assert sum(bar["requests"] for bar in one["histogram"]) == 50
        assert one["generator"]["cpuCores"] > 0


def test_strings_labels_and_two_generators(demo):
    _, (one,) = measured("langid", "--url", url_of(demo), "-n", 20, "-c", 4, "--processes", 2, "-i", '["Guten Tag"]')
    assert (one["requests"], one["failed"]) == (20, 0)


def test_an_open_loop(demo):
    _, (one,) = measured("wine", "--url", url_of(demo), "-n", 40, "--rate", 200, "-c", 16)
    assert one["requests"] == 40
    assert one["requestsPerS"] <= 210
    assert one["generator"]["latenessMs"]["p50"] >= 0


def test_the_calls_of_all_workers_of_a_server_are_counted():
    with RunningServer(DEMO_MODELS / "wine", "--no-probe", "--workers", "2") as server:
        server.wait_for("ready")
        _, (one,) = measured("wine", "--url", url_of(server), "-n", 400, "-c", 16)
        assert server.stop() == 0
    assert (one["requests"], one["failed"]) == (400, 0)
    calls = one["batches"]
    assert calls["count"] == sum(calls["byRows"].values())
    assert calls["count"] * calls["averageRows"] == pytest.approx(400, rel=0.01)


def test_refusals_are_counted_by_code_and_nothing_answered_is_exit_code_1(demo):
    # The request is answered once before the load begins; only then does its model go.
    bench = start("digits", "--url", url_of(demo), "-d", 60, "--warmup", 0, "-c", 2, "--json")
    try:
        _until_loaded(demo, "digits")
        assert demo.request("POST", "/models/digits/unload", {}).status == 200
        bench.send_signal(signal.SIGINT)
        printed, said = bench.communicate(timeout=60)
    finally:
        bench.kill()
    assert demo.request("POST", "/models/digits/load", {}).status == 200
    (one,) = json.loads(printed)["runs"]
    assert bench.returncode == 0, said
    assert one["interrupted"]
    assert one["errors"].keys() == {"MODEL_NOT_READY"}
    assert one["failed"] == one["errors"]["MODEL_NOT_READY"]
    assert one["requests"] > 0


def test_a_server_that_goes_away_in_the_middle():
    with RunningServer(DEMO_MODELS / "wine", "--no-probe") as server:
        server.wait_for("ready")
        bench = start("wine", "--url", url_of(server), "-d", 60, "--warmup", 0, "-c", 4)
        try:
            _until_loaded(server, "wine")
            server.process.kill()
            printed, said = bench.communicate(timeout=60)
        finally:
            bench.kill()
    assert bench.returncode == 3
    assert "went away" in said
    assert "4 in flight" in printed
    assert "failed with CONNECTION_BROKEN" in printed
    assert "Traceback" not in printed + said


def test_a_model_in_the_generators_own_process():
    target, runs = measured(DEMO_MODELS / "wine", "-n", 64, "-c", "1,16", "--no-probe", "--max-batch-size", 4)
    assert (target["kind"], target["model"], target["version"]) == ("engine", "wine", "1")
    assert [one["requests"] for one in runs] == [64, 64]
    assert max(map(int, runs[1]["batches"]["byRows"])) <= 4
    assert runs[1]["batches"]["averageRows"] > 1


def test_the_bare_runtime_and_inputs_of_a_file(tmp_path):
    (tmp_path / "rows.json").write_text(json.dumps([[0.5] * 13] * 2))
    target, (one,) = measured(
        DEMO_MODELS / "wine", "--bare", "-n", 30, "-c", 2, "--no-probe", "-i", tmp_path / "rows.json"
    )
    assert (target["kind"], target["rows"]) == ("runtime", 2)
    assert (one["requests"], one["batches"]) == (30, None)


@pytest.mark.parametrize(
    ("arguments", "exit_code", "said"),
    [
        (["nothing"], 1, "There is no model 'nothing'; there are: digits, langid, wine."),
        (["wine", "--signature", "other"], 2, "The model has no signature 'other'"),
        (["wine", "-i", "[[1, 2]]"], 1, "Input 'features' has shape [1, 2]"),
    ],
)
def test_what_a_server_refuses_is_said_before_any_load(demo, arguments, exit_code, said):
    ended = run(*arguments, "--url", url_of(demo))
    assert (ended.returncode, ended.stdout) == (exit_code, "")
    assert said in ended.stderr


def test_a_file_that_is_no_model(tmp_path):
    (tmp_path / "broken.keras").write_bytes(b"PK\x03\x04 and nothing that belongs here")
    ended = run(tmp_path / "broken.keras", "--no-probe")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "broken" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_no_generator_survives_a_command_that_is_killed(demo):
    bench = start("wine", "--url", url_of(demo), "-d", 90, "--warmup", 0)
    try:
        _until_loaded(demo, "wine")
        (generator,) = _children(bench.pid)
    finally:
        bench.kill()
        bench.communicate(timeout=60)
    _until_gone(generator)


def _until_loaded(server: RunningServer, model: str, requests: int = 5) -> None:
    """Return once the load is on: so many more requests than now."""
    counted = next(iter(server.metrics()["models"][model].values()))["requestCount"]
    while True:
        versions = server.metrics()["models"][model].values()
        if max(one["requestCount"] for one in versions) >= counted + requests:
            return


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _until_gone(pid: int) -> None:
    while _is_alive(pid):
        pass


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
