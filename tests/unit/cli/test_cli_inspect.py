"""``inspect`` on every kind of path. Trying a model is a stand-in here; scanning is real."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tensorhost.cli import app
from tensorhost.core.dtypes import DType
from tensorhost.core.errors import ModelFailedError, RuntimeMissingError, UntrustedModelError
from tensorhost.core.signatures import Signature
from tensorhost.core.tensors import TensorSpec
from tensorhost.models.probe import Prober, ProbeReport
from tensorhost.runtimes import Contents, Finding, FindingKind
from tensorhost.runtimes.base import ModelFormat, Trust

SPECS = {"x": TensorSpec("x", DType.FLOAT32, (None, 4))}
SIGNATURES = {"serving_default": Signature("serving_default", SPECS, {"y": TensorSpec("y", DType.STRING, None)})}
OPERATIONS = {f"Op{index:02}": 40 - index for index in range(15)}
WRITES = Finding(FindingKind.WRITES_FILES, "WriteFile", 3, "Writes '/var/tmp/\x1b[31mred'.")
CONTENTS = Contents(OPERATIONS, 1234567, ())


class Runtime:
    name = "stand-in"
    weights_bytes = 2048
    signatures = SIGNATURES

    def __init__(self) -> None:
        self.refused_signatures = {"train": "it has no outputs"}
        self.closed = False

    def call_path(self, signature):
        return "direct"

    def close(self):
        self.closed = True


class StandIn(Prober):
    """Stands in for the child process. ``tried`` is what it was asked; ``failures``, ``contents`` are by version."""

    tried: list
    failures: dict
    contents: dict
    crash = ""

    def __init__(self, timeout_s, memory_bytes=None):
        super().__init__(timeout_s, memory_bytes)
        self.limits = (timeout_s, memory_bytes)

    def probe(self, path, options, runs=None):
        self.tried.append((path, options, runs, self.limits))
        if path.name in self.failures:
            raise self.failures[path.name]
        return ProbeReport(
            contents=self.contents.get(path.name, CONTENTS),
            runtime="stand-in",
            weights_bytes=2048,
            signatures=SIGNATURES,
            call_paths={"serving_default": "direct"},
            refused_signatures={"train": "it has no outputs"},
            memory_bytes=4096,
            peak_bytes=8192,
            load_s=0.1,
            run_s=0.1,
            crash=self.crash,
        )


@pytest.fixture(autouse=True)
def prober(monkeypatch):
    """The stand-in, and scanning that takes any bytes for a SavedModel."""
    StandIn.tried, StandIn.failures, StandIn.contents, StandIn.crash = [], {}, {}, ""
    monkeypatch.setattr("tensorhost.models.probe.Prober", StandIn)
    monkeypatch.setattr("tensorhost.models.probe.SUPPORTED", True)
    monkeypatch.setattr("tensorhost.telemetry.configure_logging", lambda level: None)
    monkeypatch.setattr("tensorhost.models.repository.detect_format", _format)
    monkeypatch.setattr("tensorhost.models.repository.missing_files", lambda path, model_format: [])
    return StandIn


@pytest.fixture
def examined(monkeypatch):
    """What examining without loading finds, by version."""
    found = {}

    def examine(path, options):
        if path.name not in found:
            raise ModelFailedError("saved_model.pb cannot be read: it is damaged.")
        return found[path.name]

    monkeypatch.setattr("tensorhost.runtimes.examine", examine)
    return found


def _format(path):
    return ModelFormat.SAVED_MODEL if (path / "saved_model.pb").is_file() else None


@pytest.fixture
def repository(tmp_path):
    root = tmp_path / "models"
    for version in ("m/10", "m/9", "n/1"):
        (root / version).mkdir(parents=True)
        (root / version / "saved_model.pb").write_bytes(b"x")
    return root


def run(*args):
    return CliRunner().invoke(app, ["inspect", *map(str, args)])


def test_a_repository_reports_every_model_and_version(repository):
    result = run(repository, "--json")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report["servable"] is True
    assert [model["name"] for model in report["models"]] == ["m", "n"]
    assert [version["version"] for version in report["models"][0]["versions"]] == ["9", "10"]
    assert report["models"][0]["versions"][0] == {
        "version": "9",
        "format": "saved_model",
        "sizeBytes": 1,
        "problem": "",
        "runtime": "stand-in",
        "weightsBytes": 2048,
        "memoryBytes": 4096,
        "disabledOptimizations": [],
        "signatures": [
            {
                "name": "serving_default",
                "inputs": [{"name": "x", "dtype": "float32", "shape": [None, 4]}],
                "outputs": [{"name": "y", "dtype": "string", "shape": None}],
                "callPath": "direct",
            }
        ],
        "refusedSignatures": {"train": "it has no outputs"},
        "operations": OPERATIONS,
        "parameters": 1234567,
        "findings": [],
    }


def test_a_version_and_a_model_folder(repository):
    for path in (repository / "m" / "9", repository / "n"):
        result = run(path)
        assert result.exit_code == 0, result.output
        for shown in (
            "saved_model, 1 B, 1,234,567 parameters, 2.0 KiB of weights, runs on stand-in",
            "serving_default",
            "x float32 [?, 4]",
            "y string",
            "direct",
            "Signature 'train' cannot be served: it has no outputs.",
            "Nothing was found that does more than compute.",
        ):
            assert shown in result.stdout


def test_the_most_frequent_operations_are_shown_and_the_others_summed_up(repository):
    lines = [line.split() for line in run(repository / "n").stdout.splitlines()]
    assert ["Op00", "40"] in lines
    assert ["Op09", "31"] in lines
    assert not any(line[:1] == ["Op10"] for line in lines)
    assert ["5", "other", "kinds", str(30 + 29 + 28 + 27 + 26)] in lines
    assert ["all", str(sum(OPERATIONS.values()))] in lines


def test_findings_are_explained(repository, prober):
    prober.contents["1"] = Contents({"WriteFile": 3}, None, (WRITES,))
    result = run(repository / "n")
    assert result.exit_code == 0, result.output
    row = next(line for line in result.stdout.splitlines() if line.lstrip().startswith("write files"))
    assert "WriteFile" in row
    assert "3" in row
    assert "Writes '/var/tmp/?[31mred'." in row
    assert "Nothing was found" not in result.stdout
    report = json.loads(run(repository / "n", "--json").stdout)
    assert report["models"][0]["versions"][0]["findings"] == [WRITES.to_json()]


def test_what_cannot_be_served_is_exit_code_1_with_its_reason(repository, prober, examined):
    (repository / "m" / "2").mkdir()
    (repository / "m" / "2" / "saved_model.pb").write_bytes(b"x")
    (repository / "n" / "3").mkdir()
    (repository / "bad name").mkdir()
    prober.failures["2"] = RuntimeMissingError("Install tensorhost[tensorflow].")
    result = run(repository)
    assert result.exit_code == 1
    assert "Install tensorhost[tensorflow]." in result.stdout
    assert "no model files" in result.stdout
    assert "bad name" in result.stdout


def test_a_model_that_does_not_load_is_examined_all_the_same(repository, prober, examined):
    prober.failures["1"] = ModelFailedError("The model crashed its runtime (signal 11, segmentation fault).")
    examined["1"] = Contents({"WriteFile": 3}, 7, (WRITES,))
    result = run(repository / "n")
    assert result.exit_code == 1
    for shown in ("signal 11", "7 parameters", "write files", "WriteFile"):
        assert shown in result.stdout
    assert "runs on" not in result.stdout


def test_strict_trust_refuses_and_says_why(repository, prober, examined):
    prober.failures["1"] = UntrustedModelError("The model could do more than compute.")
    examined["1"] = Contents({"WriteFile": 3}, 7, (WRITES,))
    result = run(repository / "n", "--trust", "strict", "--json")
    assert result.exit_code == 1
    version = json.loads(result.stdout)["models"][0]["versions"][0]
    assert version["problem"] == "The model could do more than compute."
    assert version["findings"] == [WRITES.to_json()]
    assert prober.tried[0][1].trust is Trust.STRICT


def test_a_model_that_is_served_without_an_optimisation(repository, prober):
    prober.crash = "signal 11"
    assert "Served without remapping: signal 11" in run(repository / "n").stdout


def test_settings_and_the_models_own_settings_reach_the_loader(repository, prober):
    (repository / "n" / "model.toml").write_text(
        'imports = ["own"]\n[graph]\ninputs = ["x:0"]\n[tflite]\ndequantize = true\n[batching]\nmax_batch_size = 5\n',
        encoding="utf-8",
    )
    result = run(
        repository / "n",
        *("--import", "json", "--import", "math", "--custom-op-library", "ops.so", "--allow-lambda"),
        *("--probe-timeout-s", "7", "--probe-memory", "1MiB"),
    )
    assert result.exit_code == 0, result.output
    [(path, options, runs, limits)] = prober.tried
    assert path.name == "1"
    assert options.modules == ("json", "math")
    assert options.model_modules == ("own",)
    assert options.op_libraries == (Path("ops.so"),)
    assert options.allow_lambda
    assert options.graph_inputs == {"x": "x:0"}
    assert options.dequantize
    assert (runs.folder.name, runs.max_batch_rows) == ("n", 5)
    assert limits == (7.0, 2**20)


def test_without_a_child_process_the_model_is_loaded_here_and_closed(repository, prober, examined, monkeypatch):
    runtimes = []

    def load(path, options):
        runtimes.append(Runtime())
        return runtimes[-1]

    monkeypatch.setattr("tensorhost.runtimes.formats.load", load)
    examined["1"] = Contents({"WriteFile": 3}, 7, (WRITES,))
    report = json.loads(run(repository / "n", "--no-probe", "--json").stdout)
    version = report["models"][0]["versions"][0]
    assert (version["runtime"], version["memoryBytes"], version["parameters"]) == ("stand-in", None, 7)
    assert version["signatures"][0]["callPath"] == "direct"
    assert prober.tried == []
    assert [runtime.closed for runtime in runtimes] == [True]
    assert run(repository / "n", "--no-probe", "--trust", "strict").exit_code == 1
    assert len(runtimes) == 1


def test_an_empty_folder_holds_no_model(tmp_path):
    result = run(tmp_path, "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["problems"] == {tmp_path.name: "There is no model here."}


def test_a_path_that_is_not_there_is_wrong_usage(tmp_path):
    result = run(tmp_path / "absent")
    assert result.exit_code == 2
    assert "absent does not exist" in result.stderr


def test_a_setting_that_cannot_be_is_wrong_usage(repository):
    result = run(repository, "--trust", "blind")
    assert result.exit_code == 2
    assert "trust" in result.stderr
