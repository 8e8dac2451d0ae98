"""``bench`` from the command line: usage, errors and what is shown; the load itself is under test elsewhere."""

from __future__ import annotations

import json
import signal
from collections import Counter

import pytest
from typer.testing import CliRunner

from tensorhost.bench import GeneratorError
from tensorhost.bench.tally import Tally
from tensorhost.cli import app, bench_run
from tensorhost.cli.bench_screen import bar
from tensorhost.client import Client

MODEL = {
    "signatures": {"serving_default": {"inputs": [{"name": "x", "dtype": "float32", "shape": [None, 2]}]}},
    "modelVersion": "3",
    "models": {},
    "predictions": [[1.0]],
}
"""What the stub answers to everything: description, answer and metrics in one."""


def run(*args):
    return CliRunner().invoke(app, ["bench", *map(str, args)])


def tally_of(count, **fields):
    tally = Tally(answered_in_time=count, window_s=1.0, elapsed_s=1.0, cpu_s=0.1, **fields)
    for number in range(count):
        tally.latencies.add(0.001 * (number + 1))
    return tally


@pytest.fixture
def generators(monkeypatch):
    """Stands in for the generator processes: gives the tallies it is told to, and remembers what it was asked."""

    class FakeGenerators:
        tallies: list = []  # noqa: RUF012  # set by the tests
        asked: list = []  # noqa: RUF012

        def __init__(self, target, loads, body, *, count):
            FakeGenerators.asked.append((target, loads, body, count))

        def __enter__(self):
            return self

        def __exit__(self, *exception):
            pass

        def stop(self):
            pass

        def ready(self):
            facts = {"model": "m", "version": "1", "rows": 1, "inputBytes": 8, "runtime": "openvino"}
            return facts if not self.asked[-1][2] else {}

        def run(self, progress, measuring):
            measuring()
            progress("progress", [{"elapsedS": 1.0, "answered": 1, "failed": 0, "p50S": 0.1, "p99S": 0.2}])
            outcome = self.tallies.pop(0)
            if callable(outcome):
                outcome = outcome()
            if isinstance(outcome, BaseException):
                raise outcome
            return outcome

    FakeGenerators.asked = []
    monkeypatch.setattr(bench_run, "Generators", FakeGenerators)
    return FakeGenerators


def test_figures_of_several_loads(stub, generators):
    stub.answers(MODEL)
    generators.tallies = [tally_of(10), tally_of(40)]
    result = run("m", "--url", stub.url, "--concurrency", "1,32", "--rows", 2)
    assert result.exit_code == 0, result.output
    assert f"m version 3 at {stub.url}: 2 rows a request" in result.stdout
    for shown in ("1 in flight", "32 in flight", "Requests per second", "99th percentile"):
        assert shown in result.stdout
    ((target, loads, body, count),) = generators.asked
    assert (target.host, count) == ("127.0.0.1", 1)
    assert [(load.concurrency, load.duration_s, load.rate) for load in loads] == [(1, 10.0, None), (32, 10.0, None)]
    assert json.loads(body)["modelName"] == "m"


def test_json_and_a_file(stub, generators, tmp_path):
    stub.answers(MODEL)
    generators.tallies = [tally_of(4)]
    result = run("m", "--url", stub.url, "-n", 4, "--json", "--output", tmp_path / "out.json")
    document = json.loads(result.stdout)
    assert document == json.loads((tmp_path / "out.json").read_text())
    assert document["target"]["kind"] == "server"
    (measured,) = document["runs"]
    assert (measured["requests"], measured["concurrency"], measured["latencyMs"]["max"]) == (4, 8, 4.0)
    assert generators.asked[0][1][0].duration_s is None


def test_a_code_of_a_hostile_server_cannot_steer_the_terminal(stub, generators):
    stub.answers(MODEL | {"modelVersion": "\x1b[2J[red]3"})
    generators.tallies = [tally_of(4, errors=Counter({"\x1b[31mBAD": 2}))]
    result = run("m", "--url", stub.url)
    assert result.exit_code == 0
    assert "\x1b" not in result.stdout
    assert "2 failed with ?[31mBAD" in result.stdout


def test_an_open_loop_that_falls_behind_says_so(stub, generators):
    stub.answers(MODEL)
    tally = tally_of(4, waited=9, unsent=5)
    tally.lateness.add(0.01)
    generators.tallies = [tally]
    result = run("m", "--url", stub.url, "--rate", 100, "-c", 2)
    assert "100/s, 2 at most" in result.stdout
    assert "late by 10.000 ms (median), 10.000 ms (p99), which is part of the latencies" in result.stdout
    assert "9 due requests had to wait for a free connection" in result.stdout
    assert "5 due requests were never sent" in result.stdout


def test_nothing_answered_is_a_failure_that_still_shows_the_errors(stub, generators):
    stub.answers(MODEL)
    generators.tallies = [tally_of(0, errors=Counter(OVERLOADED=7))]
    result = run("m", "--url", stub.url)
    assert result.exit_code == 1
    assert "7 failed with OVERLOADED" in result.stdout
    assert result.stderr == "Error: No request was answered (7 OVERLOADED).\n"


def test_a_server_that_goes_away_ends_the_command_with_what_was_measured(stub, generators):
    stub.answers(MODEL)
    generators.tallies = [tally_of(5, gone=True), tally_of(1)]
    result = run("m", "--url", stub.url, "-c", "1,8")
    assert result.exit_code == 3
    assert "1 in flight" in result.stdout
    assert "8 in flight" not in result.stdout
    assert result.stderr == f"Error: The server at {stub.url} went away 1.0 s into the run.\n"


def test_a_server_that_is_gone_before_the_second_load(stub, generators):
    stub.answers(MODEL)
    generators.tallies = [tally_of(5), GeneratorError("UNREACHABLE", "No connection could be made: refused.")]
    result = run("m", "--url", stub.url, "-c", "1,8")
    assert result.exit_code == 3
    assert "1 in flight" in result.stdout
    assert result.stderr == f"Error: {stub.url}: No connection could be made: refused.\n"


def test_a_generator_that_dies_is_a_failure(generators, tmp_path):
    generators.tallies = [GeneratorError("INTERNAL", "The load generator ended with exit code -9.")]
    result = run(tmp_path)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "exit code -9" in result.stderr


def test_a_model_on_disk_takes_the_settings_of_a_server(generators, tmp_path):
    generators.tallies = [tally_of(3)]
    result = run(
        tmp_path,
        "--max-batch-size",
        4,
        "--no-probe",
        "--custom-op-library",
        "/x.so",
        "--runtime",
        "auto",
        "-i",
        "[[1, 2]]",
    )
    assert result.exit_code == 1, "the stand-in knows no facts of a given body"
    ((target, _, body, _),) = generators.asked
    assert target.settings == {
        "max_batch_size": 4,
        "probe": False,
        "custom_op_libraries": ["/x.so"],
        "runtime": "auto",
    }
    assert json.loads(body) == {"inputs": [[1, 2]]}


def test_a_bare_runtime(generators, tmp_path):
    generators.tallies = [tally_of(3)]
    result = run(tmp_path, "--bare", "--version", "2")
    assert result.exit_code == 0, result.output
    assert "m version 1 on its bare runtime: 1 row a request, 8 B, executed by openvino" in result.stdout
    ((target, *_),) = generators.asked
    assert (target.bare, target.version, target.rows) == (True, "2", 1)


def press_ctrl_c(times=1):
    for _ in range(times):
        signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("presses", [1, 2])
def test_ctrl_c_while_the_servers_metrics_are_read_loses_no_run(stub, generators, tmp_path, monkeypatch, presses):
    stub.answers(MODEL)
    generators.tallies = [tally_of(4), tally_of(5)]
    read = []

    def metrics(_client):
        read.append("metrics")
        if len(read) == 2:  # the one before the run, the one after it
            press_ctrl_c(presses)
        return {"models": {}}

    monkeypatch.setattr(Client, "metrics", metrics)
    result = run("m", "--url", stub.url, "-c", "1,8", "--output", tmp_path / "out.json")
    assert result.exit_code == 0, result.output
    (one,) = json.loads((tmp_path / "out.json").read_text())["runs"]
    assert (one["requests"], one["interrupted"]) == (4, False), "the run was whole by then"
    assert "1 in flight" in result.stdout
    assert len(generators.tallies) == 1


def test_ctrl_c_ends_the_run_and_those_to_come(stub, generators):
    def interrupted():
        press_ctrl_c()
        return tally_of(2)

    stub.answers(MODEL)
    generators.tallies = [tally_of(4), interrupted, tally_of(5)]
    result = run("m", "--url", stub.url, "-c", "1,8,32", "--json")
    assert result.exit_code == 0, result.output
    assert [(one["requests"], one["interrupted"]) for one in json.loads(result.stdout)["runs"]] == [
        (4, False),
        (2, True),
    ]


def test_a_second_ctrl_c_ends_the_command_with_the_runs_that_were_finished(stub, generators, tmp_path):
    stub.answers(MODEL)
    generators.tallies = [tally_of(4), lambda: press_ctrl_c(2)]
    result = run("m", "--url", stub.url, "-c", "1,8", "--output", tmp_path / "out.json")
    assert result.exit_code == 130
    assert "1 in flight" in result.stdout
    assert [one["requests"] for one in json.loads((tmp_path / "out.json").read_text())["runs"]] == [4]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["m", "-c", "0"], "--concurrency must be numbers from 1 to 20000"),
        (["m", "-c", "1,x"], "not '1,x'"),
        (["m", "--rows", "2", "-i", "[[1]]"], "--rows is for inputs that are made up"),
        (["no/such/model"], "no/such/model does not exist"),
        (["m", "--bare"], "--bare is for a model on disk"),
        (["m", "--trust", "strict"], "Settings of a server are for a model on disk"),
        (["m", "--output", "no/such/folder/out.json"], "The folder of no/such/folder/out.json does not exist"),
        (["m", "--url", "nonsense"], "http://host:port"),
        ([".", "--processes", "2"], "one process"),
        ([".", "--bare", "--rate", "5"], "there is no --rate"),
        (["m", "--duration", "0"], "--duration"),
    ],
)
def test_wrong_usage(generators, arguments, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    result = run(*arguments)
    assert result.exit_code == 2, result.output
    assert said in result.stderr
    assert generators.asked == []


def test_no_server(generators, closed_url):
    result = run("m", "--url", closed_url)
    assert result.exit_code == 3
    assert generators.asked == []


def test_a_model_the_server_does_not_have(stub, generators):
    stub.answers({"error": {"code": "MODEL_NOT_FOUND", "message": "There is no model 'm'."}}, 404)
    result = run("m", "--url", stub.url)
    assert result.exit_code == 1
    assert "There is no model 'm'. (MODEL_NOT_FOUND" in result.stderr


@pytest.mark.parametrize(
    ("share", "drawn"), [(0.0, ""), (1.0, "████"), (0.5, "██"), (0.28125, "█▏"), (0.0001, "▏"), (7.0, "████")]
)
def test_a_bar_is_exact_to_an_eighth_and_never_lost(share, drawn):
    assert bar(share, 4) == drawn
