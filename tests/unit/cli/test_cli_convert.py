"""``convert`` from the command line: what it is told, what it says, and one real conversion each way."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from tensorhost.cli import app
from tensorhost.core.errors import InvalidRequestError, ModelFailedError
from tensorhost.demo import demo_models_path
from tensorhost.models import conversion
from tensorhost.models.comparison import OutputDifference, SignatureComparison
from tensorhost.models.conversion import STEPS, ConversionReport
from tensorhost.runtimes.base import ModelFormat

GRAPH = b"\x0a\x06\x0a\x01x\x12\x01y"


def run(*arguments):
    return CliRunner().invoke(app, ["convert", *map(str, arguments)])


@pytest.fixture
def asked(monkeypatch):
    """The requests a stand-in for the conversion was given."""
    requests = []

    def convert(request, progress, prober):
        requests.append(request)
        for step in STEPS:
            progress(step)
        compared = SignatureComparison("serving_default", 3, {"y[0]": OutputDifference(0.00012, 2.0)})
        refused = SignatureComparison("classify", 0, note="the model refused \x1b[31mevery input")
        return ConversionReport(
            ModelFormat.GRAPH_DEF,
            ModelFormat.SAVED_MODEL,
            2048,
            "frozen graph",
            1e-5,
            (compared, refused),
            {"odd": "no outputs"},
        )

    monkeypatch.setattr(conversion, "convert", convert)
    return requests


@pytest.fixture
def model(tmp_path):
    for version in ("1", "2", "10"):
        (tmp_path / "m" / version).mkdir(parents=True)
        (tmp_path / "m" / version / "graph.pb").write_bytes(GRAPH)
    return tmp_path / "m"


def test_options_come_from_flags_environment_and_model_toml(asked, model, tmp_path, monkeypatch):
    (model / "model.toml").write_text(
        'imports = ["layers.own"]\n[graph]\ninputs = ["x:0"]\noutputs = {answer = "y:0"}\n'
        '[warmup]\nexamples = "e.json"\n'
    )
    monkeypatch.setenv("TENSORHOST_ALLOW_LAMBDA", "true")
    result = run(model, tmp_path / "out", "--import", "a", "--import", "b", "--custom-op-library", "/x.so", "--force")
    assert result.exit_code == 0, result.output
    (request,) = asked
    assert request.source == model / "10"
    assert request.target == tmp_path / "out"
    assert request.replace is True
    assert (request.folder, request.examples) == (model, "e.json")
    options = request.options
    assert (options.modules, options.model_modules) == (("a", "b"), ("layers.own",))
    assert [str(path) for path in options.op_libraries] == ["/x.so"]
    assert options.allow_lambda is True
    assert dict(options.graph_inputs) == {"x": "x:0"}
    assert dict(options.graph_outputs) == {"answer": "y:0"}


def test_a_version_a_versions_folder_or_a_file(asked, model, tmp_path):
    assert run(model, tmp_path / "out", "--version", "2").exit_code == 0
    assert run(model / "1", tmp_path / "out").exit_code == 0
    assert run(model / "1" / "graph.pb", tmp_path / "out").exit_code == 0
    assert [request.source for request in asked] == [model / "2", model / "1", model / "1" / "graph.pb"]


def test_the_differences_are_shown_and_nothing_steers_the_terminal(asked, model, tmp_path):
    result = run(model, tmp_path / "out")
    assert "serving_default" in result.stdout
    assert "y[0]" in result.stdout
    assert "0.00012" in result.stdout
    assert "3 calls" in result.stdout
    assert "the model refused ?[31mevery input" in result.stdout
    assert "Left out: signature 'odd': no outputs." in result.stdout
    assert "saved_model, 2.0 KiB, frozen graph; written and compared in" in result.stdout
    assert result.stderr == ""


def test_a_report_for_programs(asked, model, tmp_path):
    result = run(model, tmp_path / "out", "--json")
    report = json.loads(result.stdout)
    assert report.pop("tookS") >= 0
    assert report == {
        "source": str(model / "10"),
        "target": str(tmp_path / "out"),
        "sourceFormat": "graph_def",
        "targetFormat": "saved_model",
        "sizeBytes": 2048,
        "callPath": "frozen graph",
        "tolerance": 1e-05,
        "signatures": [
            {
                "name": "serving_default",
                "comparedCalls": 3,
                "note": "",
                "outputs": [{"name": "y[0]", "largestDifference": 0.00012, "scale": 2.0}],
            },
            {
                "name": "classify",
                "comparedCalls": 0,
                "note": "the model refused \x1b[31mevery input",
                "outputs": [],
            },
        ],
        "leftOut": {"odd": "no outputs"},
    }


@pytest.mark.parametrize(
    ("error", "exit_code"), [(ModelFailedError("It differs."), 1), (InvalidRequestError("No."), 2)]
)
def test_failures_are_one_sentence(asked, model, tmp_path, monkeypatch, error, exit_code):
    def fail(request, progress, prober):
        raise error

    monkeypatch.setattr(conversion, "convert", fail)
    result = run(model, tmp_path / "out")
    assert result.exit_code == exit_code
    assert result.stderr == f"Error: {error.message}\n"
    assert result.stdout == ""


def test_wrong_usage(asked, model, tmp_path):
    for arguments, said in (
        ([tmp_path / "absent", tmp_path / "out"], "does not exist"),
        ([model, tmp_path / "out", "--version", "7"], "no version '7'; there is 1, 2, 10"),
        ([model], "DST"),
    ):
        result = run(*arguments)
        assert result.exit_code == 2
        assert said in result.stderr
    (model / "model.toml").write_text("nonsense = 1")
    result = run(model, tmp_path / "out")
    assert (result.exit_code, asked) == (1, [])
    assert "nonsense" in result.stderr


def test_help_names_the_flags(monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")
    shown = CliRunner().invoke(app, ["convert", "--help"], terminal_width=400).output
    for flag in ("--force", "--version", "--import", "--custom-op-library", "--allow-lambda", "--trust", "--json"):
        assert flag in shown


@pytest.mark.parametrize(("name", "target_format"), [("digits", "saved_model"), ("digits.tflite", "tflite")])
def test_a_real_model(tmp_path, name, target_format):
    result = run(demo_models_path() / "digits", tmp_path / name, "--json")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert (report["sourceFormat"], report["targetFormat"]) == ("saved_model", target_format)
    (signature,) = report["signatures"]
    assert signature["comparedCalls"] == 3
    assert signature["outputs"][0]["largestDifference"] < 1e-5
    assert [file.name for file in tmp_path.iterdir()] == [name]
    again = run(demo_models_path() / "digits", tmp_path / name)
    assert again.exit_code == 2
    assert "exists already" in again.stderr
