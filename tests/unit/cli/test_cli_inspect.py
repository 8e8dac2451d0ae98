"""``inspect`` on every kind of path. Loading is a stand-in here; scanning is real."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from tensorhost.cli import app
from tensorhost.core.dtypes import DType
from tensorhost.core.errors import RuntimeMissingError
from tensorhost.core.signatures import Signature
from tensorhost.core.tensors import TensorSpec
from tensorhost.runtimes import formats
from tensorhost.runtimes.base import ModelFormat


class Runtime:
    name = "stand-in"
    weights_bytes = 2048

    def __init__(self) -> None:
        self.closed = False
        spec = {"x": TensorSpec("x", DType.FLOAT32, (None, 4))}
        self.signatures = {
            "serving_default": Signature("serving_default", spec, {"y": TensorSpec("y", DType.STRING, None)})
        }

    def call_path(self, signature):
        return "direct"

    def close(self):
        self.closed = True


@pytest.fixture
def loaded(monkeypatch):
    """The runtimes that were loaded, by the folder's name."""
    runtimes = {}

    def load(path, options):
        if path.name == "2":
            raise RuntimeMissingError("Install tensorhost[tensorflow].")
        return runtimes.setdefault(path.name, Runtime())

    monkeypatch.setattr(formats, "load", load)
    monkeypatch.setattr("tensorhost.models.repository.detect_format", lambda path: _format(path))
    monkeypatch.setattr("tensorhost.models.repository.missing_files", lambda path, model_format: [])
    return runtimes


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


def test_a_repository_reports_every_model_and_version(repository, loaded):
    result = run(repository, "--json")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report["servable"] is True
    assert [model["name"] for model in report["models"]] == ["m", "n"]
    assert [version["version"] for version in report["models"][0]["versions"]] == ["9", "10"]
    version = report["models"][0]["versions"][0]
    assert (version["format"], version["runtime"], version["weightsBytes"]) == ("saved_model", "stand-in", 2048)
    assert version["signatures"] == [
        {
            "name": "serving_default",
            "inputs": [{"name": "x", "dtype": "float32", "shape": [None, 4]}],
            "outputs": [{"name": "y", "dtype": "string", "shape": None}],
            "callPath": "direct",
        }
    ]
    assert all(runtime.closed for runtime in loaded.values())


@pytest.mark.usefixtures("loaded")
def test_a_version_and_a_model_folder(repository):
    for path in (repository / "m" / "9", repository / "n"):
        result = run(path)
        assert result.exit_code == 0, result.output
        for shown in ("saved_model", "serving_default", "x float32 [?, 4]", "y string", "direct", "runs on stand-in"):
            assert shown in result.stdout


@pytest.mark.usefixtures("loaded")
def test_what_cannot_be_served_is_exit_code_1_with_its_reason(repository):
    (repository / "m" / "2").mkdir()
    (repository / "m" / "2" / "saved_model.pb").write_bytes(b"x")
    (repository / "n" / "3").mkdir()
    (repository / "bad name").mkdir()
    result = run(repository)
    assert result.exit_code == 1
    assert "Install tensorhost[tensorflow]." in result.stdout
    assert "no model files" in result.stdout
    assert "bad name" in result.stdout


@pytest.mark.usefixtures("loaded")
def test_an_empty_folder_holds_no_model(tmp_path):
    result = run(tmp_path, "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["problems"] == {tmp_path.name: "There is no model here."}


def test_a_path_that_is_not_there_is_wrong_usage(tmp_path):
    result = run(tmp_path / "absent")
    assert result.exit_code == 2
    assert "absent does not exist" in result.stderr
